"""A population by itself fires as it does in its network, if those below it do."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import neurosleep as ns
from neurosleep.sims.arrivals import Arrivals, Played, cut_out, offsets_of, together
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.plastic_graph import as_graph
from neurosleep.sims.thresholds import _fired

sys.path.append(str(Path(__file__).parents[1] / "networks"))
from random_graphs import plastic_graphs

STEPS = 12


def slept(network: Any, drive: Any, log: Any) -> None:
    ns.simulate(network, drive, None, STEPS, seed=5, backend="reference", log=log)


def check_each(network: Any) -> None:
    recorder = SpikeRecorder()
    slept(network, ns.UniformNoise(300.0), recorder)
    played = {}
    for number, (name, n) in enumerate(network.populations.items()):
        when, ids = recorder.events(number)
        played[name] = Played(offsets_of(np.bincount(when, minlength=STEPS)), ids.astype(np.int32), n)
    for number, (name, layer) in enumerate(zip(list(played)[1:], network.layers, strict=True)):
        alone, sources = cut_out(network, number)
        arrivals = Arrivals(STEPS, layer.n_post, network.dtype)
        slept(alone, together([played[source] for source in sources]), arrivals)
        fired = [ids.tolist() for ids in _fired(arrivals.values, layer.decay, layer.threshold)]
        assert fired == [ids.tolist() for ids in np.split(played[name].ids, played[name].offsets[1:-1])]


@given(plastic_graphs(exact=True))
@settings(max_examples=25)
def test_in_random_graphs(graph: Any) -> None:
    check_each(graph)


@pytest.mark.parametrize("form", [lambda chain: chain, as_graph])
def test_in_chains(form: Any) -> None:
    rng = np.random.default_rng(0)
    bias = rng.integers(-2, 4, 6) / 16
    first = SpikingLayer(rng.integers(-4, 9, (8, 6)) / 8, decay=0.5, threshold=2.0, inhibition=0.5, bias=bias)
    check_each(form(SpikingNetwork((first, SpikingLayer(rng.integers(-4, 9, (6, 5)) / 8, gain=2.0)))))
