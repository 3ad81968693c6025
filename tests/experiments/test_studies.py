"""The studies on few images and short nights: same seed, same numbers; what cannot work is told first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurosleep import InputError, MeanRate, SpikeReader, data
from neurosleep.analysis import cosine_similarity, layer_weights, output_inputs
from neurosleep.experiments import DataStream, ReluNetwork
from neurosleep.experiments.studies import patches as patches_module
from neurosleep.experiments.studies import second_night as second_night_module
from neurosleep.experiments.studies.base import Study
from neurosleep.experiments.studies.patches import Patches
from neurosleep.experiments.studies.second_night import NIGHTS, SecondNight
from neurosleep.experiments.studies.undertrained import Undertrained
from neurosleep.figures import panels
from neurosleep.figures.analysis import interval_of
from neurosleep.networks import relu_network
from neurosleep.training import Trainer

Record = dict[str, Any]
PATCHES = Patches(min_overlap=13, max_overlap=14, night=replace(Patches().night, steps=3000))
SECOND = SecondNight(
    DataStream("mnist-small", 300, order="released"),
    ReluNetwork((60, 60), init=0.1),
    Trainer(3, learning_rate=0.2),
    replace(SecondNight().night, steps=200, thresholds=(1.0,) * 3, gain_scale=3.0),
    steps_more=100,
    top=10,
    shown=20,
)
UNDERTRAINED = Undertrained(
    "mnist-small",
    images=(100, 300),
    epochs=(0, 1, 3),
    network=ReluNetwork((40, 40), init=0.1),
    training=Trainer(3, learning_rate=0.1),
    night=replace(Undertrained().night, steps=100, thresholds=(1.0,) * 3, gain_scale=2.0),
)
STUDIES = [PATCHES, SECOND, UNDERTRAINED]


def one_run(study: Study, seed: int = 0, log: Path | None = None) -> tuple[Record, float]:
    """Return a record as it is read back from a file, and the share of the work that was told as done."""
    done: list[float] = []
    study.check()
    record = study.run(seed, log=log, on_progress=done.append)
    return json.loads(json.dumps(record)), sum(done) / study.amount()


@pytest.fixture(scope="module", params=STUDIES, ids=lambda study: type(study).__name__)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Record], Path]:
    """A study, its records of two seeds, and the spikes of the first."""
    log = tmp_path_factory.mktemp("study") / "log.h5"
    records = [one_run(request.param, 0, log)[0], one_run(request.param, 1)[0]]
    return request.param, records, log


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key != "seconds"}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_a_run_is_a_function_of_its_seed_and_tells_all_its_progress(ran: tuple[Study, list[Record], Path]) -> None:
    study, (one, other), _ = ran
    same, progress = one_run(study)
    assert progress == pytest.approx(1)
    assert without_times(one) == without_times(same)
    assert without_times(one) != without_times(other)
    assert one["seconds"]["sleep"] > 0


def test_rows_have_the_same_keys_and_plain_values(ran: tuple[Study, list[Record], Path]) -> None:
    study, records, _ = ran
    rows = study.rows(records)
    assert len({tuple(row) for row in rows}) == 1
    assert all(isinstance(value, str | int | float | None) for row in rows for value in row.values())
    assert {row["seeds"] for row in rows} == {2}


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of few pixels are drawn sooner."""
    monkeypatch.setitem(panels.STYLE, "savefig.dpi", 30)


@pytest.mark.usefixtures("_coarse")
def test_every_figure_is_a_picture_with_a_caption(ran: tuple[Study, list[Record], Path], tmp_path: Path) -> None:
    study, records, log = ran
    drawn = study.draw(records, tmp_path, log if log.exists() else None)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{p.stem}.{k}" for p in drawn for k in ("png", "svg"))
    assert {path.stem for path in drawn} == set(study.captions)


