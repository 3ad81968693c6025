"""The benchmark measures what it says: peers compute the same night, bounds are times, results are written."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from neurosleep.benchmarks import bench, brian2_peer, harness, peers, workloads
from neurosleep.benchmarks.bound import Bound
from neurosleep.benchmarks.brian2_peer import Brian2Peer
from neurosleep.benchmarks.logcost import COMPRESSIONS, logging_cost
from neurosleep.benchmarks.nights import ensembles
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork


def small(width=30, steps=200):
    """A network with weights on both sides of the gate, as it falls asleep."""
    rng = np.random.default_rng(1)
    sizes = (784, width, width, 10)
    layers = [
        SpikingLayer(rng.normal(0.002, 0.01, pair).astype(np.float32), gain=70.0, threshold=threshold, decay=0.999)
        for pair, threshold in zip(pairwise(sizes), (10.0, 3.0, 2.0), strict=True)
    ]
    return workloads.Trained(SpikingNetwork(tuple(layers)), UniformNoise(15.0), np.zeros(784), steps, "small")


@pytest.fixture
def active():
    workload = workloads.night(small(), 200)
    assert all(spikes.sum() > 10 for spikes in workload.spikes())
    return workload


@pytest.mark.parametrize("peer", peers.PEERS.values(), ids=list(peers.PEERS))
@pytest.mark.parametrize("later", [False, True])
def test_peers_compute_the_night_of_the_reference(active, peer, later):
    workload = workloads.silent(small(), after=30, steps=60) if later else active
    assert later == any(v.any() for v in workload.membranes)
    outcome, truth = peer(workload, workload.steps), harness.reference(workload, workload.steps)
    assert harness.compare(outcome, truth, workload.steps) == "same spikes"
    assert harness.largest_difference(outcome.weights, truth.weights) < 1e-5
    assert any((w != layer.weights).any() for w, layer in zip(outcome.weights, workload.network.layers, strict=True))
    assert outcome.seconds > 0


@pytest.mark.parametrize("way", [harness.ours, harness.whole_call])
def test_our_engine_is_compared_like_the_peers(active, way):
    outcome, truth = way(active, 150), harness.reference(active, 150, np.float64)
    assert harness.compare(outcome, truth, 150) == "same spikes"
    assert harness.largest_difference(outcome.weights, truth.weights) < 1e-5


def test_peers_leave_the_workload_as_it_was(active):
    before = [layer.weights.copy() for layer in active.network.layers]
    for peer in (*peers.PEERS.values(), harness.ours, harness.whole_call):
        peer(active, active.steps)
    for layer, weights in zip(active.network.layers, before, strict=True):
        np.testing.assert_array_equal(layer.weights, weights)
    assert not any(v.any() for v in active.membranes)


@pytest.mark.skipif(not brian2_peer.available(), reason="needs Brian2 and a C++ compiler")
@pytest.mark.filterwarnings("default")
def test_brian2_computes_the_night_of_the_reference(active):
    with Brian2Peer(active) as peer:
        outcome = peer(active, active.steps)
        with pytest.raises(InputError, match="compiled for 200 steps, not 3"):
            peer(active, 3)
    truth = harness.reference(active, active.steps)
    assert harness.compare(outcome, truth, active.steps) == "same spikes"
    assert harness.largest_difference(outcome.weights, truth.weights) < 1e-5


def test_comparison_tells_spikes_regime_and_failure():
    def outcome(*counts):
        return peers.Outcome([np.array(c) for c in counts], [], 1.0)

    truth = outcome([10, 90], [50, 50])
    assert harness.compare(outcome([10, 90], [50, 50]), truth, 10) == "same spikes"
    assert harness.compare(outcome([90, 10], [50, 60]), truth, 10) == "same regime"
    assert harness.compare(outcome([10, 90], [50, 70]), truth, 10) == "failed"
    assert harness.compare(outcome([100, 1]), outcome([100, 0]), 1000) == "same regime"


def test_bound_counts_rows_for_spikes_below_and_columns_for_spikes_above(active):
    spikes = active.spikes()
    bound = Bound(active, spikes)
    parts = bound.measure()
    assert all(ns > 0 for part in parts for ns in part)
    totals = [int(s[:100].sum()) for s in spikes]
    steps = [int((s[:100] > 0).sum()) for s in spikes]
    scans = sum(steps[i] * parts.scan[i] for i in range(3))
    strided = scans + sum(totals[i] * parts.row[i] + totals[i + 1] * parts.column[i] for i in range(3))
    assert bound.milliseconds(parts, 100) == pytest.approx(strided / 100 / 1e6)
    assert bound.milliseconds(parts, 100, contiguous=True) > 0


def test_widened_networks_fire_as_the_published_one():
    spikes = workloads.active(workloads.widened(small(), 100)).spikes()
    assert [s.mean() for s in spikes[1:3]] == pytest.approx(workloads.TARGET, rel=0.15)


def test_dense_workload_is_dense():
    spikes = workloads.dense(50, 40).spikes()
    assert all(0.25 < s.mean() / 50 < 0.6 for s in spikes[1:3])


def test_logging_is_measured_for_every_compression(active):
    found = logging_cost(active, rounds=1, chunk=100)
    assert found["events"] == sum(int(s.sum()) for s in active.spikes())
    assert len(found["simulation_ms_per_step"]) == 1 + len(COMPRESSIONS)
    assert len(found["writing_events_per_second"]) == 2 * len(COMPRESSIONS)
    assert all(rate > 0 for rate in found["writing_events_per_second"].values())


def test_ensembles_are_checked():
    found = ensembles(small(), (1, 3), steps=50, rounds=1)
    assert [row["checked"] for row in found["rows"]] == ["same spikes"] * 2


@pytest.fixture
def tiny_nights(monkeypatch):
    """Nights of a small untrained network, so that nothing needs training."""
    monkeypatch.setattr(workloads, "nights", lambda tasks, data_dir=None: [small(steps=100)] * tasks)


def test_bench_writes_everything(tiny_nights, tmp_path, capsys):
    bench.run(bench.Options((20, 30), rounds=2, quick=True), tmp_path / "out")
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [(c["width"], c["regime"]) for c in found["contests"]] == [
        *((20, "active"), (20, "silent"), (30, "active"), (30, "silent"), (30, "dense"))
    ]
    for contest in found["contests"]:
        assert [row["checked"] for row in contest["contestants"]] == ["same spikes"] * (2 + len(peers.PEERS))
        for row in contest["contestants"]:
            assert row["ms_per_step"]["q1"] <= row["ms_per_step"]["median"] <= row["ms_per_step"]["q3"]
            assert len(row["rounds_ms_per_step"]) == 2
    assert found["machine"]["versions"]["numpy"] == np.__version__
    assert [row["width"] for row in found["processes"]] == [20, 30]
    assert all(row["peak_bytes"] > row["weights_bytes"] > 0 for row in found["processes"])
    assert (tmp_path / "out" / "bench.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    for words in ("event-driven NumPy", "same spikes", "bound, strided columns", "A fresh process"):
        assert words in shown
    assert torch.get_num_threads() == 1


def test_a_missing_gpu_is_told(monkeypatch):
    from neurosleep.benchmarks import gpu
    from neurosleep.sims.errors import BackendError

    def missing(_):
        raise BackendError("no GPU here")

    monkeypatch.setattr(gpu, "CudaEngine", missing)
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    assert gpu.gpu_ensemble(small(steps=100), 2, 10, 1) == {"missing": "no GPU here"}
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert "simulator" in gpu.gpu_ensemble(small(steps=100), 2, 10, 1)["missing"]


def test_gpu_is_compared_with_the_cpu(monkeypatch):
    """With the CPU engine in the GPU's place: the sums, and the check of spikes."""
    from neurosleep.benchmarks import gpu
    from neurosleep.sims.engines.cpu import CpuEngine

    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "CudaEngine", lambda sleepers: CpuEngine(sleepers[0]))
    monkeypatch.setattr(gpu, "_bytes_per_second", lambda: 1e9)
    found = gpu.gpu_ensemble(small(steps=100), 1, 40, 2)
    assert found["checked"] == "same spikes"
    assert found["bound_steps_per_second"] == pytest.approx(1e9 / found["bytes_per_step"])
    assert min(found["gpu_steps_per_second"], found["one_core_steps_per_second"]) > 0
