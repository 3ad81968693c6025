"""Downscaling on the `cuda` backend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import Member, simulate_ensemble
from neurosleep.sims.homeostasis.downscaling import DownscalingRule, GradedDownscaling, MagnitudePruning
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")


def network(seed: int, real: type, n_post: int) -> SpikingNetwork:
    """Weights of few sizes, so that many are equal; zeros of both signs."""
    rng = np.random.default_rng(seed)
    first = rng.integers(-4, 5, (12, n_post)).astype(real) * real(0.01)
    second = rng.normal(0, 0.02, (n_post, 6)).astype(real)
    first[first == 0] *= rng.choice([-1, 1], (first == 0).sum())
    return SpikingNetwork((SpikingLayer(first, gain=50.0), SpikingLayer(second, gain=80.0)))


@given(
    st.integers(0, 99),
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
@settings(max_examples=8)
def test_pruning_equals_its_specification(seed: int, real: type, n_post: int, fraction: float) -> None:
    sleeping, rule = network(seed, real, n_post), MagnitudePruning(fraction)
    [result] = simulate_ensemble([Member(sleeping, UniformNoise(50.0), None, downscaling=rule)], 1, backend="cuda")
    for layer, before in zip(result.network.layers, sleeping.layers, strict=True):
        np.testing.assert_array_equal(layer.weights, rule.apply(before.weights))


@pytest.mark.parametrize("rule", [GatedHebbian(0.002, 0.0007), Hebbian(0.002, 0.0007)])
def test_downscaling_during_a_night_equals_the_cpu(rule: PlasticityRule) -> None:
    """Members that downscale at different times and by different rules, after changes that were put off."""
    ways: list[tuple[DownscalingRule | None, int | None]] = [
        (MagnitudePruning(0.3), 4),
        (None, None),
        (GradedDownscaling(0.3, 2.0, 0.1), 3),
        (GradedDownscaling(spared=0.0), None),
    ]
    members = [
        Member(network(n, np.float64, 8), UniformNoise(90.0), rule, seed=n, downscaling=how, downscale_every=every)
        for n, (how, every) in enumerate(ways)
    ]
    results = simulate_ensemble(members, 12, backend="cuda", chunk=5)
    for (how, _), a, b in zip(ways, results, simulate_ensemble(members, 12), strict=True):
        rounding = 1e-15 if isinstance(how, GradedDownscaling) else 0.0  # of powers, see `GradedDownscaling`
        for x, y in zip(a.network.layers, b.network.layers, strict=True):
            np.testing.assert_allclose(x.weights, y.weights, rtol=rounding, atol=rounding)
        for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
            np.testing.assert_array_equal(c, d)