@pytest.mark.usefixtures("_coarse")
@pytest.mark.parametrize(
    ("study", "left_out"),
    [
        (replace(PATCHES, min_overlap=1, max_overlap=1), {"raster", "weights", "weight-groups"}),
        (replace(SECOND, network=ReluNetwork((60,)), night=replace(SECOND.night, thresholds=1.0)), {"raster"}),
        (replace(UNDERTRAINED, images=(100,)), set()),
    ],
    ids=lambda x: type(x).__name__,
)
def test_one_run_alone_is_drawn(study: Study, left_out: set[str], tmp_path: Path) -> None:
    """Also of one hidden layer, without spikes, and without the overlap whose weights are shown."""
    drawn = study.draw([one_run(study)[0]], tmp_path)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn)
    assert {path.stem for path in drawn} == set(study.captions) - left_out


def test_patches_tell_what_reaches_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and cosines are those of the weights that the network had at each stage."""
    kept = []

    def watch(model: torch.nn.Module) -> list[np.ndarray]:
        kept.append(layer_weights(model)[0])
        return layer_weights(model)

    monkeypatch.setattr(patches_module, "layer_weights", watch)
    record, _ = one_run(replace(PATCHES, min_overlap=14))
    images = data.patches(14, width=11, seed=0)
    t1, t2, s, alone = kept
    for stage, weights in zip(("after task 1", "after task 2", "after sleep"), (t1, t2, s), strict=True):
        assert record["inputs"][stage] == [list(output_inputs(weights, images.pixels[0], 0, (2, 3)))]
    for stage, weights in zip(("after task 2", "after sleep", "task 2 alone"), (t2, s, alone), strict=True):
        assert record["cosine"][stage] == cosine_similarity([weights], [t1])
    groups = record["weight_groups"]["after sleep"]
    assert {name: sum(h["counts"]) for name, h in groups["task 1"].items()} == {
        "unique to task 1": 24,
        "unique to task 2": 24,
        "overlapping": 28,
    }
    assert groups["task 2"]["overlapping"]["mean"] == pytest.approx(s[np.ix_(images.overlapping, [2, 3])].mean())


def test_weights_after_task_1_are_those_of_a_network_that_learned_nothing_else() -> None:
    images = data.patches(14, width=11, seed=0)
    x, y = torch.from_numpy(images.pixels[:2]), torch.from_numpy(images.labels[:2])
    model = relu_network((121, 4), dropout=0.0, init=0.01, generator=torch.Generator().manual_seed(0))
    PATCHES.training.train(model, x, y, generator=torch.Generator().manual_seed(0))
    record, _ = one_run(replace(PATCHES, min_overlap=14))
    expected = output_inputs(layer_weights(model)[0], images.pixels[0], 0, (2, 3))
    assert record["inputs"]["after task 1"][0] == pytest.approx(expected)


def test_patches_show_the_papers_course_of_inputs() -> None:
    """Fig. 1C: own output first, then that of task 2, then own again, since task 2's input falls in sleep."""
    record, _ = one_run(Patches(min_overlap=14, max_overlap=14))
    (one,), (two,), (slept,) = record["inputs"].values()
    assert one[0] > one[1]
    assert two[0] < two[1]
    assert slept[0] > slept[1]
    assert slept[0] == pytest.approx(two[0])
    assert record["cosine"]["after task 2"][0] > 0 > record["cosine"]["task 2 alone"][0]
    assert record["task_accuracies"] == {
        "after task 1": [[1.0, 0.0]],
        "after task 2": [[0.0, 1.0]],
        "after sleep": [[1.0, 1.0]],
    }


def test_task_2_of_patches_may_be_shorter() -> None:
    """The released sweep trains four epochs, then two, and has not yet learned task 2."""
    sweep = replace(PATCHES, width=10, training=replace(PATCHES.training, learning_rate=0.05), max_overlap=13)
    whole, short = (one_run(replace(sweep, later_epochs=later))[0] for later in (None, 2))
    assert whole["inputs"]["after task 1"] == short["inputs"]["after task 1"]
    assert whole["inputs"]["after task 2"] != short["inputs"]["after task 2"]
    assert one_run(replace(sweep, later_epochs=4))[0]["inputs"] == whole["inputs"]


