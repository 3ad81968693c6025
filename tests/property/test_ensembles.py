"""Members of an ensemble sleep as if alone."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.rates import MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, Simulation, simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian

STEPS = 90


@st.composite
def members(draw: st.DrawFn) -> Member:
    """Networks that differ in everything: sizes, parameters, drive, rule, seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [12, *draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))]
    layers = [
        SpikingLayer(
            rng.normal(0.01, 0.02, shape), gain=float(rng.uniform(20, 90)), threshold=float(rng.uniform(0.5, 2))
        )
        for shape in itertools.pairwise(sizes)
    ]
    return Member(
        SpikingNetwork(tuple(layers)),
        draw(st.sampled_from([MeanRate(900.0), UniformNoise(90.0), RecordedSpikes(rng.random((STEPS + 9, 12)) < 0.3)])),
        draw(st.sampled_from([None, Hebbian(0.003, 0.001), GatedHebbian(0.003, 0.001)])),
        mean_input=rng.random(12),
        seed=draw(st.integers(0, 2**64 - 1)),
        downscaling=draw(st.sampled_from([None, MagnitudePruning(0.3), GradedDownscaling()])),
    )


def assert_identical(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(a.state.membranes, b.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for m, n in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(m, n)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(st.lists(members(), min_size=1, max_size=5), st.integers(1, 4), st.sampled_from([1, 7, 1000]))
@settings(max_examples=25)
def test_members_sleep_as_if_alone(backend: str, ensemble: list[Member], threads: int, chunk: int) -> None:
    together = simulate_ensemble(ensemble, STEPS, backend=backend, threads=threads, chunk=chunk)
    for member, result in zip(ensemble, together, strict=True):
        assert_identical(result, simulate_ensemble([member], STEPS, backend=backend)[0])


def member(seed: int = 0, **how: object) -> Member:
    rng = np.random.default_rng(7)
    network = SpikingNetwork((SpikingLayer(rng.normal(0.05, 0.02, (12, 8)), gain=5.0),))
    arguments = {"drive": UniformNoise(200.0), "plasticity": Hebbian(0.003, 0.001), "seed": seed}
    return Member(network, **{**arguments, **how})


def test_each_member_has_its_own_log() -> None:
    recorders = [SpikeRecorder() for _ in range(4)]
    simulate_ensemble([member(seed, log=log) for seed, log in enumerate(recorders)], 300, threads=3, chunk=11)
    for seed, log in enumerate(recorders):
        alone = SpikeRecorder()
        simulate_ensemble([member(seed, log=alone)], 300)
        assert log.steps == 300
        for population in range(2):
            np.testing.assert_array_equal(log.events(population), alone.events(population))
    assert not np.array_equal(recorders[0].events(1), recorders[1].events(1))


def test_progress_adds_up_over_members() -> None:
    done: list[int] = []
    lock = threading.Lock()

    def on_progress(steps: int) -> None:
        with lock:
            done.append(steps)

    simulate_ensemble([member(seed) for seed in range(5)], 250, chunk=100, threads=2, on_progress=on_progress)
    assert sorted(done) == [50] * 5 + [100] * 10


def test_one_bad_member_is_named_and_nothing_starts() -> None:
    done: list[int] = []
    with pytest.raises(InputError, match="member 1 of the ensemble: this drive needs the mean input"):
        simulate_ensemble([member(), member(drive=MeanRate(9.0))], 10, on_progress=done.append)
    assert done == []


class Full(SpikeRecorder):
    def append(self, events: object, stop: int) -> None:
        raise OSError(28, "No space left on device")


def test_a_failing_log_stops_the_others() -> None:
    done: list[int] = []
    with pytest.raises(OSError, match="No space left"):
        simulate_ensemble(
            [member(log=Full()), *(member(seed) for seed in range(3))], 2_000_000, threads=2, on_progress=done.append
        )
    assert sum(done) < 4_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": []}, "at least one member"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"members": [member(downscale_every=5)]}, "downscale_every must be at least 1 and needs a downscaling rule"),
        ({"members": [member(downscale_every=0, downscaling=MagnitudePruning(0.1))]}, "downscale_every must be"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate_ensemble(**{"members": [member()], "steps": 5, **arguments})


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_downscaling_at_the_begin_and_every_k_steps(backend: str) -> None:
    """Without plasticity the weights are those downscaled as often as steps allow, by the rule itself."""
    rule, start = MagnitudePruning(0.25), member().network.layers[0].weights
    for steps, every, times in ((100, None, 1), (100, 30, 3), (90, 30, 3), (29, 30, 0), (100, 1, 100)):
        case = member(plasticity=None, downscaling=GradedDownscaling(), downscale_every=every)
        after = simulate_ensemble([case], steps, backend=backend)[0].network.layers[0].weights
        expected = start
        for _ in range(times):
            expected = case.downscaling.apply(expected)
        np.testing.assert_allclose(after, expected, rtol=1e-14)
        case = member(plasticity=None, downscaling=rule, downscale_every=every)
        after = simulate_ensemble([case], steps, backend=backend)[0].network.layers[0].weights
        assert np.count_nonzero(after == 0) == (24 if times else 0)


@pytest.mark.parametrize("rule", [Hebbian(0.003, 0.001), GatedHebbian(0.003, 0.001)])
@given(st.integers(0, 120), st.sampled_from([1, 7, 1000]))
@settings(max_examples=20)
def test_downscaling_acts_on_weights_as_they_are(rule: object, stop: int, chunk: int) -> None:
    """Between plasticity, stopped or not, in any chunks; and as the reference has it."""
    how = {"plasticity": rule, "downscaling": MagnitudePruning(0.4), "downscale_every": 40}
    whole = simulate_ensemble([member(**how)], 120)[0]
    first = simulate_ensemble([member(**how)], stop, chunk=chunk)[0]
    rest = member(**how, state=first.state)
    again = Member(first.network, rest.drive, rule, state=first.state, **{k: how[k] for k in list(how)[1:]})
    second = simulate_ensemble([again], 120 - stop, chunk=chunk)[0]
    np.testing.assert_array_equal(whole.network.layers[0].weights, second.network.layers[0].weights)
    slow = simulate_ensemble([member(**how)], 120, backend="reference")[0]
    np.testing.assert_allclose(whole.network.layers[0].weights, slow.network.layers[0].weights, rtol=0, atol=1e-12)
    assert np.count_nonzero(whole.network.layers[0].weights == 0) >= 30


def test_the_caller_keeps_its_weights() -> None:
    case = member(downscaling=MagnitudePruning(0.5), downscale_every=3)
    before = case.network.layers[0].weights.copy()
    simulate_ensemble([case], 50)
    np.testing.assert_array_equal(case.network.layers[0].weights, before)
