"""Rules of one's own in the reference: sums over pairs of recorded spikes, streams, nights that stop and go on."""

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosleep as ns
from neurosleep.sims.checkpoint import digest, simulate_resumable
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, Simulation, simulate
from neurosleep.sims.network import Kernels, Sharing, SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import AveragePool
from neurosleep.sims.rules.exponential import exp
from neurosleep.sims.rules.one_way import OnlyDepression, OnlyPotentiation
from neurosleep.sims.rules.per_layer import Plasticity

STEPS, DT = 40, 0.001


@dataclass(frozen=True)
class Nearest(ns.Rule):
    a_plus: float
    a_minus: float
    tau: float = 0.01

    traces = {  # noqa: RUF012
        "x": ns.Trace("pre", tau="tau", kind="nearest"),
        "y": ns.Trace("post", tau="tau", kind="nearest"),
    }

    def on_post(self, w: float, x: float) -> float:
        return w + self.a_plus * x

    def on_pre(self, w: float, y: float) -> float:
        return w - self.a_minus * y


@dataclass(frozen=True)
class Everything(ns.Rule):
    """Takes all that there is to take."""

    rate: float
    tau: float = 0.007

    traces = {"x": ns.Trace("pre", tau="tau"), "y": ns.Trace("post", tau=0.03, kind="nearest")}  # noqa: RUF012

    def on_post(self, w: float, modulator: float, y: float, x: float, fired: bool) -> float:
        return w + self.rate * (x * modulator - y * w) * exp(-abs(w)) if fired else w - self.rate * x

    def on_pre(self, w: float, fired: bool, y: float, x: float) -> float:
        return w if fired else w - self.rate * y * x * w


class Waves:
    def values(self, steps: np.ndarray) -> np.ndarray:
        return np.sin(steps / 7.0)


SHIPPED = [
    ns.SoftBounds(0.05, 0.02, -0.5, 0.8),
    ns.HardBounds(0.01, 0.01, -0.3, 0.5),
    ns.Oja(0.01, tau=0.02),
    ns.BCM(1e-4, target=20.0, tau=0.02, tau_theta=0.2),
    ns.PairSTDP(0.01, 0.012),
    ns.TripletSTDP(0.001, 0.01, 0.01, 0.002),
    ns.Neuromodulated(ns.PairSTDP(0.01, 0.012)),
    ns.Neuromodulated(ns.GatedHebbian(0.01, 0.005)),
]
RULES: list[Plasticity] = [
    *SHIPPED,
    Nearest(0.01, 0.02),
    Everything(0.02),
    ns.PerLayer((ns.PairSTDP(0.01, 0.01), ns.PairSTDP(0.02, 0.03, 0.1, 0.002))),
    ns.PerLayer((None, ns.Oja(0.02))),
    ns.PerLayer((ns.GatedHebbian(0.02, 0.01), ns.GatedHebbian(0.01, 0.02))),
]
ONE_STREAM = [ns.KeepSign(ns.PairSTDP(0.03, 0.04)), ns.KeepSign(ns.Neuromodulated(ns.Hebbian(0.02, 0.03)))]


def network(seed: int, precision: Any = np.float64) -> SpikingNetwork:
    rng = np.random.default_rng(seed)
    layers = [
        SpikingLayer(rng.normal(0.15, 0.3, (n, m)).astype(precision), gain=1.0, threshold=0.7, decay=0.9)
        for n, m in itertools.pairwise((9, 6, 4))
    ]
    return SpikingNetwork(tuple(layers), dt=DT)


def night(of: SpikingNetwork, rule: Plasticity, steps: int = STEPS, **how: Any) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    if takes_modulator(rule):
        how["modulator"] = Waves()
    done = simulate(of, ns.UniformNoise(150.0), rule, steps, backend="reference", log=recorder, **how)
    return done, recorder


def takes_modulator(rule: Plasticity) -> bool:
    return isinstance(rule, Everything | ns.Neuromodulated) or isinstance(
        getattr(rule, "rule", None), ns.Neuromodulated
    )


def trains(recorder: SpikeRecorder, population: int, size: int) -> list[np.ndarray]:
    raster = recorder.raster(population, size)
    return [np.flatnonzero(raster[:, neuron]) for neuron in range(size)]


def pair_sum(pre: np.ndarray, post: np.ndarray, rule: ns.PairSTDP) -> float:
    """By how much a weight changes, pair by pair; spikes of one step count as pre before post."""
    plus = sum(math.exp(-(t - s) * DT / rule.tau_plus) for t in post for s in pre if s <= t)
    minus = sum(math.exp(-(s - t) * DT / rule.tau_minus) for s in pre for t in post if t < s)
    return rule.a_plus * plus - rule.a_minus * minus


