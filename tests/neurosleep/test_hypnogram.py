"""Hypnograms: a night of one segment is the plain night; presets; killed in any segment; what is told of segments."""

from collections import Counter
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import neurosleep as ns
from neurosleep.experiments.lesions import BlockedPotentiation
from neurosleep.hypnogram import Hypnogram, Segment, StageDrive
from neurosleep.networks import relu_network
from neurosleep.night import fall_asleep
from neurosleep.sims import checkpoint
from neurosleep.sims.checkpoint import Resumable
from neurosleep.sims.drives.populations import Drives
from neurosleep.sims.ensemble import simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.trial_night import try_night

STAGE = ns.SpontaneousReplay(300, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.004), 1.0, gain_scale=2.0)
DREAM = Hypnogram(
    (
        Segment("N2", 3, ns.Spindles(StageDrive(), rate=4.0, duration=0.2), gain=1.5),
        Segment("N3", 4, ns.SlowOscillation(StageDrive(), 20.0)),
        Segment("wake", 1, ns.UniformNoise(30.0), plasticity=None, threshold=0.5),
        Segment("REM", 2, plasticity=ns.Hebbian(0.002, 0.001)),
    )
)


def model_and_memory() -> tuple[torch.nn.Module, ns.Memory]:
    model = relu_network((16, 12, 5), init=0.5, generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, np.random.default_rng(1).random((60, 16), dtype=np.float32))
    return model, memory


def slept(stage: ns.SpontaneousReplay, **how: Any) -> tuple[list[torch.Tensor], ns.SleepRecord]:
    model, memory = model_and_memory()
    record = ns.sleep(model, memory, stage, **{"seed": 3, **how})
    return [p.detach() for p in model.parameters()], record


def test_a_hypnogram_of_one_segment_is_the_plain_night(tmp_path: Path) -> None:
    logs = [tmp_path / "plain.h5", tmp_path / "one.h5", tmp_path / "two.h5"]
    nights = [
        slept(replace(STAGE, hypnogram=hypnogram), log=log)
        for hypnogram, log in zip(
            (None, Hypnogram([Segment("NREM", 90)]), Hypnogram([Segment("a", 1), Segment("b", 2)])), logs, strict=True
        )
    ]
    for weights, record in nights[1:]:
        assert all(map(torch.equal, weights, nights[0][0]))
        assert record.spikes == nights[0][1].spikes
    with h5py.File(logs[0]) as plain, h5py.File(logs[1]) as one, h5py.File(logs[2]) as two:
        for name in (f"spikes/{x}/{column}" for x in plain["spikes"] for column in ("step", "node_id")):
            assert plain[name][()].tobytes() == one[name][()].tobytes() == two[name][()].tobytes()
    [whole] = nights[1][1].segments
    assert (whole.spikes, whole.rates) == (nights[0][1].spikes, nights[0][1].rates)


def test_segments_are_told_by_record_and_log(tmp_path: Path) -> None:
    _, record = slept(replace(STAGE, hypnogram=DREAM), log=tmp_path / "night.h5")
    assert [(x.name, x.begin, x.steps) for x in record.segments] == [
        ("N2", 0, 90),
        ("N3", 90, 120),
        ("wake", 210, 30),
        ("REM", 240, 60),
    ]
    assert record.to_dict()["segments"][1]["name"] == "N3"
    with ns.SpikeReader(tmp_path / "night.h5") as log:
        assert [(x.name, x.start, x.stop - x.start) for x in log.segments()] == [
            (x.name, x.begin, x.steps) for x in record.segments
        ]
        for part in record.segments:
            for name, n in part.spikes.items():
                assert n == log.spike_counts(name, part.begin, part.begin + part.steps).sum()
    whole = Counter[str]()
    for part in record.segments:
        whole.update(part.spikes)
    assert dict(whole) == record.spikes
    assert 0 < record.segments[2].rates["input"] < 60


