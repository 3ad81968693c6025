"""Neurons and projections against answers found by hand, on both backends that have them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosleep.sims.checkpoint import digest, load, simulate_resumable
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, simulate
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import HALVES_DEVIATION, Adaptation, Neurons, NeuronsByPopulation, threshold_noise
from neurosleep.sims.projections import Projection, RandomWeights, StoredWeights
from neurosleep.sims.rules.hebbian import Hebbian
from neurosleep.sims.state import SimulationState

BACKENDS = pytest.mark.parametrize("backend", ["cpu", "reference"])


def chain(*weights: Any, neurons: Any = Neurons(), projections: Any = (), **layer: Any) -> SpikingNetwork:  # noqa: B008
    """Return layers without leak of these weights."""
    how = {"decay": 1.0, **layer}
    layers = tuple(SpikingLayer(np.array(w, dtype=np.float64), **how) for w in weights)
    return SpikingNetwork(layers, neurons=neurons, projections=projections)


def output(network: SpikingNetwork, raster: Any, backend: str, rule: Any = None, **how: Any) -> Any:
    """Return the output's raster, and the simulation, for an input of these spikes."""
    recorder = SpikeRecorder()
    spikes = np.array(raster, dtype=bool)
    done = simulate(network, RecordedSpikes(spikes), rule, len(spikes), log=recorder, backend=backend, **how)
    return recorder.raster(len(network.sizes) - 1, network.sizes[-1]), done


@BACKENDS
def test_a_refractory_neuron_fires_every_r_steps_and_one(backend: str) -> None:
    network = chain([[1.0]], neurons=Neurons(refractory=3))
    fired, done = output(network, np.ones((12, 1)), backend)
    assert np.flatnonzero(fired[:, 0]).tolist() == [0, 4, 8]
    assert done.state.waiting is not None
    assert done.state.waiting[0].tolist() == [0]
    # what comes in while it waits is lost: 0.5 a step fires in the second step that is taken in, not sooner
    slow, done = output(chain([[0.5]], neurons=Neurons(refractory=3)), np.ones((12, 1)), backend)
    assert np.flatnonzero(slow[:, 0]).tolist() == [1, 6, 11]
    assert done.state.waiting[0].tolist() == [3]


@BACKENDS
def test_subtraction_keeps_what_is_above_threshold(backend: str) -> None:
    """0.75 a step: 3 spikes in 4 steps by subtraction, 1 in 2 by reset to 0."""
    for reset, expected in (("zero", 6), ("subtract", 9)):
        fired, _ = output(chain([[0.75]], neurons=Neurons(reset=reset)), np.ones((12, 1)), backend)  # type: ignore[arg-type]
        assert fired.sum() == expected


@BACKENDS
def test_adaptation_thins_spikes_out(backend: str) -> None:
    """Steady state by hand: just after a spike the threshold has risen by a, with a = a * left**n + jump."""
    tau, jump = 0.05, 0.4
    network = chain([[0.25]], neurons=Neurons(adaptation=Adaptation(jump, tau)))
    fired, done = output(network, np.ones((600, 1)), backend)
    when = np.flatnonzero(fired[:, 0])
    assert when[0] == 3
    intervals = np.diff(when)
    assert intervals[0] < intervals[-1]
    left, n = np.exp(-0.001 / tau), intervals[-1]
    assert (intervals[-5:] == n).all()
    rise = jump / (1 - left**n)
    assert n * 0.25 >= 1 + rise * left**n > (n - 1) * 0.25 - 0.02  # the first step at which it is reached
    since = 600 - 1 - when[-1]
    assert done.state.adaptation is not None
    assert done.state.adaptation[0][0] == pytest.approx(rise * left**since, rel=1e-3)
    plain, _ = output(chain([[0.25]]), np.ones((600, 1)), backend)
    assert plain.sum() == 150 > fired.sum()


