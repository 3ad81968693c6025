"""The analysing experiments on few images and short nights: same seed, same numbers; anything missing is told first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurosleep import InputError, SpikeReader, data
from neurosleep.analysis import cosine_similarity, layer_weights, output_inputs
from neurosleep.papers import config as configuration
from neurosleep.papers import patches as patches_experiment
from neurosleep.papers.base import Experiment, RunContext
from neurosleep.papers.patches import PatchesExperiment
from neurosleep.papers.runner import run_experiment
from neurosleep.papers.src_replay import NIGHTS, SrcReplay
from neurosleep.papers.src_undertrained import SrcUndertrained

REPLAY = (
    "dataset=mnist-small", "images_per_task=300", "hidden=[60, 60, 60]", "thresholds=[1.0, 1.0, 1.0, 1.0]",
    "gain_scale=3.0", "sleep_steps=200", "sleep_steps_more=100", "top=10", "shown=20", "learning_rate=0.2", "epochs=3",
    "init=0.1",
)  # fmt: skip
UNDERTRAINED = (
    "dataset=mnist-small", "images=[100, 300]", "epochs=[0, 1, 3]", "hidden=[40, 40]", "thresholds=[1.0, 1.0, 1.0]",
    "gain_scale=2.0", "sleep_steps=100", "learning_rate=0.1", "init=0.1",
)  # fmt: skip
PATCHES = ("min_overlap=13", "max_overlap=14", "sleep_steps=3000")
SHORTER = {"src-replay": ("hidden=[60]", "thresholds=[1.0, 1.0]")}
EXPERIMENTS: tuple[tuple[Experiment, tuple[str, ...]], ...] = (
    (SrcReplay(), REPLAY),
    (SrcUndertrained(), UNDERTRAINED),
    (PatchesExperiment(), PATCHES),
)


def one_run(
    experiment: Experiment, settings: tuple[str, ...], seed: int = 0, spikes: Path | None = None
) -> tuple[dict[str, Any], float]:
    done: list[float] = []
    config = configuration.build(experiment.config_type, settings)
    experiment.prepare(config, None)
    run = experiment.run(config, RunContext(seed, "cpu", None, spikes, done.append))
    return run, sum(done) / experiment.amount(config)


def without_times(run: dict[str, Any]) -> Any:
    return json.loads(
        json.dumps(run, default=float), object_hook=lambda d: {k: v for k, v in d.items() if k != "seconds"}
    )


@pytest.mark.parametrize(("experiment", "settings"), EXPERIMENTS, ids=lambda x: getattr(x, "name", ""))
def test_a_run_is_a_function_of_its_seed_and_tells_all_its_progress(
    experiment: Experiment, settings: tuple[str, ...]
) -> None:
    settings = (*settings, *SHORTER.get(experiment.name, ()))
    (one, progress), (same, _), (other, _) = (one_run(experiment, settings, seed) for seed in (0, 0, 1))
    assert progress == pytest.approx(1)
    assert without_times(one) == without_times(same)
    assert without_times(one) != without_times(other)


@pytest.mark.parametrize(("experiment", "settings"), EXPERIMENTS, ids=lambda x: getattr(x, "name", ""))
def test_experiments_go_through_the_runner_and_draw(
    experiment: Experiment, settings: tuple[str, ...], tmp_path: Path
) -> None:
    config = configuration.build(experiment.config_type, settings)
    out = tmp_path / "run"
    first = run_experiment(experiment, config, out, seeds=1, workers=1, progress=False)
    outcome = run_experiment(experiment, config, out, seeds=2, workers=1, progress=False)
    assert (outcome.finished, outcome.failed, first.failed) == (2, {}, {})
    assert len({tuple(row) for row in outcome.summary}) == 1  # the same keys in every row
    assert all(isinstance(value, str | int | float | None) for row in outcome.summary for value in row.values())
    runs = [json.loads((out / "runs" / f"seed-{seed}.json").read_text()) for seed in (0, 1)]
    drawn = experiment.draw(config, runs, out)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn)
    assert len({path.name for path in drawn}) == len(drawn) >= 1


@pytest.mark.parametrize(
    ("experiment", "settings"),
    [(SrcReplay(), (*REPLAY, "hidden=[60]", "thresholds=[1.0, 1.0]")), (PatchesExperiment(), ("max_overlap=1",))],
    ids=lambda x: getattr(x, "name", ""),
)
def test_one_run_alone_is_drawn(experiment: Experiment, settings: tuple[str, ...], tmp_path: Path) -> None:
    """Also of one hidden layer, without spikes, and without the overlap whose weights are shown."""
    run, _ = one_run(experiment, settings)
    drawn = experiment.draw(configuration.build(experiment.config_type, settings), [run], tmp_path)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn)


def test_replay_looks_at_every_hidden_layer_and_night(tmp_path: Path) -> None:
    run, _ = one_run(SrcReplay(), REPLAY, spikes=tmp_path / "spikes.h5")
    assert run["tasks"] == [[0, 1], [2, 3]]
    assert [point["name"] for point in run["checkpoints"]] == ["T1", "S1", "T2", "S2"]
    assert tuple(run["replay"]) == NIGHTS
    assert all(len(layers) == 3 for layers in (run["before"], run["after"], run["inputs"], *run["replay"].values()))
    assert np.array(run["weights"]["fields"], dtype=float).shape == (4, 784)
    assert [np.array(block, dtype=float).shape for block in run["weights"]["blocks"]] == [(5, 5)] * 3
    groups = run["replay"]["noise"][0]["groups"]
    assert [group["class"] for group in groups] == [0, 1, 2, 3, None]
    assert groups[-1]["n"] == 10
    assert groups[-1]["mean"] > 0  # noise reaches the first hidden layer
    with SpikeReader(tmp_path / "spikes.h5") as reader:
        assert [epoch.name for epoch in reader.epochs] == ["noise"]
        assert reader.complete
        assert reader.n_steps == 300
        assert reader.rates("input").mean() == pytest.approx(100, rel=0.05)


def test_the_second_night_is_simulated_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates are of the very night that changed the weights: as many spikes in every population."""
    run, _ = one_run(SrcReplay(), REPLAY)
    record = run["nights"][1]
    seen: dict[str, float] = {}
    from neurosleep.papers import src_replay

    real = src_replay.replay

    def watch(rates: Any, *arguments: Any) -> Any:
        seen[str(len(seen))] = sum(float(layer.sum()) for layer in rates)
        return real(rates, *arguments)

    monkeypatch.setattr(src_replay, "replay", watch)
    one_run(SrcReplay(), REPLAY)
    hidden = sum(record["spikes"][f"hidden{layer}"] for layer in (1, 2, 3))
    assert hidden > 0
    assert seen["2"] * record["steps"] * record["dt"] == pytest.approx(hidden)


