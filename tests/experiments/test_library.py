"""Experiments that ship are the papers': released constants, conditions, and what each of them is made of."""

import pytest

import neurosleep as ns
from neurosleep.continual.methods import METHODS
from neurosleep.continual.methods.names import MethodName
from neurosleep.experiments import Experiment, load
from neurosleep.experiments.library import names
from neurosleep.experiments.perform import amount, perform, prepare
from neurosleep.experiments.record import RunId
from neurosleep.sims.network import population_sizes

POPULATIONS = population_sizes((784, 1200, 1200, 10))


def night(name, condition="src", number=1, settings=()):
    (stage,) = load(name, settings).conditions[condition].stages(number, POPULATIONS, 0)
    return stage


def test_the_night_of_mnist_is_the_released_one() -> None:
    assert [night("src-mnist", number=n).steps for n in range(1, 6)] == [15_000, 20_000, 25_000, 30_000, 35_000]
    first = night("src-mnist")
    assert first.drive == ns.MaskedMeanRate(239.515363, 11, (28, 28))
    assert first.plasticity == ns.GatedHebbian(0.032064, 0.003344, 0.001)
    assert first.thresholds == (14.548273, 44.560317, 38.046326)
    assert (first.gain_scale, first.decay, first.inhibition, first.dt) == (55.882454, 0.999, 0.0, 0.001)
    assert first.normalization == "released"


@pytest.mark.parametrize(
    ("name", "drive", "inc", "dec", "thresholds", "gain", "steps"),
    [
        (
            *("src-fashion-mnist", ns.MaskedMeanRate(181.047258), 0.041001, 0.003344),
            *((40.446884, 27.596929, 33.109393), 31.592987, (15_000, 20_000)),
        ),
        (
            *("src-cross-modal", ns.MaskedMeanRate(227.437205), 0.050052, 0.005592),
            *((4.700579, 7.750487, 7.055086), 9.284002, (6_666, 12_468)),
        ),
        (
            *("src-cifar10", ns.MeanRate(453.020604), 0.078129, 0.003005),
            *((8.070491, 0.907842, 1.728840), 4.131109, (15_000, 15_000)),
        ),
        ("src-cub200", ns.MeanRate(32.0), 0.01, 0.001, (1.0, 1.0, 1.0), 1.0, (5_000, 5_000)),
    ],
)
def test_other_data_have_their_own_nights(name, drive, inc, dec, thresholds, gain, steps) -> None:
    nights = [night(name, number=n) for n in (1, 2)]
    assert tuple(stage.steps for stage in nights) == steps
    assert (nights[0].drive, nights[0].plasticity) == (drive, ns.GatedHebbian(inc, dec))
    assert (nights[0].thresholds, nights[0].gain_scale) == (thresholds, gain)


@pytest.mark.parametrize(
    ("capacity", "rate", "inc", "dec", "thresholds", "gain"),
    [
        (50, 95.654279, 0.058705, 0.009112, (27.477005, 21.155469, 22.567029), 19.001764),
        (100, 114.365720, 0.042289, 0.005498, (38.451454, 22.198208, 6.893450), 4.253433),
        (200, 114.365720, 0.042289, 0.005498, (38.451454, 22.198208, 6.893450), 4.253433),
        (500, 114.365720, 0.042289, 0.005498, (38.451454, 22.198208, 6.893450), 4.253433),
        (1000, 27.393650, 0.019093, 0.060217, (9.625520, 34.737610, 31.296881), 2.023822),
    ],
)
@pytest.mark.parametrize(
    ("name", "drive", "more"),
    [
        ("icarl-mnist", ns.MaskedMeanRate, 5_000),
        ("icarl-fashion-mnist", ns.MaskedMeanRate, 5_000),
        ("icarl-cifar10", ns.MeanRate, 0),
    ],
)
def test_icarl_sleeps_by_its_capacity(name, drive, more, capacity, rate, inc, dec, thresholds, gain) -> None:
    first, second = (night(name, f"icarl:{capacity}+src", number) for number in (1, 2))
    assert (first.drive, first.plasticity) == (drive(rate), ns.GatedHebbian(inc, dec))
    assert (first.thresholds, first.gain_scale, second.steps - first.steps) == (thresholds, gain, more)


def test_the_full_length_of_tripartite_sleep_has_all_of_the_papers_conditions() -> None:
    experiment = load("tripartite-cifar100-paper")
    assert set(experiment.conditions) == {f"p{p:g}{rem}" for p in (0, 0.25, 0.5, 0.75, 0.9) for rem in ("", "+rem")}
    for name, condition in experiment.conditions.items():
        *pruning, replay = condition.night
        assert [stage.fraction for stage in pruning] == [float(name[1:].removesuffix("+rem"))] * (name[:3] != "p0+") * (
            name != "p0"
        )
        assert (replay.iterations, replay.rem is not None) == (10_000, name.endswith("+rem"))


