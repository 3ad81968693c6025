"""Rules of one's own on the `cuda` backend: as on the reference backend, bit for bit."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.sims.ensemble import Member, Simulation, simulate_ensemble
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.exponential import exp
from neurosleep.sims.rules.per_layer import Plasticity
from neurosleep.sims.rules.rule import Wrapper

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

STEPS = 24


@dataclass(frozen=True)
class Grid(Wrapper):
    """Rounds weights to multiples of 2**-10, so that sums of them are the same in any order."""

    def change(self, w: float, new: float) -> float:
        return math.floor(new * 1024 + 0.5) / 1024


def bounded(w: float, step: float) -> float:
    w += step * (1 - w)
    w *= 1 - step**2
    return w


@dataclass(frozen=True)
class Everything(ns.Rule):
    """Takes all that there is to take, and calls functions."""

    rate: float
    tau: float = 0.007

    traces = {  # noqa: RUF012
        "x": ns.Trace("pre", tau="tau"),
        "y": ns.Trace("post", tau=0.03, kind="nearest"),
        "z": ns.Trace("post", tau=2e-4),
    }

    def on_post(self, w: float, modulator: float, y: float, x: float, fired: bool) -> float:
        return bounded(w, self.rate * (x * modulator - y * w) * exp(-abs(w))) if fired else w - self.rate * x

    def on_pre(self, w: float, fired: bool, y: float, z: float, x: float) -> float:
        return w if fired else w - self.rate * y * x + self.rate * z * w


@dataclass(frozen=True)
class Soft(ns.Rule):
    """Without traces."""

    inc: float
    dec: float

    def on_post(self, w: float, fired: bool) -> float:
        return w + self.inc * (1 - w) if fired else w - self.dec * w


class Waves:
    def values(self, steps: np.ndarray) -> np.ndarray:
        return np.sin(steps / 7.0)


RULES: list[Plasticity] = [
    Grid(Soft(0.05, 0.02)),
    Grid(Everything(0.3)),
    Grid(ns.Neuromodulated(ns.PairSTDP(0.1, 0.12))),
    ns.PerLayer((Grid(ns.TripletSTDP(0.01, 0.1, 0.1, 0.02)), Grid(ns.TripletSTDP(0.02, 0.1, 0.1, tau_plus=0.002)))),
    ns.PerLayer((None, ns.KeepSign(Grid(ns.PairSTDP(0.1, 0.2))))),
    ns.PerLayer((ns.Hebbian(2**-6, 2**-7), ns.Hebbian(2**-5, 2**-8))),
]


def network(seed: int, real: type = np.float64) -> SpikingNetwork:
    rng = np.random.default_rng(seed)
    return SpikingNetwork(
        tuple(
            SpikingLayer((rng.integers(-200, 400, shape) / 1024).astype(real), gain=2.0, decay=0.5, threshold=0.5)
            for shape in itertools.pairwise((9, 7, 4))
        )
    )


def member(rule: Plasticity, seed: int, real: type = np.float64, **more: object) -> Member:
    modulator = Waves() if "modulator" in repr(rule) or "Everything" in repr(rule) or "Neuro" in repr(rule) else None
    return Member(network(seed, real), ns.UniformNoise(250.0), rule, seed=seed, modulator=modulator, **more)  # type: ignore[arg-type]


def assert_same(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(a.state.membrane_potentials(a.network), b.state.membrane_potentials(b.network), strict=True):
        np.testing.assert_array_equal(v, w)
    for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(c, d)
    assert list(a.state.kept) == list(b.state.kept)
    for name, arrays in a.state.kept.items():
        for mine, other in zip(arrays, b.state.kept[name], strict=True):
            np.testing.assert_array_equal(mine, other, err_msg=name)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_equals_the_reference(rule: Plasticity, real: type) -> None:
    one = member(rule, 1, real)
    [result] = simulate_ensemble([one], STEPS, backend="cuda", chunk=7)
    [expected] = simulate_ensemble([one], STEPS, backend="reference")
    assert_same(result, expected)
    assert not np.array_equal(result.network.layers[1].weights, one.network.layers[1].weights)
    assert all(counts.sum() > 0 for counts in result.spike_counts)
