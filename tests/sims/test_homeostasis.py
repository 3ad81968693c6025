"""Homeostasis: each rule against its equation, the same on every engine, in any chunks, stopped or not; bad rules."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosleep.sims.checkpoint import digest, load, simulate_resumable
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, Simulation, simulate, simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.homeostasis.excitability import IntrinsicExcitability
from neurosleep.sims.homeostasis.rule import Values
from neurosleep.sims.homeostasis.scaling import IncomingNormalisation, SynapticScaling
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian

DRIVE, STEPS, EVERY = UniformNoise(120.0), 130, 30
HEBBIAN = Hebbian(2**-7, 2**-9)


@dataclass(frozen=True)
class Step:
    """Weights fall by a power of two where the rate is high and rise where it is low: sums stay exact."""

    target: float
    size: float = 2**-6

    def apply(self, weights: Values, rates: Values) -> Values:
        return weights + self.size * np.sign(self.target - rates)


def network(real: type = np.float64) -> SpikingNetwork:
    rng = np.random.default_rng(0)
    layers = [
        SpikingLayer((rng.integers(-100, 200, shape) / 1024).astype(real), threshold=0.5, decay=0.96875, name=name)
        for shape, name in (((20, 15), "first"), ((15, 4), "second"))
    ]
    return SpikingNetwork(tuple(layers))


def convolution() -> SpikingNetwork:
    rng = np.random.default_rng(1)
    kernels = SpikingLayer(
        rng.normal(0.1, 0.2, (3, 1, 2, 2)), threshold=0.3, kernels=Kernels((1, 4, 4)), name="kernels"
    )
    return SpikingNetwork((kernels, SpikingLayer(rng.normal(0.05, 0.1, (27, 4)), threshold=0.3, name="out")))


def night(net: SpikingNetwork, rule: Any = HEBBIAN, steps: int = STEPS, **how: Any) -> Simulation:
    how = {"seed": 3, "homeostasis_every": EVERY} | how
    return simulate(net, DRIVE, rule, steps, **how)


def assert_same(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        assert x.weights.tobytes() == y.weights.tobytes()
    for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(c, d)
    assert a.state.homeostat is not None
    assert b.state.homeostat is not None
    assert a.state.homeostat.step == b.state.homeostat.step
    for p, q in zip(a.state.homeostat.counts, b.state.homeostat.counts, strict=True):
        np.testing.assert_array_equal(p, q)
    for v, w in zip(a.state.excitability or [], b.state.excitability or [], strict=True):
        np.testing.assert_array_equal(v, w)


def test_scaling_follows_its_equation() -> None:
    weights = np.array([[0.2, 0.2, 0.2], [-0.1, -0.1, 0.0]])
    rates = np.array([0.0, 5.0, 50.0])  # silent, at the target, far above it
    scaled = SynapticScaling(5.0, 0.1).apply(weights, rates)
    np.testing.assert_allclose(scaled, [[0.22, 0.2, 0.18], [-0.1, -0.1, 0.0]])
    both = SynapticScaling(5.0, 0.1, inhibitory=True).apply(weights, rates)
    np.testing.assert_allclose(both[1], [-0.1 / 1.1, -0.1, 0.0])


@pytest.mark.parametrize("of", ["sum", "norm"])
@pytest.mark.parametrize("total", [None, 2.5])
def test_normalisation_keeps_sum_or_norm(of: Any, total: float | None) -> None:
    net = network()
    after = night(net, homeostasis=IncomingNormalisation(total, of), steps=2 * EVERY).network
    size: Callable[[Values], Values] = {
        "sum": lambda w: np.abs(w).sum(axis=0),
        "norm": lambda w: np.sqrt((w**2).sum(axis=0)),
    }[of]
    for old, new in zip(net.layers, after.layers, strict=True):
        assert (old.weights != new.weights).any()
        np.testing.assert_allclose(size(new.weights), size(old.weights) if total is None else total, rtol=1e-12)
    silent = np.zeros((3, 2))
    np.testing.assert_array_equal(IncomingNormalisation(1.0).apply(silent, np.zeros(2), np.ones(2)), silent)


def test_excitability_follows_its_equation_and_moves_rates() -> None:
    rule = IntrinsicExcitability(10.0, 0.1, 0.15)
    current, rates = np.array([0.0, 0.1, -0.1, 0.0]), np.array([0.0, 30.0, 0.0, 10.0])
    np.testing.assert_allclose(rule.excitability(current, rates), [-0.1, 0.15, -0.15, 0.0])
    off = night(network(), None, 400, backend="reference")
    on = night(network(), None, 400, backend="reference", homeostasis=IntrinsicExcitability(150.0, 0.1))
    target = 150.0 * 0.4  # spikes of each neuron
    far, near = (np.abs(s.spike_counts[1] - target).mean() for s in (off, on))
    assert near < 0.7 * far
    for a, b in zip(network().layers, on.network.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)


@pytest.mark.parametrize("rule", [None, HEBBIAN])
@pytest.mark.parametrize("streams", [1, 4])
def test_engines_agree_in_any_chunks(rule: Any, streams: int) -> None:
    how: dict[str, Any] = {"homeostasis": [Step(40.0), Step(10.0, 2**-8)], "streams": streams}
    slow = night(network(), rule, backend="reference", **how)
    assert max(abs(a.weights - b.weights).max() for a, b in zip(slow.network.layers, network().layers, strict=True)) > 0
    assert_same(night(network(), rule, **how), slow)
    assert_same(night(network(), rule, chunk=7, log=SpikeRecorder(), **how), slow)


@pytest.mark.parametrize("streams", [1, 3])
def test_excitability_agrees_in_any_chunks(streams: int) -> None:
    how: dict[str, Any] = {"homeostasis": [IntrinsicExcitability(150.0, 0.1), Step(40.0)], "streams": streams}
    slow = night(network(), None, backend="reference", **how)
    assert slow.state.excitability is not None
    assert all((e != 0).any() for e in slow.state.excitability)
    assert_same(night(network(), None, **how), slow)
    assert_same(night(network(), None, chunk=7, log=SpikeRecorder(), **how), slow)


@pytest.mark.parametrize("rule", [HEBBIAN, GatedHebbian(0.01, 0.002)])
def test_shipped_rules_on_both_engines(rule: Any) -> None:
    """Weights that are no powers of two: equal but for rounding."""
    for homeostasis in (SynapticScaling(20.0), IncomingNormalisation()):
        slow, fast = (night(network(), rule, backend=b, homeostasis=homeostasis) for b in ("reference", "cpu"))
        for a, b in zip(slow.network.layers, fast.network.layers, strict=True):
            np.testing.assert_allclose(a.weights, b.weights, rtol=1e-12, atol=1e-14)


def test_kernels_are_regulated_by_the_mean_rate_of_their_channel() -> None:
    seen: list[tuple[Values, Values]] = []

    class Look:
        def apply(self, weights: Values, rates: Values) -> Values:
            seen.append((weights.copy(), rates.copy()))
            return 0.5 * weights

    net = convolution()
    slow = night(net, None, EVERY, backend="reference", homeostasis=Look())
    (weights, rates), _ = seen
    np.testing.assert_array_equal(weights, net.layers[0].weights.reshape(3, 4).T)
    counts = night(net, None, EVERY).spike_counts[1]
    np.testing.assert_allclose(rates, counts.reshape(3, 9).mean(axis=1) / (EVERY * net.dt))
    np.testing.assert_array_equal(slow.network.layers[0].weights, 0.5 * net.layers[0].weights)
    assert_same(night(net, None, EVERY, homeostasis=Look()), slow)
    frozen = replace(net, layers=(replace(net.layers[0], plastic=False), net.layers[1]))
    kept = night(frozen, None, EVERY, homeostasis=Look()).network.layers
    np.testing.assert_array_equal(kept[0].weights, net.layers[0].weights)
    np.testing.assert_array_equal(kept[1].weights, 0.5 * net.layers[1].weights)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("cut", [1, EVERY, EVERY + 17])
def test_goes_on_from_any_state(backend: Any, cut: int) -> None:
    how: dict[str, Any] = {"backend": backend, "homeostasis": [Step(40.0), IncomingNormalisation()]}
    whole = night(network(), **how)
    first = night(network(), steps=cut, **how)
    second = night(first.network, steps=STEPS - cut, state=first.state, **how)
    counts = [a + b for a, b in zip(first.spike_counts, second.spike_counts, strict=True)]
    assert_same(replace(second, spike_counts=counts), whole)


@pytest.mark.parametrize("homeostasis", [(Step(40.0), IncomingNormalisation()), (IntrinsicExcitability(20.0),)])
def test_checkpoints_have_what_homeostasis_remembers(
    homeostasis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neurosleep.sims.checkpoint.FIRST_PIECE", 17)
    member = Member(network(), DRIVE, HEBBIAN, seed=3, homeostasis=homeostasis, homeostasis_every=EVERY)
    [whole] = simulate_ensemble([member], STEPS, backend="reference")
    path = tmp_path / "night.npz"

    def stop(_: int) -> None:
        if path.exists() and load(path, network(), STEPS).state.step > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_resumable(member, STEPS, path, backend="reference", seconds=0, on_progress=stop)
    saved = load(path, network(), STEPS)
    assert 0 < saved.state.step < STEPS
    assert saved.state.homeostat is not None
    assert_same(simulate_resumable(member, STEPS, path, backend="reference", seconds=0), whole)
    assert digest(member, STEPS) != digest(replace(member, homeostasis_every=EVERY + 1), STEPS)
    assert digest(member, STEPS) != digest(replace(member, homeostasis=None), STEPS)


def test_another_code_of_an_own_rule_is_another_night(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(network(), DRIVE, HEBBIAN, homeostasis=Step(50.0), homeostasis_every=EVERY)
    before = digest(member, STEPS)
    assert digest(member, STEPS) == before
    monkeypatch.setattr(Step, "apply", lambda self, weights, rates: weights - rates)
    assert digest(member, STEPS) != before


def test_downscaling_rules_are_homeostasis_too() -> None:
    as_field = night(network(), downscaling=MagnitudePruning(0.3), downscale_every=EVERY)
    as_rule = night(network(), homeostasis=MagnitudePruning(0.3))
    for a, b in zip(as_field.network.layers, as_rule.network.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)


class Wrong:
    """A rule of one's own that returns what it is given to return."""

    def __init__(self, made: Callable[[Values], Any]) -> None:
        self._made = made

    def apply(self, weights: Values, rates: Values) -> Any:
        return self._made(weights)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda w: w * np.nan, r"gives 300 values that are not finite"),
        (lambda w: w[:, 1:], r"must return float64 of shape \(20, 15\), got float64 of shape \(20, 14\)"),
        (lambda w: w.astype(np.float32), r"must return float64 of shape \(20, 15\), got float32 of shape"),
        (lambda w: None, r"must return float64 of shape \(20, 15\), got NoneType"),
        (lambda w: w @ w, r"failed: ValueError: matmul"),
        (lambda w: w * 1e300, r"gives 300 values that are not finite"),
    ],
)
def test_a_wrong_rule_is_told_by_rule_layer_and_step(made: Callable[[Values], Any], said: str) -> None:
    net = network(np.float32)
    with pytest.raises(InputError, match=f"homeostasis Wrong, layer first, step {EVERY}: apply.*{said}") as told:
        night(net, homeostasis=Wrong(made))
    assert "\n" not in str(told.value)