@pytest.mark.parametrize("at", [20, 90, 150, 225, 270])
@pytest.mark.parametrize("homeostasis", [None, ns.SynapticScaling(20.0)])
def test_a_night_killed_in_any_segment_ends_as_in_one_go(
    at: int, homeostasis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "FIRST_PIECE", 10)
    monkeypatch.setattr(Resumable, "simulate", partialmethod(Resumable.simulate, seconds=0.0))  # pieces stay short
    stage = replace(STAGE, hypnogram=DREAM, homeostasis=homeostasis, homeostasis_every=40)
    whole, record = slept(stage, log=tmp_path / "whole.h5")
    files = {"log": tmp_path / "night.h5", "checkpoint": tmp_path / "night.npz"}
    done = 0

    def stop(steps: int) -> None:
        nonlocal done
        done += steps
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slept(stage, on_progress=stop, **files)
    again, told = slept(stage, **files)
    assert all(map(torch.equal, again, whole))
    assert told.segments == record.segments
    with h5py.File(tmp_path / "whole.h5") as a, h5py.File(tmp_path / "night.h5") as b:
        for name in (
            "segments",
            "epochs",
            *(f"spikes/{x}/{column}" for x in a["spikes"] for column in ("step", "node_id")),
        ):
            assert a[name][()].tobytes() == b[name][()].tobytes()


