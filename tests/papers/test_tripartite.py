"""The experiments on tripartite sleep: names of conditions, results, traces, and going on after a stop."""

import re

import numpy as np
import pytest
import torch

from neurosleep.figures.stream import seen_accuracy
from neurosleep.figures.tripartite_panels import condition_of
from neurosleep.night import SpontaneousReplay
from neurosleep.papers import EXPERIMENTS
from neurosleep.papers import config as configuration
from neurosleep.papers.base import RunContext
from neurosleep.papers.folder import RunFolder
from neurosleep.papers.runner import run_experiment
from neurosleep.papers.tripartite_config import PAPER, NightName, TripartiteConfig, parse_conditions
from neurosleep.sims.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.tripartite.rows import RunTrace
from neurosleep.tripartite.stages import Interleaved

MNIST = EXPERIMENTS["tripartite-mnist"]
CIFAR = EXPERIMENTS["tripartite-cifar100"]
TINY = (
    "dataset=mnist-small",
    "hidden=[24, 20]",
    "latents=5",
    "iterations=12",
    "batch_size=16",
    "replay_batch_size=16",
    "look_inputs=30",
    "look_early=2",
    "look_every=5",
    "sleep_steps=40",
    "max_rate=400",
    "epochs=1",
)


def tiny(*settings: str) -> TripartiteConfig:
    return configuration.build(MNIST.config_type, [*TINY, *settings])


def test_a_condition_says_what_the_night_is() -> None:
    night = NightName.parse("p0.75+rem+src")
    assert night == NightName("p0.75+rem+src", MagnitudePruning(0.75), rem=True, src=True)
    config = configuration.build(CIFAR.config_type, ["iterations=7", "generator_iterations=3", "replay_batch_size=5"])
    stages = list(night.night(config, task=2))
    assert [type(stage) for stage in stages] == [MagnitudePruning, Interleaved, Interleaved, SpontaneousReplay]
    assert (stages[1].iterations, stages[1].nrem.batch_size, stages[1].rem.batch_size) == (7, 256, 5)
    assert (stages[2].iterations, stages[2].generator_only) == (3, True)
    assert stages[3].name == "night 2"
    plain = NightName.parse("p0")
    assert [type(stage) for stage in plain.night(config, 1)] == [Interleaved, Interleaved]
    assert next(iter(plain.night(config, 1))).rem is None
    graded = NightName.parse("graded0.2")
    assert graded.downscaling == GradedDownscaling(0.2)
    assert NightName.parse("ewc") is None


