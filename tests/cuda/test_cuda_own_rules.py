"""Rules of one's own on the `cuda` backend: as on the reference backend, bit for bit."""

import dis
import itertools
import math
from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosleep as ns
from neurosleep.sims.engines import cuda
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, Simulation, simulate_ensemble
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules import exponential
from neurosleep.sims.rules.exponential import exp
from neurosleep.sims.rules.per_layer import Plasticity
from neurosleep.sims.rules.rule import Wrapper

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

STEPS = 16


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


@pytest.mark.parametrize(("rule", "real"), [*((rule, np.float64) for rule in RULES), (RULES[1], np.float32)])
def test_equals_the_reference(rule: Plasticity, real: type) -> None:
    one = member(rule, 1, real)
    [result] = simulate_ensemble([one], STEPS, backend="cuda", chunk=7)
    [expected] = simulate_ensemble([one], STEPS, backend="reference")
    assert_same(result, expected)
    assert not np.array_equal(result.network.layers[1].weights, one.network.layers[1].weights)
    assert all(counts.sum() > 0 for counts in result.spike_counts)


def in_parts(one: Member, stops: list[int], backends: list[str]) -> Simulation:
    """Simulate the steps between two stops each on a backend of its own."""
    counts = [np.zeros(n, dtype=np.int64) for n in one.network.sizes]
    for (first, last), backend in zip(itertools.pairwise(stops), backends, strict=True):
        [part] = simulate_ensemble([one], last - first, backend=backend)  # type: ignore[arg-type]
        one = replace(one, network=part.network, state=part.state)
        counts = [a + b for a, b in zip(counts, part.spike_counts, strict=True)]
    return Simulation(one.network, part.state, stops[-1], counts)


@given(st.data())
@settings(max_examples=3)
def test_goes_on_where_the_reference_stopped(data: st.DataObject) -> None:
    one = member(data.draw(st.sampled_from(RULES)), data.draw(st.integers(0, 99)))
    stops = sorted({0, *data.draw(st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=3)), STEPS})
    first = data.draw(st.integers(0, 1))
    backends = [("reference", "cuda")[(first + k) % 2] for k in range(len(stops) - 1)]
    assert_same(in_parts(one, stops, backends), simulate_ensemble([one], STEPS, backend="reference")[0])


def test_goes_on_where_the_cpu_stopped() -> None:
    one = member(ns.PairSTDP(0.1, 0.12), 5)
    parts = in_parts(one, [0, 3, 7, 12, STEPS], ["cpu", "cuda", "cpu", "cuda"])
    assert_same(parts, simulate_ensemble([one], STEPS)[0])


def test_members_may_have_any_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as if alone, in groups of those whose rules do the same, or differ in numbers alone."""
    monkeypatch.setattr(cuda, "EVENTS_PER_POPULATION", 20)  # members stop at different steps, where their room is full
    rules = [Soft(0.05, 0.02), Everything(0.2), ns.GatedHebbian(0.02, 0.01), Everything(0.1), None, Soft(0.1, 0.01)]
    pruned = {0: 4, 1: 5, 2: 6}

    def members() -> list[Member]:
        return [
            replace(
                member(rule, seed),
                log=SpikeRecorder() if seed % 2 else None,
                downscaling=MagnitudePruning(0.2) if seed in pruned else None,
                downscale_every=pruned.get(seed),
            )
            for seed, rule in enumerate(rules)
        ]

    together, alone = members(), members()
    results = simulate_ensemble(together, 10, backend="cuda", chunk=4)
    for a, b, result in zip(together, alone, results, strict=True):
        assert_same(result, simulate_ensemble([b], 10, backend="cuda")[0])
        if isinstance(a.log, SpikeRecorder) and isinstance(b.log, SpikeRecorder):
            for population in range(3):
                np.testing.assert_array_equal(a.log.events(population), b.log.events(population))


def test_what_the_gpu_cannot_run_is_said_in_one_line() -> None:
    space: dict[str, object] = {}
    exec("def doubled(w):\n    return 2 * w", space)  # noqa: S102 - a function without a file
    doubled = space["doubled"]

    @dataclass(frozen=True)
    class Hidden(ns.Rule):
        def on_post(self, w: float) -> float:
            return doubled(w)  # type: ignore[operator, no-any-return]

    with pytest.raises(BackendError, match=r"^[^\n]*needs the source of doubled[^\n]*'cpu'$"):
        simulate_ensemble([member(Hidden(), 0)], 1, backend="cuda")


def test_weights_stay_finite() -> None:
    @dataclass(frozen=True)
    class Bursting(ns.Rule):
        def on_post(self, w: float, fired: bool) -> float:
            return math.inf if fired else w

    with pytest.raises(InputError, match=r"^[^\n]*Bursting[^\n]* makes a weight that is no finite number[^\n]*$"):
        simulate_ensemble([member(Bursting(), 1)], STEPS, backend="cuda")


def test_functions_are_written_with_products_that_are_rounded() -> None:
    from neurosleep.sims.cuda_kernels.own_code import translated

    def inner(x: float) -> float:
        """Text that
        stands further left than the code."""
        x *= 3
        return x**-2 * 2

    def outer(x: float, y: float) -> float:
        return inner(x) + exponential.exp(y) * y - 2**3

    made = translated(outer, "", {})
    assert made(0.3, 0.7) == outer(0.3, 0.7)
    for function in (made, made.__globals__["inner"], made.__globals__["exponential__exp"]):
        assert not {"*", "*=", "**"} & {step.argrepr for step in dis.get_instructions(function)}


def test_powers_are_multiplied_in_the_order_of_numba() -> None:
    from neurosleep.sims.cuda_kernels import arithmetic

    compiled = numba.njit(error_model="numpy")(lambda w: w**7 + w**-3)
    for w in np.random.default_rng(0).random(100):
        assert arithmetic.whole_power(w, 7) + arithmetic.whole_power(w, -3) == compiled(w)