def test_what_ships_fits_together() -> None:
    for name in names():
        experiment = load(name)
        for condition in experiment.conditions:
            assert amount(experiment, condition) > 0, name
        if isinstance(experiment, Experiment) and experiment.stream.dataset in ("mnist-small", "mnist"):
            prepare(load(name, ["dataset=mnist-small"]))


SMALL = ("dataset=mnist-small", "hidden=[20]", "thresholds=[1.0, 1.0]", "images_per_task=60", "epochs=1")


def test_every_method_runs_and_progress_adds_up(tmp_path) -> None:
    lines = [
        f'"{base}+src" = {{ method = "{base}" }}\n{base} = {{ method = "{base}", night = [] }}' for base in METHODS
    ]
    file = tmp_path / "all.toml"
    last = '[conditions]\njoint = { method = "joint", night = [] }\nlast-task = { method = "last-task", night = [] }\n'
    file.write_text('like = "src-mnist"\n' + last + "\n".join(lines))
    experiment = load(file, [*SMALL, "night.0.steps=50", "steps_more=0", "joint=tasks", "seeds=1"])
    prepare(experiment)
    done: list[float] = []
    records = dict(perform(experiment, experiment.runs, on_progress=done.append))
    assert sum(done) == pytest.approx(sum(amount(experiment, name) for name in experiment.conditions))
    for run, record in records.items():
        assert not isinstance(record, Exception), record
        assert len(record["stages"]) == (5 if run.condition.endswith("+src") else 0)
    awake, slept = (records[RunId(name, 0)]["checkpoints"][-1] for name in ("sequential", "sequential+src"))
    assert awake["task_accuracies"] != slept["task_accuracies"]


def test_the_stand_in_for_birds() -> None:
    """The protocol of CUB-200, on data that are not CUB-200: two tasks of 100 classes each."""
    small = ("hidden=[20]", "thresholds=[1.0, 1.0]", "images_per_task=300", "epochs=1", "steps=50", "seeds=1")
    experiment = load("src-cub200", ["dataset=permuted-digits", *small, 'conditions=["sequential", "src"]'])
    prepare(experiment)
    for _, record in perform(experiment, experiment.runs):
        assert [task["name"] for task in record["tasks"]] == ["0 to 99", "100 to 199"]


def test_methods_are_read() -> None:
    assert MethodName.parse("sequential") == MethodName("sequential", "sequential", None)
    assert MethodName.parse("rehearsal:0.02") == MethodName("rehearsal:0.02", "rehearsal", 0.02)
    made = MethodName.parse("icarl:50").make(0, {"loss": "sigmoid"})
    assert (made.name, made.capacity, made.loss_kind) == ("icarl", 50, "sigmoid")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("prayer", {}, "no method 'prayer'"),
        ("sequential:3", {}, "sequential takes no value"),
        ("joint:3", {}, "joint takes no value"),
        ("ewc:much", {}, "'much' is not a number"),
        ("icarl:1.5", {}, "capacity must be a whole number"),
        ("rehearsal:2", {}, "fraction"),
        ("icarl", {"los": "sigmoid"}, "no option 'los'; did you mean 'loss'"),
        ("icarl", {"capacity": 3}, "no option 'capacity'"),
        ("sequential", {"seed": 3}, "no option 'seed'"),
    ],
)
def test_methods_that_cannot_be(text, options, message) -> None:
    with pytest.raises(ns.InputError, match=message):
        MethodName.parse(text).make(0, options)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("src-cub200", [], "CUB-200 needs embeddings that you supply"),
        (
            "src-mnist",
            ["dataset=mnist-small", "thresholds=[1.0, 2.0]"],
            "thresholds must be one number or one for each",
        ),
        ("src-mnist", ["dataset=mnist-small", "order=0 1"], "order must be"),
        ("src-mnist", ["dataset=mnist-small", "window=29"], "window must be from 1 to"),
        ("patches", ["min_overlap=9", "max_overlap=8"], "max_overlap must be at least min_overlap, 9, got 8"),
        ("patches", ["form=corrected", "width=10"], "expected an overlap below 25"),
    ],
)
def test_what_cannot_work_is_refused_before_it_starts(name, settings, message, monkeypatch) -> None:
    monkeypatch.delenv("NEUROSLEEP_DATA", raising=False)
    with pytest.raises(ns.InputError, match=message):
        prepare(load(name, settings))
