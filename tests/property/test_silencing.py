"""What must hold for silenced neurons in any network: they never fire, and that is all that is done to them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Simulation, simulate
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import Floats
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule
from neurosleep.sims.silencing import Silencing, silence

STEPS = 150
MEAN = np.random.default_rng(3).random(20) * (np.arange(20) % 3 > 0)
rules = st.sampled_from([None, Hebbian(0.002, 0.0007), GatedHebbian(0.002, 0.0007), GatedHebbian(0.01, 0.001, 0.004)])
drives = st.sampled_from(
    [
        MeanRate(15.0),  # so few spikes that the leak between two of them is rounded to 0
        MeanRate(900.0),
        MaskedMeanRate(300.0, 3, (4, 5)),
        UniformNoise(80.0),
        RecordedSpikes(np.random.default_rng(5).random((STEPS + 1, 20)) < 0.2),
    ]
)
seeds = st.integers(0, 2**64 - 1)


@st.composite
def networks(draw: st.DrawFn, inhibition: tuple[float, ...] = (0.0,)) -> SpikingNetwork:
    """Small networks that fire, in either precision."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    real = draw(st.sampled_from([np.float32, np.float64]))
    layers = [
        SpikingLayer(
            weights=rng.normal(0.005, 0.02, (n_pre, n_post)).astype(real),
            gain=float(rng.uniform(20, 200)),
            threshold=float(rng.uniform(0.5, 2)),
            decay=draw(st.sampled_from([1.0, 0.999, 0.9, 0.2])),
            inhibition=draw(st.sampled_from(inhibition)),
            bias=rng.normal(0, 0.05, n_post).astype(real) if draw(st.booleans()) else None,
        )
        for n_pre, n_post in itertools.pairwise([20, *draw(st.lists(st.integers(2, 9), min_size=1, max_size=3))])
    ]
    return SpikingNetwork(tuple(layers))


@st.composite
def silencings(draw: st.DrawFn, network: SpikingNetwork) -> Silencing:
    sizes = network.populations.items()
    return Silencing({name: draw(st.sets(st.integers(0, n - 1), max_size=n)) for name, n in sizes})


def night(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, silenced: Silencing, **how: object
) -> tuple[Simulation, list[np.ndarray]]:
    recorder = SpikeRecorder()
    drive, state = silence(silenced, network, drive)
    done = simulate(network, drive, rule, STEPS, mean_input=MEAN, seed=seed, state=state, log=recorder, **how)
    return done, [recorder.raster(population, size) for population, size in enumerate(network.sizes)]


def into_nobody(network: SpikingNetwork, silenced: Silencing) -> SpikingNetwork:
    """The network in which nothing comes to the silenced neurons."""

    def cut(values: Floats | None, ids: tuple[int, ...]) -> Floats | None:
        if values is not None:
            values = values.copy()
            values[..., list(ids)] = 0
        return values

    above = [silenced.get(name, ()) for name in list(network.populations)[1:]]
    pairs = zip(network.layers, above, strict=True)
    return replace(
        network, layers=tuple(replace(x, weights=cut(x.weights, ids), bias=cut(x.bias, ids)) for x, ids in pairs)
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(st.data(), networks(), drives, rules, seeds)
@settings(max_examples=25)
def test_as_if_nothing_came_to_the_silenced(
    backend: str, data: st.DataObject, network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int
) -> None:
    silenced = data.draw(silencings(network))
    done, spikes = night(network, drive, rule, seed, silenced, backend=backend)
    cut, expected = night(
        into_nobody(network, silenced), drive, rule, seed, Silencing({"input": silenced["input"]}), backend=backend
    )
    for population, (mine, other) in enumerate(zip(spikes, expected, strict=True)):
        np.testing.assert_array_equal(mine, other)
        ids = list(silenced[list(network.populations)[population]])
        assert not mine[:, ids].any()
        assert not done.spike_counts[population][ids].any()
        if population == 0:
            continue
        others = np.setdiff1d(np.arange(network.sizes[population]), ids)
        before, after = network.layers[population - 1].weights, done.network.layers[population - 1].weights
        np.testing.assert_array_equal(after[:, ids], before[:, ids])
        np.testing.assert_array_equal(after[:, others], cut.network.layers[population - 1].weights[:, others])
        membranes = done.state.membrane_potentials(network)[population - 1]
        same = cut.state.membrane_potentials(network)[population - 1]
        np.testing.assert_array_equal(membranes[others], same[others])
        assert not (membranes[ids] > -np.inf).any()


@given(st.data(), networks((0.0, 0.37)), drives, rules, seeds)
@settings(max_examples=25)
def test_engines_agree(
    data: st.DataObject, network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int
) -> None:
    network = network.astype(np.float64)
    silenced = data.draw(silencings(network))
    fast, fast_spikes = night(network, drive, rule, seed, silenced, backend="cpu")
    slow, slow_spikes = night(network, drive, rule, seed, silenced, backend="reference")
    for a, b in zip(fast_spikes, slow_spikes, strict=True):
        np.testing.assert_array_equal(a, b)
    for f, s in zip(fast.network.layers, slow.network.layers, strict=True):
        np.testing.assert_allclose(f.weights, s.weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@given(st.data(), networks((0.37,)), drives, seeds)
@settings(max_examples=12)
def test_neighbours_do_not_feel_it(
    backend: str, data: st.DataObject, network: SpikingNetwork, drive: Drive, seed: int
) -> None:
    """Inhibition comes from the input of a layer, which the silenced go on receiving: without plasticity all else in
    the first layer is as in the ordinary night."""
    silenced = data.draw(silencings(network))
    name = list(network.populations)[1]
    _, spikes = night(network, drive, None, seed, Silencing({name: silenced[name]}), backend=backend)
    _, ordinary = night(network, drive, None, seed, Silencing({}), backend=backend)
    others = np.setdiff1d(np.arange(network.sizes[1]), silenced[name])
    np.testing.assert_array_equal(spikes[1][:, others], ordinary[1][:, others])