def nearest_sum(pre: np.ndarray, post: np.ndarray, rule: Nearest) -> float:
    plus = sum(math.exp(-(t - max(s for s in pre if s <= t)) * DT / rule.tau) for t in post if (pre <= t).any())
    minus = sum(math.exp(-(s - max(t for t in post if t < s)) * DT / rule.tau) for s in pre if (post < s).any())
    return rule.a_plus * plus - rule.a_minus * minus


def triplet_sum(pre: np.ndarray, post: np.ndarray, rule: ns.TripletSTDP) -> float:
    def left(time: int, spikes: np.ndarray, tau: float, now: bool) -> float:
        return sum(math.exp(-(time - s) * DT / tau) for s in spikes if s < time or (now and s == time))

    change = sum(
        left(t, pre, rule.tau_plus, True) * (rule.a2_plus + rule.a3_plus * left(t, post, rule.tau_y, False))
        for t in post
    )
    return change - sum(
        left(s, post, rule.tau_minus, False) * (rule.a2_minus + rule.a3_minus * left(s, pre, rule.tau_x, False))
        for s in pre
    )


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 2]))
@settings(max_examples=9)
def test_stdp_is_the_sum_over_pairs_of_spikes(seed: int, which: int) -> None:
    rule, change = [
        (ns.PairSTDP(0.01, 0.012, 0.005, 0.03), pair_sum),
        (ns.TripletSTDP(0.001, 0.01, 0.01, 0.002), triplet_sum),
        (Nearest(0.01, 0.02), nearest_sum),
    ][which]
    before = network(seed)
    done, recorder = night(before, rule, seed=seed)
    sizes = before.sizes
    for index, (old, new) in enumerate(zip(before.layers, done.network.layers, strict=True)):
        pre, post = trains(recorder, index, sizes[index]), trains(recorder, index + 1, sizes[index + 1])
        expected = [[change(s, t, rule) for t in post] for s in pre]
        np.testing.assert_allclose(new.weights - old.weights, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("delay", [1, 3])
def test_a_projection_learns_from_spikes_as_they_arrive(delay: int) -> None:
    rule = ns.PairSTDP(0.01, 0.012, 0.005, 0.03)
    weights = np.random.default_rng(9).normal(0, 0.1, (4, 6))
    down = ns.Projection("output", "hidden1", weights, delay=delay, plastic=True)
    of = replace(network(7), projections=(down,))
    done, recorder = night(of, rule)
    pre, post = trains(recorder, 2, 4), trains(recorder, 1, 6)
    expected = [[pair_sum(s[s + delay < STEPS] + delay, t, rule) for t in post] for s in pre]
    np.testing.assert_allclose(done.network.projections[0].weights - weights, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(expected).max() > 0
    first, _ = night(of, rule, 15)
    second, _ = night(first.network, rule, STEPS - 15, state=first.state)
    assert_same_state(done, second)


def assert_same_state(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    assert a.state.kept.keys() == b.state.kept.keys()
    for name, arrays in a.state.kept.items():
        for x, y in zip(arrays, b.state.kept[name], strict=True):
            np.testing.assert_array_equal(x, y)


@given(st.integers(0, 2**32), st.sampled_from([*RULES, *ONE_STREAM]), st.integers(1, 3), st.integers(0, STEPS))
@settings(max_examples=25)
def test_a_night_can_stop_and_go_on(seed: int, rule: Plasticity, streams: int, stop: int) -> None:
    streams = 1 if rule in ONE_STREAM else streams
    before = network(seed, [np.float32, np.float64][seed % 2])
    whole, _ = night(before, rule, seed=seed, streams=streams)
    first, _ = night(before, rule, stop, seed=seed, streams=streams)
    second, _ = night(first.network, rule, STEPS - stop, seed=seed, streams=streams, state=first.state)
    assert_same_state(whole, second)


def test_all_rules_change_something() -> None:
    before = network(1)
    for rule in [*RULES, *ONE_STREAM]:
        done, _ = night(before, rule)
        pairs = zip(before.layers, done.network.layers, strict=True)
        assert any((old.weights != new.weights).any() for old, new in pairs), rule


@given(st.integers(0, 2**32), st.sampled_from(RULES))
@settings(max_examples=15)
def test_streams_change_weights_by_their_mean(seed: int, rule: Plasticity) -> None:
    """One step from the same state: copies alone, then together; the first layer's input differs from copy to copy."""
    before = network(seed)
    both, _ = night(before, rule, 1, seed=seed, streams=2)
    one, spikes = night(before, rule, 1, seed=seed)
    if isinstance(rule, ns.PerLayer) or one.spike_counts[1].sum() == 0:
        return
    other = both.spike_counts[0] - one.spike_counts[0]
    assert both.spike_counts[0].sum() == spikes.raster(0, 9).sum() + other.sum()
    second = simulate(
        before,
        ns.RecordedSpikes(other[None].astype(bool)),
        rule,
        1,
        backend="reference",
        modulator=Waves() if takes_modulator(rule) else None,
    )
    old = before.layers[0].weights
    mean = (one.network.layers[0].weights - old) / 2 + (second.network.layers[0].weights - old) / 2
    np.testing.assert_allclose(both.network.layers[0].weights - old, mean, rtol=1e-9, atol=1e-14)


def test_wrapped_in_a_modulator_of_1_a_rule_is_as_it_was() -> None:
    class One:
        def values(self, steps: np.ndarray) -> np.ndarray:
            return np.ones(len(steps))

    rule = ns.PairSTDP(0.01, 0.012)
    alone, _ = night(network(3), rule)
    wrapped = simulate(
        network(3), ns.UniformNoise(150.0), ns.Neuromodulated(rule), STEPS, backend="reference", modulator=One()
    )
    for a, b in zip(alone.network.layers, wrapped.network.layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-12)


def test_no_weight_changes_its_sign() -> None:
    before = network(2, np.float32)
    done, _ = night(before, ns.KeepSign(ns.Hebbian(0.2, 0.3)), 400)
    stopped = 0
    for old, new in zip(before.layers, done.network.layers, strict=True):
        np.testing.assert_array_equal(np.signbit(old.weights), np.signbit(new.weights))
        stopped += (new.weights == 0).sum()
    assert stopped > 0
    with pytest.raises(ns.InputError, match="KeepSign is for one stream"):
        night(before, ns.KeepSign(ns.Hebbian(0.2, 0.3)), 4, streams=2)


def test_one_direction_can_be_blocked() -> None:
    before = network(2)
    for wrapper, sign in ((OnlyDepression, -1), (OnlyPotentiation, 1)):
        done, _ = night(before, wrapper(ns.PairSTDP(0.03, 0.04)))
        changes = [new.weights - old.weights for old, new in zip(before.layers, done.network.layers, strict=True)]
        assert all((sign * change >= 0).all() for change in changes)
        assert any(change.any() for change in changes)


@dataclass(frozen=True)
class Same(ns.GatedHebbian):
    """The gated rule through the general way of rules of one's own."""

    def on_post(self, w: float, fired: bool) -> float:
        g = 2 * (1 - 1 / (1 + exp(-w / self.gate_width)))
        return w + self.inc * g if fired else w - self.dec * g


@pytest.mark.parametrize("sharing", ["mean", "sum", "positions"])
def test_shared_weights_ask_each_synapse(sharing: Sharing) -> None:
    rng = np.random.default_rng(8)
    kernels = Kernels((2, 4, 4), padding=(1, 1), groups=2, pool=AveragePool((2, 2), (1, 1), (0, 0)))
    how: Any = {"kernels": kernels, "sharing": sharing, "gain": 40.0}
    first = SpikingLayer(rng.normal(0.01, 0.02, (4, 1, 3, 3)), **how)
    second = SpikingLayer(rng.normal(0.01, 0.02, (first.n_post, 3)), gain=20.0)
    of = SpikingNetwork((first, second))
    shipped, _ = night(of, ns.GatedHebbian(0.02, 0.01))
    own, _ = night(of, Same(0.02, 0.01))
    for old, a, b in zip(of.layers, shipped.network.layers, own.network.layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-9, atol=1e-13)
        assert (a.weights != old.weights).any()
    with pytest.raises(ns.InputError, match="PairSTDP has traces, which shared weights cannot follow"):
        night(of, ns.PairSTDP(0.1, 0.1))
    apart, _ = night(of, ns.PerLayer((None, ns.PairSTDP(0.01, 0.01))))
    np.testing.assert_array_equal(apart.network.layers[0].weights, first.weights)
    assert (apart.network.layers[1].weights != second.weights).any()


def test_hebbian_wrapped_is_hebbian() -> None:
    """To rounding."""
    shipped, _ = night(network(5), ns.GatedHebbian(0.02, 0.01), streams=2)
    own, _ = night(network(5), Same(0.02, 0.01), streams=2)
    for a, b in zip(shipped.network.layers, own.network.layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-10, atol=1e-14)


def test_rules_of_each_layer_are_as_if_alone() -> None:
    """What a layer learns depends on its own rule alone, as long as spikes are the same."""
    spikes = ns.RecordedSpikes(np.random.default_rng(0).random((STEPS + 1, 9)) < 0.2)
    one, two = ns.PairSTDP(1e-6, 1e-6), ns.PairSTDP(2e-6, 1e-6, 0.1, 0.05)

    def weights(rule: Plasticity) -> list[np.ndarray]:
        done = simulate(network(4), spikes, rule, STEPS, backend="reference")
        return [layer.weights for layer in done.network.layers]

    both, first, second = weights(ns.PerLayer((one, two))), weights(one), weights(two)
    np.testing.assert_array_equal(both[0], first[0])
    np.testing.assert_allclose(both[1], second[1], rtol=0, atol=1e-12)


def test_traces_go_through_a_checkpoint(tmp_path: Path) -> None:
    member = Member(network(6), ns.UniformNoise(150.0), Everything(0.02), streams=2, modulator=Waves())
    whole = simulate_resumable(member, STEPS, tmp_path / "whole.npz", backend="reference")
    again = simulate_resumable(member, STEPS, tmp_path / "whole.npz", backend="reference")
    assert_same_state(whole, again)
    assert whole.state.pre_traces is not None
    assert whole.state.pre_traces[0].shape == (1, 2, 9)
    with pytest.raises(ns.InputError, match="another night"):
        simulate_resumable(replace(member, modulator=None), STEPS, tmp_path / "whole.npz", backend="reference")


def test_the_digest_of_a_night_is_of_what_a_rule_does() -> None:
    def rule(factor: float) -> ns.Rule:
        @dataclass(frozen=True)
        class Same(ns.Rule):
            def on_post(self, w: float) -> float:
                return w * factor

        return Same()

    first, second = (digest(Member(network(1), ns.UniformNoise(9.0), rule(f)), 9) for f in (1.0, 2.0))
    assert first != second


def test_what_is_refused() -> None:
    of = network(1)
    for wrong, message in [(3, "plasticity must be a rule"), (ns.PerLayer((None, None, ns.Oja(0.1))), "3 rules, but")]:
        with pytest.raises(ns.InputError, match=message):
            night(of, wrong)
    for modulator, message in [(3, r"object with values\(steps\)"), (Waves, r"object with values\(steps\)")]:
        with pytest.raises(ns.InputError, match=message):
            simulate(of, ns.UniformNoise(9.0), Everything(0.1), 9, backend="reference", modulator=modulator)
    with pytest.raises(ns.InputError, match="modulator has no effect"):
        simulate(of, ns.UniformNoise(9.0), ns.Oja(0.1), 9, backend="reference", modulator=Waves())

    class Wrong:
        def __init__(self, said: object) -> None:
            self.said = said

        def values(self, steps: np.ndarray) -> object:
            return self.said(steps) if callable(self.said) else self.said

    for said, message in [
        (np.ones(1), r"9 finite numbers, one for each step, got shape \(1,\)"),
        ("much", "9 finite numbers, one for each step, got shape"),
        (np.where(np.arange(9) == 4, np.nan, 1.0), "got nan for step 4"),
        ([[1], [2, 3]], "failed: ValueError"),
        (lambda steps: 1 / 0, "failed: ZeroDivisionError"),
    ]:
        with pytest.raises(ns.InputError, match=message):
            simulate(of, ns.UniformNoise(9.0), Everything(0.1), 9, backend="reference", modulator=Wrong(said))
    done, _ = night(of, ns.Oja(0.1))
    with pytest.raises(ns.InputError, match="pre_traces of shapes"):
        night(of, ns.TripletSTDP(0.1, 0.1, 0.1), state=done.state)
    assert night(of, ns.Hebbian(0.1, 0.1), state=done.state)[0].state.pre_traces is None


@dataclass(frozen=True)
class Grows(ns.Rule):
    def on_post(self, w: float) -> float:
        return w / 0.0 if w > 0.4 else w * 1e300 * 1e300


def test_a_weight_stays_finite() -> None:
    with pytest.raises(ns.InputError, match=r"Grows\.on_post\(w=.*\) (fails|gives)"):
        night(network(1), Grows())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ns.SoftBounds(2.0, 0.1, 0.0, 1.0), "inc must be at least 0 and at most 1"),
        (lambda: ns.HardBounds(0.1, 0.1, 1.0, 1.0), "low must be below high"),
        (lambda: ns.BCM(0.1, 0.0), "target must be above 0"),
        (lambda: ns.PairSTDP(0.1, 0.1, tau_plus=0.0), "tau_plus must be a positive"),
        (lambda: ns.TripletSTDP(0.1, -0.1, 0.1), "a3_plus must be at least 0"),
        (lambda: ns.KeepSign(ns.PerLayer((ns.Oja(0.1),))), r"rule must be Rule\(...\)"),
    ],
)
def test_numbers_are_checked(make: Any, message: str) -> None:
    with pytest.raises(ns.InputError, match=message):
        make()