@BACKENDS
def test_threshold_noise_has_the_deviation_that_is_asked_for(backend: str) -> None:
    """A membrane held half a deviation below threshold fires as often as the noise goes below that."""
    network = SpikingNetwork(
        (SpikingLayer(np.full((1, 400), 0.9), decay=2.0**-60),), neurons=Neurons(threshold_noise=0.2)
    )
    _, done = output(network, np.ones((200, 1)), backend)
    z = np.concatenate([threshold_noise(0, 1, step, 400) for step in range(200)]) / HALVES_DEVIATION
    assert done.spike_counts[1].sum() == np.count_nonzero(1 + 0.2 * z <= 0.9)
    assert z.mean() == pytest.approx(0, abs=0.01)
    assert z.std() == pytest.approx(1, abs=0.01)
    assert abs(z).max() < 3.47
    assert np.mean(z <= -0.5) == pytest.approx(0.309, abs=0.01)


@BACKENDS
def test_noise_differs_between_populations_copies_and_steps_but_not_backends(backend: str) -> None:
    network = chain([[0.0] * 60], [[0.0] * 60] * 60, neurons=Neurons(threshold_noise=1.0))
    recorder = SpikeRecorder()
    simulate(network, UniformNoise(1.0), None, 20, log=recorder, backend=backend, seed=7)
    first, second = recorder.raster(1, 60), recorder.raster(2, 60)
    assert 0.05 < first.mean() < 0.3  # minus one deviation or less: 16 %
    assert (first != second).any()
    assert (first[0] != first[1]).any()


@BACKENDS
@pytest.mark.parametrize("delay", [1, 2, 5])
def test_a_delay_shifts_spikes_by_so_many_steps(backend: str, delay: int) -> None:
    raster = np.random.default_rng(0).random((30, 3)) < 0.4
    past = Projection("input", "output", np.eye(3), delay=delay)
    fired, done = output(chain(np.zeros((3, 3)), projections=[past]), raster, backend)
    np.testing.assert_array_equal(fired[delay:], raster[:-delay])
    assert not fired[:delay].any()
    assert done.state.recent is not None
    np.testing.assert_array_equal(done.state.recent[0], raster[: -delay - 1 : -1])


@BACKENDS
def test_a_lateral_matrix_lets_one_win(backend: str) -> None:
    """The neuron with the strongest input fires first, and takes from the others what they have."""
    lateral = Projection("output", "output", RandomWeights(mean=-2.0))
    weights = [[0.55, 0.4, 0.45]]
    fired, _ = output(chain(weights, projections=[lateral]), np.ones((40, 1)), backend)
    assert (fired[:, 0].sum(), fired[:, 1].sum(), fired[:, 2].sum()) == (20, 0, 0)
    alone, _ = output(chain(weights), np.ones((40, 1)), backend)
    assert (alone.sum(axis=0) > 0).all()


@BACKENDS
def test_the_mean_field_takes_a_share_of_all(backend: str) -> None:
    """One of two neurons fires in step 0: each has 0.8 * 1/2 less in step 1."""
    network = chain([[1.0, 0.75]], neurons=Neurons(lateral=0.8))
    _, done = output(network, np.ones((2, 1)), backend)
    np.testing.assert_allclose(done.state.membranes[0], [1.0 - 0.4, 0.0])
    assert [counts.tolist() for counts in done.spike_counts] == [[2], [1, 1]]


@BACKENDS
def test_plastic_projections_learn_from_spikes_as_they_arrive(backend: str) -> None:
    """Input 0 fires in step 0 and arrives in step 2, when the output fires: up; input 1 fires in step 2: down."""
    past = Projection("input", "output", np.zeros((2, 1)), delay=2, plastic=True)
    raster = [[1, 0], [0, 0], [0, 1]]
    network = chain([[0.0], [1.0]], projections=[past])
    _, done = output(network, raster, backend, Hebbian(0.25, 0.125))
    assert done.network.projections[0].weights.tolist() == [[0.25], [-0.125]]
    assert done.network.layers[0].weights.tolist() == [[-0.125], [1.25]]
    assert past.weights.tolist() == [[0.0], [0.0]]
    fixed = chain([[0.0], [1.0]], projections=[Projection("input", "output", np.zeros((2, 1)), delay=2)])
    assert not output(fixed, raster, backend, Hebbian(0.25, 0.125))[1].network.projections[0].weights.any()


