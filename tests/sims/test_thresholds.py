"""Thresholds that are found: the rates that they give, and rates that none can give."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.sims import thresholds
from neurosleep.sims.ensemble import Member
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import AveragePool
from neurosleep.sims.thresholds import UnreachableRateError, find_thresholds, firing_rates, with_thresholds

MEAN = np.linspace(0.1, 1, 20)
ASKED = {"hidden1": 0.05, "hidden2": 0.08, "output": 0.02}


def chain(dtype: Any = np.float32, **how: Any) -> SpikingNetwork:
    rng, sizes = np.random.default_rng(0), (20, 60, 40, 30)
    weights = [rng.normal(0.05, 1, shape).astype(dtype) for shape in pairwise(sizes)]
    return SpikingNetwork(tuple(SpikingLayer(w, name=str(i), **how) for i, w in enumerate(weights)))


def convolutions() -> SpikingNetwork:
    rng = np.random.default_rng(1)
    kernels = rng.normal(0.1, 1, (6, 2, 3, 3)).astype(np.float32)
    first = Kernels((2, 8, 8), padding=(1, 1))
    pooled = Kernels((6, 8, 8), groups=2, pool=AveragePool((2, 2), (2, 2), (0, 0)))
    bias = rng.normal(0, 0.1, 4).astype(np.float32)
    second = SpikingLayer(rng.normal(0.1, 1, (4, 3, 3, 3)).astype(np.float32), bias=bias, kernels=pooled)
    last = SpikingLayer(rng.normal(0, 1, (16, 5)).astype(np.float32), plastic=False)
    return SpikingNetwork((SpikingLayer(kernels, kernels=first), second, last))


def night(network: SpikingNetwork, drive: Any = None, **how: Any) -> Member:
    mean = np.resize(MEAN, network.sizes[0])
    return Member(network, drive or ns.MeanRate(60.0), ns.Hebbian(0.1, 0.1), mean, seed=4, **how)


def off(member: Member, asked: dict[str, float], found: dict[str, float], steps: int = 300) -> Sequence[float]:
    """By which share of the asked rate each population misses it, by the reference."""
    network = with_thresholds(member.network, found)
    watched = (network, member.drive, None, steps)
    night = ns.simulate(*watched, mean_input=member.mean_input, seed=member.seed, backend="reference")
    got = [counts.mean() / steps for counts in night.spike_counts[1:]]
    return [abs(rate / asked[name] - 1) for rate, name in zip(got, found, strict=True)]


@pytest.mark.parametrize(
    ("network", "drive"),
    [
        (chain(), None),
        (chain(np.float64, decay=0.8, inhibition=0.5), None),
        (chain(decay=1.0), ns.MaskedMeanRate(200.0, 3, (4, 5))),
        (chain(gain=1e-4), ns.UniformNoise(30.0)),
        (convolutions(), None),
    ],
)
def test_every_population_fires_at_its_rate(network: SpikingNetwork, drive: Any) -> None:
    member, asked = night(network, drive), ASKED
    found = find_thresholds(member, asked)
    assert list(found) == ["hidden1", "hidden2", "output"]
    assert max(off(member, asked, found)) < 0.04
    again = with_thresholds(network, dict.fromkeys(found, 7.0))
    assert find_thresholds(night(again, drive, downscaling=ns.MagnitudePruning(0.9), downscale_every=5), asked) == found
    rates = firing_rates(night(with_thresholds(network, found), drive))
    assert rates["input"] > 0
    assert [rates[name] for name in asked] == pytest.approx(list(asked.values()), rel=0.04)


UP = ns.RandomWeights(0.0, 0.4, 0.3)


@pytest.mark.parametrize(
    ("neurons", "drive", "projections"),
    [
        (ns.Neurons(refractory=3), None, ()),
        (ns.Neurons(reset="subtract", adaptation=ns.Adaptation(0.5, 0.1)), None, ()),
        ({"hidden2": ns.Neurons(threshold_noise=0.1, lateral=2.0)}, None, ()),
        (ns.Neurons(), {"input": ns.MeanRate(60.0), "hidden2": ns.Kicks(ns.UniformNoise(20.0), 0.4)}, ()),
        (ns.Neurons(), None, (ns.Projection("input", "output", UP), ns.Projection("hidden2", "hidden2", UP))),
    ],
)
def test_whatever_neurons_do_beyond_leaking(neurons: Any, drive: Any, projections: Any) -> None:
    plain = chain()
    network = SpikingNetwork(plain.layers, neurons=neurons, projections=projections)
    found = find_thresholds(night(network, drive), ASKED)
    assert max(off(night(network, drive), ASKED, found)) < 0.04
    assert found != find_thresholds(night(plain), ASKED)


def test_spikes_that_come_back_are_waited_for_or_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    down = ns.Projection("output", "hidden1", ns.RandomWeights(0.2, 0.5, 0.5))
    network = SpikingNetwork(chain().layers, projections=(down,))
    found = find_thresholds(night(network), ASKED)
    assert max(off(night(network), ASKED, found)) < 0.11
    monkeypatch.setattr(thresholds, "SWEEPS", 1)
    with pytest.raises(UnreachableRateError, match=r"'hidden1' does not settle at 0\.05, since spikes come back"):
        find_thresholds(night(network), ASKED)


def changed(number: int, **how: Any) -> SpikingNetwork:
    layers = list(chain().layers)
    layers[number] = SpikingLayer(**{**vars(layers[number]), **how})
    return SpikingNetwork(tuple(layers))


@pytest.mark.parametrize(
    ("network", "drive", "asked", "said"),
    [
        (
            changed(1, gain=0.0),
            None,
            {},
            r"'hidden2' can never fire.*nothing that arrives there brings a neuron above 0",
        ),
        (chain(), ns.RecordedSpikes(np.zeros((300, 20))), {}, r"'hidden1' can never fire.*nothing below it fires"),
        (chain(), {"hidden1": ns.Kicks(ns.UniformNoise(99.0), 1.5)}, {}, r"'hidden1' fires at 0\.1 .* however high"),
        (chain(), None, {"output": 1e-5}, r"1e-05 is less than one spike of the 30 neurons of 'output' in 300 steps"),
        (
            chain(),
            None,
            {"output": 20.0},
            r"the rate of 'output' must be above 0 and at most 1.*for one in Hz, times dt",
        ),
    ],
)
def test_rates_that_cannot_be(network: SpikingNetwork, drive: Any, asked: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        find_thresholds(night(network, drive), {**ASKED, **asked})
    assert "\n" not in str(error.value)


def test_what_cannot_fire_so_often_fires_as_often_as_it_can() -> None:
    found = find_thresholds(night(chain()), {**ASKED, "output": 0.99})
    rates = [
        firing_rates(night(with_thresholds(chain(), {**found, "output": found["output"] * factor})))["output"]
        for factor in (1e-9, 1.0, 4.0)
    ]
    assert rates[0] == pytest.approx(rates[1], rel=0.02)
    assert 0.99 > rates[1] > 1.02 * rates[2]


def test_neurons_that_are_all_alike_get_the_nearest_rate_there_is() -> None:
    same = SpikingLayer(np.ones((20, 30), np.float32), decay=1.0)
    spikes = ns.RecordedSpikes(np.arange(20) == np.zeros((300, 1)))
    found = find_thresholds(night(SpikingNetwork((same,)), spikes), {"output": 0.4})
    network = SpikingNetwork((SpikingLayer(same.weights, threshold=found["output"], decay=1.0),))
    assert firing_rates(night(network, spikes))["output"] in (0.5, pytest.approx(1 / 3, abs=0.01))