def test_thresholds_must_stay_positive() -> None:
    class TooLow:
        def excitability(self, current: Values, rates: Values) -> Values:
            return current - 1

    with pytest.raises(InputError, match=r"TooLow, layer first, step 30: excitability must be above -1, got -1\.0"):
        night(network(), homeostasis=TooLow(), backend="reference")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"homeostasis": SynapticScaling}, "homeostasis must be a rule with a method apply"),
        ({"homeostasis": 3.0}, "homeostasis must be a rule with a method apply"),
        ({"homeostasis": SynapticScaling(3.0), "homeostasis_every": 0}, "homeostasis_every must be at least 1"),
        ({"homeostasis": MagnitudePruning(0.1, ("a",))}, "plastic= says which layers"),
    ],
)
def test_what_is_no_homeostasis_is_refused(how: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        night(network(), **how)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SynapticScaling(0.0), "target must be a positive"),
        (lambda: SynapticScaling(3.0, 1.0), "share must be above 0 and below 1"),
        (lambda: IncomingNormalisation(-1.0), "total must be a positive"),
        (lambda: IncomingNormalisation(of="max"), "no of 'max'"),  # type: ignore[arg-type]
        (lambda: IntrinsicExcitability(3.0, bound=1.0), "bound must be above 0 and below 1"),
    ],
)
def test_parameters_are_checked(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
