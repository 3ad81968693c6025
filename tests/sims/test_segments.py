"""Segments of a night: a night in one is the plain night; segments of any kind on any engine, stopped anywhere."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurosleep.sims.checkpoint import Checkpoint, Resumable, digest, load, save, simulate_resumable
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import Member, Simulation, simulate, simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.rules.neuromodulated import Neuromodulated
from neurosleep.sims.rules.stdp import PairSTDP, TripletSTDP
from neurosleep.sims.segments import TimedSegment
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import Segment, SpikeReader

DRIVE, STEPS = UniformNoise(120.0), 90
RULES = pytest.mark.parametrize("rule", [Hebbian(2**-7, 2**-9), GatedHebbian(2**-7, 2**-9)])


def network() -> SpikingNetwork:
    rng = np.random.default_rng(0)
    weights = ((rng.integers(-100, 200, shape) / 1024) for shape in ((20, 15), (15, 4)))
    return SpikingNetwork(tuple(SpikingLayer(w, threshold=0.5, decay=0.96875) for w in weights))


def segments(rule: Any) -> tuple[TimedSegment, ...]:
    return (
        TimedSegment("N2", 25, DRIVE, rule),
        TimedSegment("N3", 40, UniformNoise(300.0), Hebbian(2**-6, 2**-9), gain=2.0),
        TimedSegment("REM", 70, UniformNoise(60.0), None, threshold=0.5),
        TimedSegment("N2", 90, DRIVE, rule),
    )


def member(rule: Any, **how: Any) -> Member:
    return Member(network(), DRIVE, rule, seed=3, **how)


def night(who: Member, steps: int = STEPS, **how: Any) -> Simulation:
    return simulate_ensemble([who], steps, **how)[0]


def assert_same(a: Simulation, b: Simulation, exactly: bool = True) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_allclose(x.weights, y.weights, rtol=0 if exactly else 1e-12, atol=0)
        assert (x.gain, x.threshold) == (y.gain, y.threshold)
    for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(c, d)


@RULES
def test_alike_segments_are_the_plain_night(rule: Any) -> None:
    plain = night(member(rule))
    for stops in ([STEPS], [STEPS // 2], [13, 14, 50, 200]):
        alike = tuple(TimedSegment(f"part {i}", stop, DRIVE, rule) for i, stop in enumerate(stops))
        parts = night(member(rule, segments=alike))
        assert_same(parts, plain)
        for v, w in zip(parts.state.membranes, plain.state.membranes, strict=True):
            np.testing.assert_array_equal(v, w)
        np.testing.assert_array_equal(parts.segment_spikes.sum(axis=0), [c.sum() for c in plain.spike_counts])


@RULES
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_segment_is_a_night_of_its_own_from_the_state_before(rule: Any, backend: Any) -> None:
    whole = night(member(rule, segments=segments(rule)), backend=backend, chunk=9)
    state, net, begin = None, network(), 0
    for number, segment in enumerate(segments(rule)):
        steps, now = segment.stop - begin, segment.of(net)
        part = simulate(now, segment.drive, segment.plasticity, steps, seed=3, state=state, backend=backend)
        np.testing.assert_array_equal(whole.segment_spikes[number], [c.sum() for c in part.spike_counts])
        state, net, begin = part.state, net.with_weights([x.weights for x in part.network.layers]), segment.stop
    for x, y in zip(whole.network.layers, net.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
        assert (x.gain, x.threshold) == (y.gain, y.threshold)
    assert (whole.segment_spikes[:, 0] > 0).all()


@RULES
def test_engines_agree(rule: Any) -> None:
    who = member(rule, segments=segments(rule), streams=1)
    assert_same(night(who), night(who, backend="reference"), exactly=isinstance(rule, Hebbian))


@RULES
@pytest.mark.parametrize("cut", [3, 25, 33, 70, 89])
def test_a_night_goes_on_in_any_segment(rule: Any, cut: int, tmp_path: Path) -> None:
    """Killed in each segment, and at borders: weights, spikes, and the log are those of a night in one go."""
    who, names = member(rule, segments=segments(rule)), [("N2", 0), ("N3", 25), ("REM", 40), ("N2", 70)]
    logs = [tmp_path / "whole.h5", tmp_path / "cut.h5"]
    whole, path = None, tmp_path / "night.npz"
    for log_path in logs:
        with SpikeLog(log_path, network().populations, 0.001, identity="same") as log:
            log.begin_epoch("night", 3, names)
            if whole is None:
                whole = night(replace(who, log=log))
            else:  # as if it had been stopped there, after a save, while the log had gone on
                first = night(replace(who, log=log), cut)
                night(replace(who, network=first.network, state=first.state, log=log), min(5, STEPS - cut))
                _save(who, first, path)
    with SpikeLog.resume(logs[1], cut) as log:
        rest = simulate_resumable(replace(who, log=log), STEPS, path)
        log.end_epoch()
    assert whole is not None
    assert_same(rest, whole)
    np.testing.assert_array_equal(rest.segment_spikes, whole.segment_spikes)
    with h5py.File(logs[0]) as a, h5py.File(logs[1]) as b:
        for name in ("segments", "epochs", "progress", *(f"spikes/{x}/step" for x in network().populations)):
            assert a[name][()].tobytes() == b[name][()].tobytes()


def _save(who: Member, first: Simulation, path: Path) -> None:
    save(Checkpoint(digest(who, STEPS), first.network, first.state, first.spike_counts, first.segment_spikes), path)


@pytest.mark.parametrize("cut", [7, 25, 33, 40, 55, 70, 80])
def test_traces_begin_at_0_where_another_rule_begins(cut: int) -> None:
    """Stopped anywhere, at borders too; the modulator is for those segments whose rules take it."""
    rules = PairSTDP(0.01, 0.01), TripletSTDP(0.01, 0.01, 0.01, 0.01), None, Neuromodulated(PairSTDP(0.01, 0.01))
    own = tuple(replace(x, plasticity=rule) for x, rule in zip(segments(None), rules, strict=True))
    who = member(rules[3], segments=own, modulator=Half())
    whole, first = (night(who, steps, backend="reference") for steps in (STEPS, cut))
    second = night(replace(who, network=first.network, state=first.state), STEPS - cut, backend="reference")
    for a, b, before in zip(whole.network.layers, second.network.layers, network().layers, strict=True):
        assert (a.weights != before.weights).any()
        np.testing.assert_array_equal(a.weights, b.weights)
    np.testing.assert_array_equal(whole.segment_spikes, first.segment_spikes + second.segment_spikes)


class Half:
    """A modulator that is 1/2 in every other step."""

    def values(self, steps: np.ndarray) -> np.ndarray:
        return np.where(steps % 2, 0.5, 1.0)


def test_a_checkpoint_is_of_these_segments(tmp_path: Path) -> None:
    who = member(None, segments=segments(None))
    assert (
        len({digest(member(None), STEPS), digest(who, STEPS), digest(member(None, segments=who.segments[:2]), STEPS)})
        == 3
    )
    simulate_resumable(who, STEPS, tmp_path / "night.npz")
    assert load(tmp_path / "night.npz", network(), segments=4).segment_spikes.shape == (4, 3)
    with pytest.raises(InputError, match="another night"), Resumable(member(None), STEPS, tmp_path / "night.npz"):
        pass


def test_segments_come_one_after_the_other() -> None:
    with pytest.raises(InputError, match=r"one after the other, got stops \[25, 40, 70, 25\]"):
        night(member(None, segments=(*segments(None)[:3], segments(None)[0])))
    for wrong in ({"stop": 0}, {"gain": -1.0}, {"threshold": 0.0}):
        with pytest.raises(InputError):
            replace(segments(None)[0], **wrong)


def test_logs_know_their_segments(tmp_path: Path) -> None:
    path, silent = tmp_path / "log.h5", [(np.zeros(0, dtype=np.uint32),) * 2]
    with SpikeLog(path, {"input": 3}, 0.001) as log:
        for number, segments in enumerate(([("N3", 0), ("REM", 4)], [], [("wake", 0), ("REM", 2), ("N3", 8)])):
            log.begin_epoch(f"night {number}", segments=segments)
            log.append(silent, 6)
            log.end_epoch()
    second = [Segment("wake", 12, 14, 2), Segment("REM", 14, 18, 2)]  # N3 was not reached
    with SpikeReader(path) as reader:
        assert reader.segments() == (Segment("N3", 0, 4, 0), Segment("REM", 4, 6, 0), *second)
        assert [reader.segments(epoch) for epoch in (1, -1)] == [(), tuple(second)]
        with pytest.raises(InputError, match="no epoch 3"):
            reader.segments(3)
    with SpikeLog.resume(path, 7) as log:
        log.end_epoch()
    with h5py.File(path) as file:
        assert file["segments"]["epoch"].tolist() == [1, 1]


@pytest.mark.parametrize("segments", [[("N3", 1)], [("N3", 0), ("REM", 0)], [("", 0)], [("a" * 65, 0)], [("a\0", 0)]])
def test_segments_that_cannot_be_are_refused(segments: Any, tmp_path: Path) -> None:
    with SpikeLog(tmp_path / "log.h5", {"input": 3}, 0.001) as log:
        with pytest.raises(InputError, match="segment"):
            log.begin_epoch("night", segments=segments)
        assert log.n_epochs == 0


@pytest.mark.parametrize("change", list(itertools.product(["start", "epoch", "name"], [0, 1])))
def test_damaged_segments_are_refused_or_left_out(change: tuple[str, int], tmp_path: Path) -> None:
    path, (field, row) = tmp_path / "log.h5", change
    with SpikeLog(path, {"input": 3}, 0.001) as log:
        log.begin_epoch("night", segments=[("N3", 0), ("REM", 4)])
        log.append([(np.zeros(0, dtype=np.uint32),) * 2], 6)
    with h5py.File(path, "r+") as file:
        table = file["segments"][()]
        table[field][row] = {"start": 9 if row == 0 else 0, "epoch": 7, "name": b"\xff"}[field]
        file["segments"][...] = table
    if (field, row) == ("epoch", 1):  # of an epoch that does not count
        with SpikeReader(path) as reader:
            assert reader.segments() == (Segment("N3", 0, 6, 0),)
    else:
        with pytest.raises(InputError, match=r"damaged.*(segments of epoch 0|name of a segment)"):
            SpikeReader(path)


def test_logs_without_the_table_are_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    with SpikeLog(path, {"input": 3}, 0.001) as log:
        log.begin_epoch("night")
        log.append([(np.zeros(0, dtype=np.uint32),) * 2], 6)
    with h5py.File(path, "r+") as file:
        del file["segments"]
    with SpikeReader(path) as reader:
        assert reader.segments() == ()
    with SpikeLog.resume(path, 6) as log:
        log.end_epoch()
        with pytest.raises(InputError, match="earlier version"):
            log.begin_epoch("another", segments=[("N3", 0)])
        log.begin_epoch("another")
