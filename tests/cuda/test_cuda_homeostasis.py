"""Homeostasis on the `cuda` backend: members with rules and intervals of their own, as on the CPU."""

from typing import Any

import numpy as np
import pytest

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import Member, simulate_ensemble
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.homeostasis.excitability import IntrinsicExcitability
from neurosleep.sims.homeostasis.scaling import IncomingNormalisation, SynapticScaling
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule
from neurosleep.sims.segments import TimedSegment

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")


def network(seed: int) -> SpikingNetwork:
    rng = np.random.default_rng(seed)
    layers = (rng.normal(0.01, 0.02, shape) for shape in ((12, 8), (8, 6)))
    return SpikingNetwork(tuple(SpikingLayer(w, gain=60.0) for w in layers))


@pytest.mark.parametrize("rule", [GatedHebbian(0.002, 0.0007), Hebbian(0.002, 0.0007)])
def test_homeostasis_and_spans_equal_the_cpu(rule: PlasticityRule) -> None:
    segments = (
        TimedSegment("N3", 7, UniformNoise(90.0), rule),
        TimedSegment("REM", 12, UniformNoise(200.0), None, 1.5, 0.75),
    )
    ways: list[dict[str, Any]] = [
        {"homeostasis": SynapticScaling(50.0), "homeostasis_every": 4, "segments": segments},
        {},
        {"homeostasis": [IncomingNormalisation()], "homeostasis_every": 5, "downscaling": MagnitudePruning(0.2)},
    ]
    if isinstance(rule, GatedHebbian):
        ways.append({"homeostasis": IntrinsicExcitability(30.0), "homeostasis_every": 3, "segments": segments})
    members = [Member(network(n), UniformNoise(90.0), rule, seed=n, **how) for n, how in enumerate(ways)]
    gpu, cpu = simulate_ensemble(members, 12, backend="cuda", chunk=5), simulate_ensemble(members, 12)
    for a, b in zip(gpu, cpu, strict=True):
        for x, y in zip(a.network.layers, b.network.layers, strict=True):
            np.testing.assert_array_equal(x.weights, y.weights)
        for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
            np.testing.assert_array_equal(c, d)
        np.testing.assert_array_equal(a.segment_spikes, b.segment_spikes)
    assert gpu[0].segment_spikes.sum(axis=1).all()
