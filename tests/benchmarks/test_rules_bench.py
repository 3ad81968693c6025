"""`neurosleep bench --suite rules`: all rules see the same spikes, Brian2 too where it is installed."""

from itertools import pairwise

import numpy as np
import pytest

from neurosleep.benchmarks import brian2_peer, rules, workloads
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.network import SpikingLayer, SpikingNetwork


@pytest.fixture
def workload():
    rng = np.random.default_rng(1)
    layers = [
        SpikingLayer(rng.normal(0.002, 0.01, pair).astype(np.float32), gain=70.0, threshold=threshold, decay=0.999)
        for pair, threshold in zip(pairwise((784, 30, 30, 10)), (10.0, 3.0, 2.0), strict=True)
    ]
    source = workloads.Trained(SpikingNetwork(tuple(layers)), UniformNoise(15.0), np.zeros(784), 60, "small")
    return rules.firing(source, 60)


def test_hidden_layers_fire(workload):
    assert all(spikes.sum() > 0 for spikes in workload.spikes()[:3])


def test_without_brian2_there_is_a_row_for_each_rule(workload, monkeypatch):
    monkeypatch.setattr(rules, "RULES", {"GatedHebbian": rules.RULES["GatedHebbian"]})
    found = rules.contest(workload, 2, with_brian2=False)
    (row,) = found["rows"]
    assert (row["checked"], found["margins"]) == ("same spikes", {})
    assert "GatedHebbian" in rules.as_text(
        {**found, "machine": {"processor": "", "cores": 1, "caches": {}, "versions": {}}}
    )


@pytest.mark.skipif(not brian2_peer.available(), reason="Brian2 is not installed")
def test_brian2_sees_the_same_spikes_by_every_rule(workload):
    found = rules.contest(workload, 1, with_brian2=True)
    assert [row["checked"] for row in found["rows"]] == ["same spikes"] * 5