def test_the_paper_preset_has_all_of_the_papers_conditions() -> None:
    config = configuration.build(CIFAR.config_type, [], CIFAR.presets["paper"])
    nights = parse_conditions(config.conditions)
    levels = (0, 0.25, 0.5, 0.75, 0.9)
    assert {condition_of(night.night(config, 1)) for night in nights} == {
        (p, rem) for p in levels for rem in (False, True)
    }
    assert (config.iterations, config.batch_size, config.hidden, config.latents) == (10_000, 256, (2000, 2000), 100)
    assert config.conditions == PAPER


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['conditions=["p1.5+rem"]'], "prunes a share of 1.5: give one from 0 to below 1"),
        (['conditions=["p1+rem"]'], "from 0 to below 1"),
        (["hidden=[]"], "hidden needs at least one layer"),
        (['conditions=["p+rem"]'], "needs a number, as in p0.75+rem"),
        (['conditions=["nap"]'], "'nap' is not a night such as p0.75+rem"),
        (['conditions=["p0", "p0"]'], "each only once"),
        (['conditions=["last-task"]'], "not one here"),
        (['conditions=["ewc:much"]'], "'much' is not a number"),
        (["classes_per_task=3"], "must divide the 10 classes of mnist-small, got 3"),
        (["targets=drawn"], "set class_means, conditional_prior or gating"),
        (['conditions=["p0+rem+src"]', "thresholds=[1.0, 2.0]"], "each of the 3 layers"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(settings, said, tmp_path) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        run_experiment(MNIST, tiny(*settings), tmp_path / "out", seeds=1, workers=1, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_run_gives_every_condition_its_history_trace_and_figures(tmp_path) -> None:
    config = tiny('conditions=["p0", "p0.5+rem", "p0+rem+src", "graded0.2+rem", "joint", "sequential", "owm+src"]')
    out = tmp_path / "out"
    outcome = run_experiment(MNIST, config, out, seeds=1, workers=1, progress=False)
    assert outcome.failed == {}
    assert [row["condition"] for row in outcome.summary] == list(config.conditions)
    run = RunFolder(out).read_run(0)
    assert sorted(run["class_order"]) == list(range(10))
    assert run["class_order"] != list(range(10))
    for name in ("p0", "p0.5+rem", "p0+rem+src"):
        history = run["methods"][name]
        assert [point["task"] for point in history["checkpoints"]] == [1, 2, 3, 4, 5]
        shares = history["checkpoints"][2]["task_accuracies"]
        assert shares[3:] == [0, 0]  # of classes that are yet to come
        assert sum(shares[:3]) > 0.1
        assert seen_accuracy(history)[2] == pytest.approx(np.mean(shares[:3]))
        trace = RunTrace.of(history["looks"])
        assert trace.accuracies[3].iterations.tolist() == [0, 1, 2, 5, 10, 12]
        assert trace.accuracies[3].accuracies.shape == (6, 3)
        assert set(trace.weights["classifier"].iteration.tolist()) == {0, 10, 12}
    p = run["methods"]["p0.5+rem"]
    assert [record["stage"] for record in p["stages"]] == ["magnitude-pruning", "nrem+rem"] * 5
    assert p["stages"][0]["zeroed"]["classifier"] == pytest.approx(0.5)
    zeros = RunTrace.of(p["looks"]).weights["encoder.0"]
    assert zeros.zeros[zeros.iteration == 0].tolist() == [784 * 24 // 2] * 5
    slept = run["methods"]["p0+rem+src"]
    assert [night["stage"] for night in slept["nights"]] == [f"night {n}" for n in range(1, 6)]
    with SpikeReader(out / "spikes.h5") as spikes:
        assert [epoch.name for epoch in spikes.epochs] == [f"night {n}" for n in range(1, 6)]
        counted = sum(sum(night["spikes"].values()) for night in slept["nights"])
        assert counted == sum(len(spikes.events(layer)[0]) for layer in spikes.layers) > 0
    assert len(run["methods"]["owm+src"]["nights"]) == 5
    assert seen_accuracy(run["methods"]["joint"]) == [run["methods"]["joint"]["accuracy"]]
    drawn = {path.name for path in MNIST.draw(config, [run], out)}
    assert drawn == {"stream.png", *(f"figure{n}.png" for n in range(2, 13))}
    assert not [*out.rglob("*.pt"), *(out / "runs").rglob("*.h5")]


class Stopped(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("stopped_at", [5, 30, 55])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, stopped_at, monkeypatch) -> None:
    config = tiny('conditions=["p0.5+rem+src"]', "keep_networks=true")
    monkeypatch.setattr("neurosleep.papers.tripartite_run.CHECKPOINT_SECONDS", 0.0)

    def run(folder, at=None):
        count = 0

        def on_progress(amount):
            nonlocal count
            count += amount > 0
            if count == at:
                raise Stopped

        folder.mkdir(exist_ok=True)
        store = RunFolder(folder)
        (folder / "runs").mkdir(exist_ok=True)
        context = RunContext(
            0, "cpu", None, folder / "spikes.h5", on_progress, lambda n, do: store.keep(0, n, do), folder / "files"
        )
        return MNIST.run(config, context), count

    whole, steps = run(tmp_path / "whole")
    assert steps == 60
    with pytest.raises(Stopped):
        run(tmp_path / "cut", stopped_at)
    again, rest = run(tmp_path / "cut")
    assert rest <= 60 - stopped_at + 1  # nothing that was finished is done again
    one, other = (r["methods"]["p0.5+rem+src"] for r in (whole, again))
    assert one["checkpoints"] == other["checkpoints"]
    assert [r["spikes"] for r in one["nights"]] == [r["spikes"] for r in other["nights"]]
    files = [tmp_path / name / "files" / "p0.5+rem+src" for name in ("whole", "cut")]
    a, b = (torch.load(f"{path}.pt", weights_only=True)["network"] for path in files)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert one["looks"] == other["looks"]
    assert len(one["looks"]["accuracies"]) == 5 * 6
    with SpikeReader(tmp_path / "whole" / "spikes.h5") as x, SpikeReader(tmp_path / "cut" / "spikes.h5") as y:
        assert x.epochs == y.epochs
        for layer in x.layers:
            for one_array, other_array in zip(x.events(layer), y.events(layer), strict=True):
                np.testing.assert_array_equal(one_array, other_array)


def test_a_lost_learner_is_not_taken_for_a_new_one(tmp_path) -> None:
    config = tiny('conditions=["p0"]')
    out = tmp_path / "out"
    run_experiment(MNIST, config, out, seeds=1, workers=1, progress=False)
    parts = out / "runs" / "seed-0.parts"
    parts.mkdir()
    point = RunFolder(out).read_run(0)["methods"]["p0"]["checkpoints"][0]
    (out / "runs" / "seed-0.json").unlink()
    RunFolder(out).keep(0, "p0 task 1", lambda: point)  # as a kill in task 2 leaves it, but without p0.pt
    outcome = run_experiment(MNIST, config, out, seeds=1, workers=1, progress=False)
    assert "p0.pt is missing, but tasks before 2 are finished" in outcome.failed[0]
