"""Hypnograms and homeostasis in experiments: as TOML and back, in records, and on the page."""

from dataclasses import replace
from typing import Any

import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Experiment, ReluNetwork, run
from neurosleep.experiments.description import from_plain, to_plain
from neurosleep.experiments.loading import load
from neurosleep.experiments.page.raster_view import raster_views
from neurosleep.figures.panels import panels_raster
from neurosleep.figures.segments import segment_colours
from neurosleep.sims.errors import InputError
from neurosleep.training import Trainer

NIGHT = ns.SpontaneousReplay(
    300, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)
OWN = ns.Hypnogram(
    [
        ns.Segment("N3", 2, ns.SlowOscillation(ns.StageDrive(), 5.0), gain=1.5),
        ns.Segment("dream", 1, plasticity=ns.Hebbian(0.01, 0.01)),
        ns.Segment("wake", 1, plasticity=None),
    ]
)
STAGES = [
    replace(NIGHT, hypnogram="human"),
    replace(NIGHT, hypnogram=OWN, homeostasis=[ns.SynapticScaling(5.0), ns.MagnitudePruning(0.1)]),
    replace(NIGHT, homeostasis=ns.IncomingNormalisation(of="norm"), homeostasis_every=50),
    replace(NIGHT, homeostasis=ns.IntrinsicExcitability(3.0)),
]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("whole", [False, True])
def test_as_plain_values_and_back(stage: ns.SpontaneousReplay, whole: bool) -> None:
    assert from_plain(to_plain(stage, whole=whole), (ns.SpontaneousReplay,), "night") == stage


def test_a_rule_by_itself_is_a_table() -> None:
    table = to_plain(STAGES[3])
    table["homeostasis"] = table["homeostasis"][0]
    assert from_plain(table, (ns.SpontaneousReplay,), "night") == STAGES[3]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hypnogram": "humen"}, "night.hypnogram: no hypnogram 'humen'; did you mean 'human'"),
        ({"hypnogram": {"segments": [{"name": "N3"}]}}, r"night.hypnogram.segments\[0\]: Segment needs minutes"),
        (
            {"hypnogram": {"segments": [{"name": "N3", "minutes": 1, "plasticity": "staeg"}]}},
            "no plasticity 'staeg'; did you mean 'stage'",
        ),
        ({"homeostasis": [{"kind": "SynapticScalin", "target": 3}]}, "no kind 'SynapticScalin'; did you mean"),
    ],
)
def test_what_a_file_cannot_say(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_plain(to_plain(NIGHT) | values, (ns.SpontaneousReplay,), "night")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    conditions = {"own": Condition([STAGES[1]]), "plain": Condition([NIGHT])}
    experiment = Experiment(
        "?",
        conditions,
        seeds=1,
        stream=DataStream(images_per_task=60, classes_per_task=5),
        network=ReluNetwork((40,), init=0.05),
        training=Trainer(epochs=1, batch_size=20),
    )
    return run(experiment, tmp_path_factory.mktemp("runs") / "e", workers=1)


def test_the_file_and_the_records_tell_of_segments(results: Any) -> None:
    assert load(results.folder / "experiment.toml").conditions["own"].night == (STAGES[1],)
    told = {r["condition"]: [stage["segments"] for stage in r["stages"]] for r in results.records.values()}
    assert [[(x["name"], x["begin"], x["steps"]) for x in night] for night in told["own"]] == [
        [("N3", 0, 150), ("dream", 150, 75), ("wake", 225, 75)]
    ] * 2
    assert told["plain"] == [[], []]


def test_rasters_show_segments(results: Any) -> None:
    views = {(view.condition, view.task): view for view in raster_views(results).views}
    shapes = views["own", 2].raster.layout["shapes"]
    strip = [(x["label"]["text"], x["x0"], x["x1"]) for x in shapes if "label" in x]
    assert strip == [("N3", -0.5, 149.5), ("dream", 149.5, 224.5), ("wake", 224.5, 299.5)]
    assert len([x for x in shapes if x.get("layer") == "below"]) == 3
    assert views["plain", 1].raster.layout["shapes"] == []


def test_drawn_rasters_show_segments(results: Any) -> None:
    from matplotlib.figure import Figure

    figure, colours = Figure(), segment_colours(["N3", "dream", "wake", "N3"])
    assert len(set(colours.values())) == 3
    with results.spikes("own", 0) as reader:
        panels_raster(figure, reader, 1)
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names[-3:] == ["N3", "dream", "wake"]
    for axes in figure.axes:
        assert [(p.get_x(), p.get_width()) for p in axes.patches] == [(0, 150), (150, 75), (225, 75)]