@BACKENDS
def test_excitability_lowers_and_raises_thresholds(backend: str) -> None:
    network = chain([[0.75, 0.75, 0.75]])
    state = SimulationState.asleep(network)
    state.excitability = [np.array([0.0, -0.25, 0.5])]
    _, done = output(network, np.ones((2, 1)), backend, state=state)
    assert done.spike_counts[1].tolist() == [1, 2, 1]
    assert done.state.excitability is not None
    assert done.state.excitability[0].tolist() == [0.0, -0.25, 0.5]


@BACKENDS
def test_a_saved_night_goes_on_with_all_that_is_kept(backend: Any, tmp_path: Path) -> None:
    network = chain(
        np.full((4, 6), 0.25),
        np.full((6, 2), 0.25),
        neurons={"hidden1": Neurons(2, Adaptation(0.25, 0.01))},
        projections=[Projection("output", "hidden1", RandomWeights(0.25, 0.0), delay=9, plastic=True)],
    )
    member = Member(network, UniformNoise(200.0), Hebbian(2.0**-8, 2.0**-9))
    path = tmp_path / "night"
    whole = simulate(*[network, member.drive, member.plasticity], 1200, backend=backend)
    resumed = simulate_resumable(member, 1200, path, backend=backend, seconds=0)
    saved = load(path, network)
    for name in ("waiting", "adaptation", "recent"):
        for a, b, c in zip(*(getattr(s, name) for s in (whole.state, resumed.state, saved.state)), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    for other in (resumed.network, saved.network):
        np.testing.assert_array_equal(whole.network.projections[0].weights, other.projections[0].weights)
    with np.load(path) as arrays:
        content = dict(arrays)
    for name, wrong in (("waiting0", -1), ("adaptation0", -1.0), ("projected0", np.nan)):
        np.savez(tmp_path / "wrong.npz", **{**content, name: np.full_like(content[name], wrong)})
        with pytest.raises(InputError, match=name):
            load(tmp_path / "wrong.npz", network)
    np.savez(tmp_path / "wrong.npz", **{k: v for k, v in content.items() if k != "recent2"})
    with pytest.raises(InputError, match="no recent2"):
        load(tmp_path / "wrong.npz", network)


def test_a_night_is_told_by_its_neurons_and_projections() -> None:
    layers = (SpikingLayer(np.ones((2, 3))),)
    networks = [
        SpikingNetwork(layers),
        SpikingNetwork(layers, neurons=Neurons(refractory=1)),
        SpikingNetwork(layers, projections=(Projection("output", "output", np.zeros((3, 3))),)),
        SpikingNetwork(layers, projections=(Projection("output", "output", np.zeros((3, 3)), delay=2),)),
    ]
    assert len({digest(Member(network, UniformNoise(1.0), None), 10) for network in networks}) == 4
    same = SpikingNetwork(layers, neurons={"output": Neurons()})
    assert digest(Member(same, UniformNoise(1.0), None), 10) == digest(Member(networks[0], UniformNoise(1.0), None), 10)


def test_weights_are_drawn_as_told() -> None:
    drawn = RandomWeights(0.5, 0.25, share=0.75, itself=True, seed=4).make(200, 100)
    there = drawn != 0
    assert there.mean() == pytest.approx(0.75, abs=0.01)
    assert drawn[there].mean() == pytest.approx(0.5, abs=0.01)
    assert drawn[there].std() == pytest.approx(0.25, abs=0.01)
    network = chain(np.ones((2, 5)), projections=[Projection("output", "output", RandomWeights(-1.0))])
    np.testing.assert_array_equal(network.projections[0].weights, np.eye(5) - 1)


def test_weights_come_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.arange(6).reshape(2, 3))
    stored = Projection("input", "output", StoredWeights(tmp_path / "w.npy"))  # type: ignore[arg-type]
    network = chain(np.ones((2, 3), dtype=np.float32), projections=[stored])
    assert network.projections[0].weights.tolist() == [[0, 1, 2], [3, 4, 5]]
    for path, message in (("none.npy", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(InputError, match=message):
            chain([[1.0]], projections=[Projection("input", "output", StoredWeights(str(tmp_path / path)))])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Neurons(refractory=-1), "refractory must be at least 0"),
        (lambda: Neurons(refractory=1.5), "refractory must be a whole number"),
        (lambda: Neurons(threshold_noise=-0.1), "threshold_noise must be at least 0"),
        (lambda: Neurons(threshold_noise=float("nan")), "threshold_noise must be a number"),
        (lambda: Neurons(reset="half"), "no reset 'half'"),
        (lambda: Neurons(adaptation=0.1), "adaptation must be"),
        (lambda: Adaptation(0.1, 0.0), "tau must be above 0"),
        (lambda: Adaptation(float("inf"), 1.0), "jump must be"),
        (lambda: chain([[1.0]], neurons=3), r"neurons must be Neurons\(...\), or a mapping"),
        (lambda: chain([[1.0]], neurons={"outptu": Neurons()}), "did you mean 'output'"),
        (lambda: chain([[1.0]], neurons={"input": Neurons()}), "the input has no membranes"),
        (lambda: NeuronsByPopulation({"output": 3}), "neurons of 'output' must be"),  # type: ignore[dict-item]
        (lambda: Projection("input", "output", [[1.0]], delay=0), "from 1 to 1000, got 0"),
        (lambda: Projection("input", "output", [[1.0]], delay=1001), "from 1 to 1000, got 1001"),
        (lambda: Projection("input", "output", [[1.0]], delay=1.5), "delay must be a whole number"),
        (lambda: Projection("input", "output", [[float("nan")]]), "1 of its weights are not finite"),
        (lambda: Projection("input", "output", [1.0]), r"must be \(n_source, n_target\)"),
        (lambda: Projection("input", "output", [[1.0], [1.0, 2.0]]), "must be an array"),
        (lambda: Projection("input", "output", "w.npy"), r"must be \(n_source, n_target\)"),
        (lambda: Projection("input", "output", [[1.0]], gain=float("inf")), "gain must be"),
        (lambda: chain([[1.0]], projections=[Projection("hidden1", "output", [[1.0]])]), "no population as source"),
        (lambda: chain([[1.0]], projections=[Projection("output", "hidden1", [[1.0]])]), "no population as target"),
        (lambda: chain([[1.0]], projections=[Projection("output", "input", [[1.0]])]), "nothing can project to it"),
        (
            lambda: chain([[1.0]], projections=[Projection("input", "output", [[1.0, 2.0]])]),
            r"must be 1 x 1, got shape",
        ),
        (lambda: chain([[1.0]], projections=Projection("input", "output", [[1.0]])), "several Projection"),
        (lambda: RandomWeights(share=1.5), "share must be"),
    ],
)
def test_what_cannot_be_is_said_at_once(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_states_must_fit_the_neurons() -> None:
    network, plain = chain([[1.0]], neurons=Neurons(refractory=2)), chain([[1.0]])
    for one, other in ((network, plain), (plain, network)):
        with pytest.raises(InputError, match="the state has waiting of shapes"):
            simulate(one, UniformNoise(1.0), None, 1, state=SimulationState.asleep(other))


def test_backends_without_it_say_so() -> None:
    layer = SpikingLayer(np.ones((2, 1, 2)), kernels=Kernels((1, 4)))
    convolving = SpikingNetwork((layer,), neurons=Neurons(reset="subtract"))
    with pytest.raises(BackendError, match="reset by subtraction in networks with convolutions"):
        simulate(convolving, UniformNoise(1.0), None, 1)
    assert simulate(convolving, UniformNoise(900.0), None, 9, backend="reference").spike_counts[1].any()