def test_the_second_night_is_looked_at_in_every_layer(tmp_path: Path) -> None:
    record, _ = one_run(SECOND, log=tmp_path / "log.h5")
    assert record["tasks"] == [[0, 1], [2, 3]]
    assert [point["name"] for point in record["checkpoints"]] == ["T1", "S1", "T2", "S2"]
    assert [(night["stage"], night["steps"]) for night in record["nights"]] == [("night 1", 200), ("night 2", 300)]
    assert tuple(record["replay"]) == NIGHTS
    looked = (record["before"], record["after"], record["inputs"], *record["replay"].values())
    assert all(len(layers) == 2 for layers in looked)
    assert np.array(record["weights"]["fields"], dtype=float).shape == (4, 784)
    assert [np.array(block, dtype=float).shape for block in record["weights"]["blocks"]] == [(5, 5)] * 2
    groups = record["replay"]["noise"][0]["groups"]
    assert [group["class"] for group in groups] == [0, 1, 2, 3, None]
    assert groups[-1]["n"] == 10
    assert groups[-1]["mean"] > 0  # noise reaches the first hidden layer
    with SpikeReader(tmp_path / "log.h5") as reader:
        assert [epoch.name for epoch in reader.epochs] == ["noise"]
        assert reader.complete
        assert reader.n_steps == 300
        assert reader.rates("input").mean() == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("changes", [{}, {"inhibition": 0.05, "silenced": {"hidden1": [0, 1, 2]}}])