def test_summary_of_replay_counts_seeds_above_random() -> None:
    experiment = SrcReplay()
    config = configuration.build(experiment.config_type, REPLAY)
    run, _ = one_run(experiment, REPLAY)
    for test, p, t in zip(run["replay"]["noise"][0]["tests"], (0.01, 0.01, 0.2, None), (3, -3, 1, None), strict=True):
        test.update(p=p, statistic=t)
    rows = {row["quantity"]: row for row in experiment.summarize(config, [run, run])}
    above = [rows[f"hidden1: noise: class {c} neurons (mHz)"]["above, p < 0.05"] for c in range(4)]
    assert above == ["2 of 2", "0 of 2", "0 of 2", "0 of 2"]  # a test below random neurons is not replay
    assert rows["hidden2: correlation within classes (%)"]["before"] == pytest.approx(100 * run["before"][1]["within"])
    assert rows["accuracy on both tasks (%)"]["after"] == pytest.approx(100 * run["accuracy"])


def test_undertrained_is_one_course_of_training() -> None:
    """The network after three epochs is the same whether or not copies slept before."""
    run, _ = one_run(SrcUndertrained(), UNDERTRAINED)
    assert [(p["images"], p["epochs"]) for p in run["points"]] == [(n, e) for n in (100, 300) for e in (0, 1, 3)]
    alone, _ = one_run(SrcUndertrained(), (*UNDERTRAINED, "epochs=[3]", "images=[300]"))
    assert alone["points"][0]["before"] == run["points"][-1]["before"]
    assert alone["points"][0]["after"] == run["points"][-1]["after"]


def test_undertrained_asks_the_data_it_says() -> None:
    test, _ = one_run(SrcUndertrained(), UNDERTRAINED)
    train, _ = one_run(SrcUndertrained(), (*UNDERTRAINED, "evaluate_on=train"))
    for point in train["points"]:
        assert point["before"] * point["images"] == pytest.approx(round(point["before"] * point["images"]))
    assert [p["before"] for p in train["points"]] != [p["before"] for p in test["points"]]
    assert all(p["before"] * 2000 == pytest.approx(round(p["before"] * 2000)) for p in test["points"])


def test_gain_is_after_minus_before() -> None:
    experiment = SrcUndertrained()
    runs = [{"points": [{"images": 5, "epochs": 1, "before": b, "after": a}]} for b, a in ((0.2, 0.5), (0.4, 0.5))]
    (row,) = experiment.summarize(experiment.config_type(), runs)
    assert (row["before %"], row["after %"], row["gain"]) == pytest.approx((30, 50, 20))
    assert row["s.d. gain"] == pytest.approx(np.std([30, 10], ddof=1))