@pytest.mark.parametrize(
    ("preset", "minutes", "shares"),
    [("human", 480, {"N1": 5, "N2": 50, "N3": 20, "REM": 25}), ("mouse", 72, {"NREM": 58, "REM": 8, "wake": 33})],
)
def test_presets(preset: Any, minutes: float, shares: dict[str, int]) -> None:
    hypnogram = Hypnogram.of(preset)
    assert hypnogram.minutes == minutes
    assert hypnogram.steps(per_hour=1000) == round(minutes / 60 * 1000)
    total = Counter[str]()
    for segment in hypnogram.segments:
        total[segment.name] += int(segment.minutes)
    assert {name: round(100 * n / minutes) for name, n in total.items()} == shares
    stage = replace(STAGE, steps=15_000, hypnogram=preset)
    assert stage.segments[-1].stop == 15_000
    assert {x.drive == stage.drive for x in stage.segments} == {True, False}
    if preset == "human":
        early, late = hypnogram.segments[: len(hypnogram.segments) // 2], hypnogram.segments[-6:]
        assert "N3" in {x.name for x in early}
        assert "N3" not in {x.name for x in late}
        assert len(Hypnogram.human(cycles=4).segments) < len(hypnogram.segments)
    else:
        assert all((x.plasticity is None) == (x.name == "wake") for x in stage.segments)


def test_the_drive_of_the_stage_is_put_in_its_place() -> None:
    own = ns.SlowOscillation(StageDrive(), 1.0)
    [alone] = Hypnogram([Segment("N3", 1, own + ns.UniformNoise(3.0))]).timed(10, ns.MeanRate(5.0), None)
    assert alone.drive == ns.SlowOscillation(ns.MeanRate(5.0), 1.0) + ns.UniformNoise(3.0)
    every = {"input": ns.MeanRate(5.0), "hidden1": ns.Kicks(ns.UniformNoise(5.0), 0.5)}
    [several] = Hypnogram([Segment("N3", 1, own)]).timed(10, every, None)
    kicks = ns.Kicks(ns.SlowOscillation(ns.UniformNoise(5.0), 1.0), 0.5)
    assert several.drive == Drives({"input": ns.SlowOscillation(ns.MeanRate(5.0), 1.0), "hidden1": kicks})
    [other] = Hypnogram([Segment("N3", 1, ns.UniformNoise(9.0))]).timed(10, every, None)
    assert other.drive == Drives({**every, "input": ns.UniformNoise(9.0)})
    with pytest.raises(InputError, match=r"StageDrive\(\) stands for the drive of a stage"):
        slept(replace(STAGE, drive=StageDrive()))


def test_values_of_a_segment_can_be_changed() -> None:
    changed = Hypnogram.human().change("REM", gain=0.8, plasticity=None)
    assert {x.gain for x in changed.segments if x.name == "REM"} == {0.8}
    assert {x.gain for x in changed.segments if x.name != "REM"} == {1.0}
    with pytest.raises(InputError, match="no segment 'REMS'; did you mean 'REM'"):
        changed.change("REMS", gain=1.0)
    with pytest.raises(InputError, match="no value 'gian'; did you mean 'gain'"):
        changed.change("REM", gian=1.0)


def test_steps_are_divided_by_minutes() -> None:
    hypnogram = Hypnogram([Segment(str(i), 1 + i % 3) for i in range(20)])
    for steps in (39, 78, 1000):
        ends = [segment.stop for segment in hypnogram.timed(steps, ns.MeanRate(5.0), None)]
        assert ends == [round(sum(1 + k % 3 for k in range(i + 1)) / 39 * steps) for i in range(20)]
    short = hypnogram.timed(5, ns.MeanRate(5.0), None)
    assert [segment.stop for segment in short] == [1, 2, 3, 4, 5]


def test_silencing_and_lesions_reach_all_segments() -> None:
    model, memory = model_and_memory()
    stage = replace(STAGE, hypnogram=DREAM, silenced={"input": range(16)})
    _, record = slept(stage)
    assert not any(part.spikes["input"] for part in record.segments)
    lesioned = BlockedPotentiation().apply(stage, {}, 0)
    rules = [x.plasticity for x in fall_asleep(model, memory, lesioned).member.segments]
    assert [rule and rule.inc for rule in rules] == [0.0, 0.0, None, 0.0]  # type: ignore[union-attr]


def test_what_cannot_work_is_told_before_the_night() -> None:
    model, memory = model_and_memory()
    too_much = ns.Modulated(StageDrive(), ns.Piecewise((0.0,), (100.0,)))
    wrong = replace(STAGE, hypnogram=Hypnogram([Segment("N3", 8), Segment("REM", 2, too_much)]))
    inputs = torch.rand(4, 16)
    with pytest.raises(InputError, match="probability"):
        try_night(model, memory, inputs, [wrong])
    for values, said in (
        ({"hypnogram": "humen"}, r"hypnogram must be Hypnogram\(...\) or 'human', 'mouse' or None"),
        ({"hypnogram": 3}, "hypnogram must be"),
        ({"homeostasis": 3}, "homeostasis must be a rule"),
        ({"homeostasis_every": 0}, "homeostasis_every must be at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            replace(STAGE, **values)  # type: ignore[arg-type]
    for segment, said in (
        ({"minutes": 0}, "minutes must be above 0"),
        ({"name": ""}, "the name of a segment"),
        ({"name": "a" * 65}, "the name of a segment"),
        ({"threshold": 0}, "threshold must be above 0"),
        ({"drive": 3}, "drive must be"),
        ({"plasticity": "none at all"}, "plasticity must be|no plasticity"),
    ):
        with pytest.raises(InputError, match=said):
            Segment(**{"name": "N3", "minutes": 1, **segment})
    with pytest.raises(InputError, match="a hypnogram is made of segments"):
        Hypnogram([])
    with pytest.raises(InputError, match="cycles must be from 1 to 5"):
        Hypnogram.human(6)


class Half:
    """A modulator that is 1/2 in every step."""

    def values(self, steps: np.ndarray) -> np.ndarray:
        return np.full(len(steps), 0.5)


def test_a_modulator_is_for_a_rule_of_the_night_or_of_a_segment() -> None:
    model, memory = model_and_memory()
    taken = ns.Neuromodulated(ns.Hebbian(0.002, 0.001))
    stage = replace(STAGE, modulator=Half(), hypnogram=DREAM.change("REM", plasticity=taken))
    assert fall_asleep(model, memory, stage).member.modulator is stage.modulator
    assert fall_asleep(model, memory, replace(stage, steps=1)).member.modulator is None  # there is no REM in it
    for where in ({"hypnogram": DREAM}, {"hypnogram": None}, {"plasticity": taken, "hypnogram": _all_own()}):
        with pytest.raises(InputError, match=r"modulator has no effect: no rule takes it, got .*Hebbian"):
            replace(stage, **where)
    member = fall_asleep(model, memory, stage).member
    with pytest.raises(InputError, match="modulator has no effect"):
        simulate_ensemble([replace(member, segments=member.segments[:-1])], 10)


def _all_own() -> Hypnogram:
    return Hypnogram([Segment("REM", 1, plasticity=ns.Hebbian(0.002, 0.001))])


def test_a_model_stays_as_it_was_when_a_rule_fails() -> None:
    class Wrong:
        def apply(self, weights: np.ndarray, rates: np.ndarray) -> np.ndarray:
            return weights * np.nan

    model, memory = model_and_memory()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(InputError, match="homeostasis Wrong, layer 1, step 100: "):
        ns.sleep(model, memory, replace(STAGE, homeostasis=Wrong(), homeostasis_every=100))
    assert all(map(torch.equal, before, model.parameters()))