def test_the_second_night_is_simulated_as_it_was(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates are of the very night that changed the weights: as many spikes in every population."""
    seen: list[float] = []
    real = second_night_module.replay

    def watch(rates: Any, *arguments: Any) -> Any:
        seen.append(sum(float(layer.sum()) for layer in rates))
        return real(rates, *arguments)

    monkeypatch.setattr(second_night_module, "replay", watch)
    record, _ = one_run(replace(SECOND, night=replace(SECOND.night, **changes)))
    night = record["nights"][1]
    hidden = sum(night["spikes"][f"hidden{layer}"] for layer in (1, 2))
    assert hidden > 0
    assert seen[2] * night["steps"] * night["dt"] == pytest.approx(hidden)


def test_rows_of_the_second_night_count_seeds_above_random() -> None:
    record, _ = one_run(SECOND)
    for test, p, t in zip(
        record["replay"]["noise"][0]["tests"], (0.01, 0.01, 0.2, None), (3, -3, 1, None), strict=True
    ):
        test.update(p=p, statistic=t)
    rows = {row["quantity"]: row for row in SECOND.rows([record, record])}
    above = [rows[f"hidden1: noise: class {c} neurons (Hz)"]["above, p < 0.05"] for c in range(4)]
    assert above == ["2 of 2", "0 of 2", "0 of 2", "0 of 2"]  # a test below random neurons is not replay
    rate = record["replay"]["noise"][0]["groups"][3]["mean"]
    assert rows["hidden1: noise: class 3 neurons (Hz)"]["asleep"] == pytest.approx(rate)
    within = 100 * record["before"][1]["within"]
    assert rows["hidden2: correlation within classes (%)"]["before"] == pytest.approx(within)
    assert rows["accuracy on both tasks (%)"]["after"] == pytest.approx(100 * record["accuracy"])


def test_undertrained_is_one_course_of_training() -> None:
    """The network after three epochs is the same whether or not copies slept before."""
    record, _ = one_run(UNDERTRAINED)
    assert [(p["images"], p["epochs"]) for p in record["points"]] == [(n, e) for n in (100, 300) for e in (0, 1, 3)]
    alone, _ = one_run(replace(UNDERTRAINED, epochs=(3,), images=(300,)))
    assert alone["points"][0]["before"] == record["points"][-1]["before"]
    assert alone["points"][0]["after"] == record["points"][-1]["after"]


def test_undertrained_asks_the_data_it_says() -> None:
    test, _ = one_run(UNDERTRAINED)
    train, _ = one_run(replace(UNDERTRAINED, evaluate_on="train"))
    for point in train["points"]:
        assert point["before"] * point["images"] == pytest.approx(round(point["before"] * point["images"]))
    assert [p["before"] for p in train["points"]] != [p["before"] for p in test["points"]]
    assert all(p["before"] * 2000 == pytest.approx(round(p["before"] * 2000)) for p in test["points"])


def test_gain_is_after_minus_before() -> None:
    records = [{"points": [{"images": 5, "epochs": 1, "before": b, "after": a}]} for b, a in ((0.2, 0.5), (0.4, 0.5))]
    (row,) = UNDERTRAINED.rows(records)
    assert (row["before %"], row["after %"], row["gain"]) == pytest.approx((30, 50, 20))
    assert row["s.d. gain"] == pytest.approx(np.std([30, 10], ddof=1))


def test_error_bars_are_half_the_interval_of_the_mean() -> None:
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [np.nan, 5.0]])
    half = interval_of(values)
    assert half is not None
    assert half == pytest.approx([4.302653 / np.sqrt(3), 0])  # t of 2 degrees of freedom; s.d. 1
    assert interval_of(values[:1]) is None


@pytest.mark.parametrize(
    ("study", "changes", "message"),
    [
        (PATCHES, {"min_overlap": 9, "max_overlap": 8}, "max_overlap must be at least min_overlap, 9, got 8"),
        (PATCHES, {"form": "corrected", "width": 10, "max_overlap": 30}, "expected an overlap below 25"),
        (PATCHES, {"init": 0.0}, "init must be positive"),
        (PATCHES, {"night": replace(PATCHES.night, thresholds=(1.0, 1.0))}, "threshold"),
        (SECOND, {"night": replace(SECOND.night, thresholds=(1.0,))}, "threshold"),
        (SECOND, {"network": ReluNetwork((49, 60))}, "at least 50 neurons for the top 10 of 4 classes"),
        (SECOND, {"network": ReluNetwork(())}, "at least 50 neurons"),
        (SECOND, {"stream": DataStream("mnist-small", 300, classes_per_task=10)}, "2 tasks of different classes"),
        (SECOND, {"top": 1}, "top must be at least 2, got 1"),
        (UNDERTRAINED, {"night": replace(UNDERTRAINED.night, thresholds=(1.0,))}, "threshold"),
        (UNDERTRAINED, {"epochs": (2, 1)}, "epochs must be at least one number, ascending"),
        (UNDERTRAINED, {"epochs": (4,)}, "epochs must be at most the 3 of training, got 4"),
        (UNDERTRAINED, {"images": ()}, "images must be at least one number"),
        (UNDERTRAINED, {"images": (20_000,)}, "at most the 10000 of mnist-small"),
        (UNDERTRAINED, {"evaluate_on": "both"}, "no evaluate_on 'both'.*test, train"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_it_starts(study: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(study, **changes).check()


def test_defaults_are_the_released_values() -> None:
    patches, second, undertrained = Patches(), SecondNight(), Undertrained()
    assert (patches.night.steps, patches.night.drive, patches.night.thresholds) == (30_000, MeanRate(64.0), 1.045)
    assert patches.training == Trainer(4, 2, 0.1, 0.5, "cross-entropy")
    assert (second.night.steps, second.steps_more, second.night.gain_scale) == (15_000, 5_000, 55.882454)
    assert second.stream == DataStream("mnist", 5000, 2, "released")
    assert second.training == Trainer(2, 100, 0.1, 0.5, "squared-error")
    assert second.network == undertrained.network == ReluNetwork((1200, 1200), 0.25, 0.01)
    assert undertrained.training == Trainer(10, 100, 0.01, 0.5, "squared-error")
    assert undertrained.night.thresholds == (37.312702, 7.101362, 32.780841)
    assert (undertrained.night.steps, undertrained.epochs[-1]) == (20_000, 10)