def test_patches_tell_what_reaches_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and cosines are those of the weights that the network had at each stage."""
    kept = []
    real = patches_experiment.layer_weights

    def watch(model: torch.nn.Module) -> list[np.ndarray]:
        kept.append(real(model)[0])
        return real(model)

    monkeypatch.setattr(patches_experiment, "layer_weights", watch)
    run, _ = one_run(PatchesExperiment(), (*PATCHES, "min_overlap=14"))
    image = data.patches(14, width=11, seed=0).pixels[0]
    t1, t2, s, alone = kept
    stages = ("after task 1", "after task 2", "after sleep")
    for stage, weights in zip(stages, (t1, t2, s), strict=True):
        assert run["inputs"][stage] == [output_inputs(weights, image, 0, (2, 3))]
    for stage, weights in zip(("after task 2", "after sleep", "task 2 alone"), (t2, s, alone), strict=True):
        assert run["cosine"][stage] == cosine_similarity([weights], [t1])
    groups = run["weight_groups"]["after sleep"]
    assert {name: sum(h["counts"]) for name, h in groups["task 1"].items()} == {
        "unique to task 1": 24, "unique to task 2": 24, "overlapping": 28,
    }  # fmt: skip
    own = data.patches(14, width=11, seed=0).overlapping
    assert groups["task 2"]["overlapping"]["mean"] == pytest.approx(s[np.ix_(own, [2, 3])].mean())


def test_patches_show_the_papers_course_of_inputs() -> None:
    """Fig. 1C: own output first, then that of task 2, then own again, since task 2's input falls in sleep."""
    run, _ = one_run(PatchesExperiment(), ("min_overlap=14", "max_overlap=14"))
    (one,), (two,), (slept,) = run["inputs"].values()
    assert one[0] > one[1]
    assert two[0] < two[1]
    assert slept[0] > slept[1]
    assert slept[0] == pytest.approx(two[0])
    assert run["cosine"]["after task 2"][0] > 0 > run["cosine"]["task 2 alone"][0]


def test_older_runs_of_patches_are_drawn_without_the_analysis(tmp_path: Path) -> None:
    experiment = PatchesExperiment()
    run, _ = one_run(experiment, PATCHES)
    old = {key: value for key, value in run.items() if key not in ("inputs", "cosine", "weight_groups")}
    config = configuration.build(experiment.config_type, PATCHES)
    assert [path.name for path in experiment.draw(config, [old], tmp_path)] == ["accuracy.png", "weights.png"]


@pytest.mark.parametrize(
    ("experiment", "settings", "message"),
    [
        (SrcReplay(), ("thresholds=[1.0]",), "one value for each of the 3 layers of weights, got 1"),
        (SrcReplay(), ("hidden=[400, 1200]",), "at least 500 neurons for the top 100 of 4 digits"),
        (SrcReplay(), ("dataset=mnist-small", "window=29"), "window must be from 1 to"),
        (SrcUndertrained(), ("thresholds=[1.0]",), "one value for each of the 3 layers of weights, got 1"),
        (SrcUndertrained(), ("epochs=[2, 1]",), "epochs must be at least one number, ascending"),
        (SrcUndertrained(), ("images=[]",), "images must be at least one number"),
        (SrcUndertrained(), ("dataset=mnist-small", "images=[20000]"), "at most the 10000 of mnist-small"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_it_starts(
    experiment: Experiment, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        experiment.prepare(configuration.build(experiment.config_type, settings), None)


def test_defaults_are_the_released_values() -> None:
    replayed, undertrained = SrcReplay.config_type(), SrcUndertrained.config_type()
    assert (replayed.max_rate, replayed.inc, replayed.dec) == (239.515363, 0.032064, 0.003344)
    assert (undertrained.max_rate, undertrained.inc, undertrained.dec) == (42.162268, 0.022175, 0.076886)
    assert undertrained.thresholds == (37.312702, 7.101362, 32.780841)
    assert replace(undertrained, epochs=(10,)).sleep_steps == 20_000


def test_weights_of_the_first_task_are_those_of_a_network_that_learned_nothing_else() -> None:
    """What "after task 1" is compared with is the same network, before it met task 2."""
    config = configuration.build(PatchesExperiment.config_type, PATCHES)
    images = data.patches(14, width=11, seed=0)
    x, y = torch.from_numpy(images.pixels[:2]), torch.from_numpy(images.labels[:2])
    model = patches_experiment._network(config, 0)
    patches_experiment._trainer(config, 0).train(model, x, y, generator=torch.Generator().manual_seed(0))
    run, _ = one_run(PatchesExperiment(), (*PATCHES, "min_overlap=14"))
    expected = output_inputs(layer_weights(model)[0], images.pixels[0], 0, (2, 3))
    assert run["inputs"]["after task 1"][0] == pytest.approx(expected)
