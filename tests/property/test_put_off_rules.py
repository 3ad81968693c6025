"""Rules of one's own: whatever the fast engine puts off, its nights are the reference's, bit for bit."""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines import compiled_base, cpu
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.per_layer import PerLayer
from neurosleep.sims.rules.rule import Rule, Trace

STEPS, INPUTS = 150, 12


def on_grid(w: float) -> float:
    """The nearest multiple of 2**-10: sums of such weights are exact, in whatever order and precision."""
    return math.floor(w * 1024 + 0.5) / 1024


@dataclass(frozen=True)
class Bounded(Rule):
    """No traces."""

    inc: float
    dec: float

    def on_post(self, w: float, fired: bool) -> float:
        return on_grid(w + self.inc * (0.5 - w) if fired else w - self.dec * (w + 0.3))


@dataclass(frozen=True)
class Everything(Rule):
    """All that a rule can have."""

    up: float
    down: float
    tau: float
    traces: ClassVar[dict[str, Trace]] = {
        "x": Trace("pre", tau="tau"),
        "y": Trace("post", tau=0.02),
        "near": Trace("pre", tau=0.004, kind="nearest"),
        "late": Trace("post", tau=1.5, kind="nearest"),
    }

    def on_post(self, w: float, x: float, near: float, late: float, fired: bool, modulator: float) -> float:
        change = self.up * x * (1 + late) if fired else self.up * near - self.down
        return on_grid(w + modulator * change)

    def on_pre(self, w: float, y: float, x: float, fired: bool, modulator: float) -> float:
        return on_grid(w - self.down * (modulator if fired else 1.0) * y / (1.0 + x))


class Waves:
    """A modulator that is another one in every step."""

    def values(self, steps: np.ndarray) -> np.ndarray:
        return 1.0 + np.sin(steps / 7)


amounts = st.sampled_from([0.003, 0.02, 0.06])
rules = st.one_of(
    st.builds(Bounded, amounts, amounts), st.builds(Everything, amounts, amounts, st.sampled_from([0.002, 0.05]))
)


@st.composite
def nights(draw: st.DrawFn) -> tuple[SpikingNetwork, RecordedSpikes, Rule | PerLayer, object]:
    """Networks whose layers are silent, dense, or in between; input that stops for a while and comes back."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [INPUTS, *draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))]
    rule = draw(rules)
    dtype = np.float32 if isinstance(rule, Bounded) else np.float64
    layers = tuple(
        SpikingLayer(
            np.rint(rng.normal(0.1, 0.2, pair) * 1024).astype(dtype) / dtype(1024),
            threshold=draw(st.sampled_from([0.125, 1.0, 4.0, 64.0])),
            decay=0.5,
            bias=np.full(pair[1], 0.125, dtype=dtype) if draw(st.booleans()) and draw(st.booleans()) else None,
        )
        for pair in itertools.pairwise(sizes)
    )
    raster = rng.random((STEPS, INPUTS)) < draw(st.sampled_from([0.03, 0.2, 0.6]))
    raster[40:90] &= rng.random((50, INPUTS)) < draw(st.sampled_from([0.0, 0.05, 1.0]))
    if draw(st.booleans()):
        others = [None if rng.random() < 0.3 else type(rule)(*(1.5 * n for n in vars(rule).values())) for _ in layers]
        rule = PerLayer((rule, *others[1:]))
    modulated = isinstance(rule.rules[0] if isinstance(rule, PerLayer) else rule, Everything) and draw(st.booleans())
    return SpikingNetwork(layers), RecordedSpikes(raster), rule, Waves() if modulated else None


Night = tuple[SpikingNetwork, RecordedSpikes, Rule | PerLayer, object]


def slept(night: Night, **how: object) -> tuple[Simulation, SpikeRecorder]:
    network, drive, rule, modulator = night
    recorder = SpikeRecorder()
    return simulate(network, drive, rule, STEPS, log=recorder, modulator=modulator, **how), recorder


def assert_same(a: tuple[Simulation, SpikeRecorder], b: tuple[Simulation, SpikeRecorder]) -> None:
    for population in range(len(a[0].spike_counts)):
        np.testing.assert_array_equal(a[1].events(population), b[1].events(population))
    assert_same_end(a[0], b[0])


def assert_same_end(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for name in ("pre_traces", "post_traces", "pre_last", "post_last"):
        ours, others = getattr(a.state, name), getattr(b.state, name)
        assert (ours is None) == (others is None)
        for x, y in zip(ours or [], others or [], strict=True):
            np.testing.assert_array_equal(x, y)


@given(nights())
@settings(max_examples=25)
def test_cpu_equals_reference(night: Night) -> None:
    assert_same(slept(night), slept(night, backend="reference"))


@given(nights(), st.sampled_from([-1.0, 0.2]), st.integers(0, 60))
@settings(max_examples=25)
def test_all_forms_are_one(night: Night, share: float, room: int) -> None:
    """Dense, by list or at once, and with hardly any room in the list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_base, "DENSE_OWN", 2.0)
        whole = slept(night)
        patch.setattr(cpu, "LIST_ROOM", room)
        assert_same(whole, slept(night))
        patch.setattr(compiled_base, "DENSE_OWN", share)
        assert_same(whole, slept(night))


@given(nights(), st.integers(0, STEPS), st.sampled_from([1, 7, 1000]))
@settings(max_examples=25)
def test_a_night_can_stop_and_go_on(night: Night, stop: int, chunk: int) -> None:
    network, drive, rule, modulator = night
    first = simulate(network, drive, rule, stop, modulator=modulator)
    second = simulate(first.network, drive, rule, STEPS - stop, modulator=modulator, state=first.state, chunk=chunk)
    assert_same_end(slept(night)[0], second)


@pytest.mark.parametrize("dense", [2.0, -1.0])
def test_traces_outlast_the_fine_table(monkeypatch: pytest.MonkeyPatch, dense: float) -> None:
    """After more than 1,023 silent steps a trace is a product of two entries of its tables."""
    monkeypatch.setattr(compiled_base, "DENSE_OWN", dense)
    rng = np.random.default_rng(3)
    layers = tuple(
        SpikingLayer(np.rint(rng.normal(0.2, 0.2, pair) * 1024) / 1024, threshold=0.5, decay=0.5)
        for pair in ((INPUTS, 9), (9, 4))
    )
    raster = rng.random((1200, INPUTS)) < 0.4
    raster[20:1150] = False
    ends = []
    for backend in ("cpu", "reference"):
        ends.append(
            simulate(SpikingNetwork(layers), RecordedSpikes(raster), Everything(0.06, 0.06, 2.0), 1200, backend=backend)
        )
    assert all(counts.sum() > 50 for counts in ends[0].spike_counts)
    assert_same_end(*ends)
