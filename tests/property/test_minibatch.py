"""Mini-batches: several noise streams whose changes of the weights are averaged in every step."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosleep as ns
from neurosleep.networks import relu_network
from neurosleep.sims import checkpoint as checkpoints
from neurosleep.sims.checkpoint import simulate_resumable
from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines import compiled_base
from neurosleep.sims.engines import cpu_streams as minibatch
from neurosleep.sims.engines.contract import Engine, Sleeper
from neurosleep.sims.engines.cpu import CpuEngine
from neurosleep.sims.engines.cpu_streams import MinibatchEngine
from neurosleep.sims.engines.reference_base import input_spikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, Simulation, simulate, simulate_ensemble
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.homeostasis.downscaling import DownscalingRule, GradedDownscaling, MagnitudePruning
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.random import INPUT_STREAM, random_words
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule
from neurosleep.sims.state import SimulationState

STEPS = 120
MEAN = np.random.default_rng(3).random(20) * (np.arange(20) % 3 > 0)
RASTER = np.random.default_rng(5).random((STEPS, 20)) < 0.2


@st.composite
def networks(draw: st.DrawFn) -> SpikingNetwork:
    """Small networks that fire, with weights near 0 so that the gate matters."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [20, *draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))]
    layers = [
        SpikingLayer(
            weights=rng.normal(0.005, 0.02, shape),
            gain=float(rng.uniform(20, 200)),
            threshold=float(rng.uniform(0.5, 2)),
            decay=draw(st.sampled_from([1.0, 0.999, 0.31])),
            inhibition=draw(st.sampled_from([0.0, 0.0, 0.37])),
            bias=rng.normal(0, 0.05, shape[1]) if draw(st.booleans()) else None,
        )
        for shape in itertools.pairwise(sizes)
    ]
    return SpikingNetwork(tuple(layers))


drives = st.sampled_from(
    [
        MeanRate(150.0),
        MeanRate(900.0),
        MaskedMeanRate(300.0, 3, (4, 5)),
        MaskedMeanRate(300.0, 1, (4, 5)),
        UniformNoise(80.0),
        RecordedSpikes(RASTER),
    ]
)
rules = st.sampled_from([Hebbian(0.002, 0.0007), GatedHebbian(0.002, 0.0007), GatedHebbian(0.01, 0.001, 0.004)])
rules_or_none = st.one_of(st.none(), rules)
seeds = st.integers(0, 2**64 - 1)
streams = st.sampled_from([1, 2, 5])
downscalings = st.sampled_from([(None, None), (MagnitudePruning(0.2), 40), (GradedDownscaling(), 7)])
BACKENDS = pytest.mark.parametrize("backend", ["cpu", "reference"])

Downscaled = tuple[DownscalingRule | None, int | None]


def night(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int, steps: int = STEPS, **how: object
) -> tuple[Simulation, SpikeRecorder]:
    recorder = SpikeRecorder()
    return simulate(network, drive, rule, steps, mean_input=MEAN, seed=seed, log=recorder, **how), recorder


def assert_identical(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(a.state.membranes, b.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for m, n in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(m, n)


def assert_close(a: Simulation, b: Simulation) -> None:
    """Weights and spikes as any two engines must have them."""
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_allclose(x.weights, y.weights, rtol=0, atol=1e-12)
    for m, n in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(m, n)


def assert_same_spikes(a: SpikeRecorder, b: SpikeRecorder, network: SpikingNetwork) -> None:
    for population in range(len(network.sizes)):
        for x, y in zip(a.events(population), b.events(population), strict=True):
            np.testing.assert_array_equal(x, y)


@given(networks(), drives, rules_or_none, seeds, streams, downscalings)
@settings(max_examples=150)
def test_cpu_equals_reference(
    network: SpikingNetwork,
    drive: Drive,
    rule: PlasticityRule | None,
    seed: int,
    copies: int,
    downscaled: Downscaled,
) -> None:
    how = {"streams": copies, "downscaling": downscaled[0], "downscale_every": downscaled[1]}
    fast, fast_spikes = night(network, drive, rule, seed, backend="cpu", **how)
    slow, slow_spikes = night(network, drive, rule, seed, backend="reference", **how)
    assert_close(fast, slow)
    assert_same_spikes(fast_spikes, slow_spikes, network)
    for v, w in zip(fast.state.membrane_potentials(network), slow.state.membrane_potentials(network), strict=True):
        assert v.shape == ((v.shape[-1],) if copies == 1 else (copies, v.shape[-1]))
        np.testing.assert_allclose(v, w, rtol=0, atol=1e-9)


def result_of(engine: Engine, steps: int) -> tuple[list[np.ndarray], SimulationState, list[np.ndarray], list[object]]:
    engine.advance(steps, [(True,) * len(engine.spike_counts(0))])
    events = [list(population) for population in engine.drain()[0][1]]
    return [w.copy() for w in engine.weights(0)], engine.state(0), engine.spike_counts(0), events


@given(networks(), drives, rules_or_none, seeds)
def test_one_copy_is_the_ordinary_night(
    network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int
) -> None:
    """Bit for bit, though another engine with other kernels computes it."""
    schedule = drive.schedule(20, network.dt, MEAN)
    one = Sleeper(network, schedule, rule, seed, SimulationState.asleep(network))
    (weights, state, counts, events), ordinary = (result_of(make(one), STEPS) for make in (MinibatchEngine, CpuEngine))
    for a, b in zip(weights, ordinary[0], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(state.membranes, ordinary[1].membranes, strict=True):
        np.testing.assert_array_equal(a, b)
    assert state.membrane_steps == ordinary[1].membrane_steps
    np.testing.assert_equal([counts, events], [ordinary[2], ordinary[3]])


@BACKENDS
@given(networks(), drives, rules_or_none, seeds)
@settings(max_examples=20)
def test_one_stream_is_the_default(
    backend: str, network: SpikingNetwork, drive: Drive, rule: PlasticityRule | None, seed: int
) -> None:
    plain, plain_spikes = night(network, drive, rule, seed, backend=backend)
    one, spikes = night(network, drive, rule, seed, backend=backend, streams=1)
    assert_identical(plain, one)
    assert_same_spikes(plain_spikes, spikes, network)


def naive(
    network: SpikingNetwork, trains: np.ndarray, rule: PlasticityRule
) -> tuple[list[list[list[float]]], list[list[int]]]:
    """Loops over everything, in plain Python: trains are (steps, streams, n_inputs)."""
    copies = trains.shape[1]
    weights = [layer.weights.tolist() for layer in network.layers]
    v = [[[0.0] * layer.n_post for _ in range(copies)] for layer in network.layers]
    counts = [[0] * n for n in network.sizes]
    gate_width = rule.parameters().gate_width
    for step in range(len(trains)):
        fired = [trains[step].tolist()]
        for index, layer in enumerate(network.layers):
            spikes = [[False] * layer.n_post for _ in range(copies)]
            for m in range(copies):
                impulse = [
                    layer.gain * sum(weights[index][i][j] for i in range(layer.n_pre) if fired[index][m][i])
                    for j in range(layer.n_post)
                ]
                mean = sum(impulse) / layer.n_post
                for j in range(layer.n_post):
                    v[index][m][j] = layer.decay * v[index][m][j] + impulse[j] - layer.inhibition * mean
                    if v[index][m][j] >= layer.threshold:
                        v[index][m][j], spikes[m][j] = 0.0, True
            fired.append(spikes)
        for index, layer in enumerate(network.layers):  # only now: all of a step feel the same weights
            for i, j in itertools.product(range(layer.n_pre), range(layer.n_post)):
                change, w = 0.0, weights[index][i][j]
                for m in range(copies):
                    if fired[index + 1][m][j]:
                        change += rule.inc if fired[index][m][i] else -rule.dec
                gate = 2 * (1 - 1 / (1 + np.exp(-w / gate_width))) if gate_width else 1.0
                weights[index][i][j] = w + change / copies * gate
        for population, spikes in enumerate(fired):
            for m, i in itertools.product(range(copies), range(network.sizes[population])):
                counts[population][i] += spikes[m][i]
    return weights, counts


@BACKENDS
@pytest.mark.parametrize("rule", [Hebbian(0.004, 0.002), GatedHebbian(0.004, 0.002)])
@pytest.mark.parametrize("copies", [2, 3])
def test_naive_loops_agree(backend: str, rule: PlasticityRule, copies: int) -> None:
    rng = np.random.default_rng(11)
    network = SpikingNetwork(
        (
            SpikingLayer(rng.normal(0.005, 0.02, (6, 5)), gain=60.0, inhibition=0.2),
            SpikingLayer(rng.normal(0.005, 0.02, (5, 3)), gain=60.0, decay=0.9),
        )
    )
    drive = UniformNoise(250.0)
    schedule = drive.schedule(6, network.dt, None)
    trains = np.stack([[input_spikes(schedule, 9, step, m) for m in range(copies)] for step in range(60)])
    weights, counts = naive(network, trains, rule)
    result = simulate(network, drive, rule, 60, seed=9, streams=copies, backend=backend)
    assert min(sum(n) for n in counts) > 10
    for layer, expected in zip(result.network.layers, weights, strict=True):
        np.testing.assert_allclose(layer.weights, expected, rtol=0, atol=1e-12)
    assert [n.tolist() for n in result.spike_counts] == counts


@BACKENDS
@given(networks(), rules, seeds, st.sampled_from([2, 3, 5]))
@settings(max_examples=30)
def test_the_same_spikes_in_every_copy_are_one_stream(
    backend: str, network: SpikingNetwork, rule: PlasticityRule, seed: int, copies: int
) -> None:
    one, one_spikes = night(network, RecordedSpikes(RASTER), rule, seed, backend=backend)
    many, spikes = night(network, RecordedSpikes(RASTER), rule, seed, backend=backend, streams=copies)
    assert_same_spikes(one_spikes, spikes, network)
    for a, b in zip(one.network.layers, many.network.layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=1e-12)
    for m, n in zip(one.spike_counts, many.spike_counts, strict=True):
        np.testing.assert_array_equal(copies * m, n)


@BACKENDS
@given(networks(), drives, rules_or_none, seeds, st.sampled_from([1, 7, 1000]), st.integers(0, STEPS), downscalings)
@settings(max_examples=30)
def test_chunks_and_stops_change_nothing(
    backend: str,
    network: SpikingNetwork,
    drive: Drive,
    rule: PlasticityRule | None,
    seed: int,
    chunk: int,
    stop: int,
    downscaled: Downscaled,
) -> None:
    how = {"streams": 3, "backend": backend, "downscaling": downscaled[0], "downscale_every": downscaled[1]}
    whole, spikes = night(network, drive, rule, seed, **how)
    in_chunks, again = night(network, drive, rule, seed, chunk=chunk, **how)
    assert_identical(whole, in_chunks)
    assert_same_spikes(spikes, again, network)
    assert_identical(whole, simulate(network, drive, rule, STEPS, mean_input=MEAN, seed=seed, **how))
    first, early = night(network, drive, rule, seed, stop, **how)
    second, late = night(first.network, drive, rule, seed, STEPS - stop, state=first.state, **how)
    counts = [a + b for a, b in zip(first.spike_counts, second.spike_counts, strict=True)]
    assert_identical(whole, Simulation(second.network, second.state, STEPS, counts))
    for population, size in enumerate(network.sizes):
        in_parts = np.concatenate([early.raster(population, size), late.raster(population, size)])
        np.testing.assert_array_equal(spikes.raster(population, size), in_parts)


@given(networks(), rules, seeds, st.integers(1, 3))
@settings(max_examples=20)
def test_a_full_event_buffer_loses_nothing(network: SpikingNetwork, rule: PlasticityRule, seed: int, room: int) -> None:
    whole, spikes = night(network, MeanRate(900.0), rule, seed, streams=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_base, "EVENTS_PER_POPULATION", room)
        narrow, few = night(network, MeanRate(900.0), rule, seed, streams=2)
    assert_identical(whole, narrow)
    assert_same_spikes(spikes, few, network)


@pytest.mark.parametrize("rule", [Hebbian(0.002, 0.001), GatedHebbian(0.002, 0.001)])
@pytest.mark.parametrize("changes", [64, 192, 100_032])
def test_rows_taken_together_change_nothing(
    rule: PlasticityRule, changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide layers too: more weights than are changed together, and than a vector register holds."""
    rng = np.random.default_rng(2)
    network = SpikingNetwork((SpikingLayer(rng.normal(0.005, 0.02, (20, 150)), gain=100.0),))
    slow = night(network, UniformNoise(150.0), rule, 4, streams=4, backend="reference")[0]
    monkeypatch.setattr(minibatch, "CHANGES", changes)
    assert_close(night(network, UniformNoise(150.0), rule, 4, streams=4)[0], slow)


@pytest.mark.parametrize("drive", [UniformNoise(100.0), MaskedMeanRate(300.0, 3, (4, 5))])
def test_noise_of_a_copy_is_its_own(drive: Drive) -> None:
    """It does not depend on how many copies there are, is independent of the others', and has the drive's rate."""
    schedule = drive.schedule(20, 0.001, np.full(20, 0.5))
    trains = np.stack([[input_spikes(schedule, 1, step, m) for step in range(3000)] for m in range(4)])
    np.testing.assert_array_equal(trains[0], [input_spikes(schedule, 1, step) for step in range(3000)])
    rates = trains.mean(axis=(1, 2))
    np.testing.assert_allclose(rates, rates.mean(), rtol=0.1)
    correlations = np.corrcoef((trains - trains.mean(axis=(0, 1))).reshape(4, -1))
    assert np.abs(correlations[~np.eye(4, dtype=bool)]).max() < 0.03
    words = random_words(1, INPUT_STREAM, 7 + (2 << 32), 20)
    assert not np.array_equal(words, random_words(1, INPUT_STREAM, 7, 20))
    network = SpikingNetwork((SpikingLayer(np.zeros((20, 1))),))
    for copies in (1, 2, 4):
        counts = simulate(network, drive, None, 3000, mean_input=np.full(20, 0.5), seed=1, streams=copies).spike_counts
        np.testing.assert_array_equal(counts[0], trains[:copies].sum(axis=(0, 1)))


@given(networks(), drives, seeds)
@settings(max_examples=20)
def test_copies_know_nothing_of_each_other(network: SpikingNetwork, drive: Drive, seed: int) -> None:
    """Without plasticity the first copy of many is the ordinary night."""
    alone, spikes = night(network, drive, None, seed)
    many, first = night(network, drive, None, seed, streams=3)
    assert_same_spikes(spikes, first, network)
    for v, w in zip(alone.state.membrane_potentials(network), many.state.membrane_potentials(network), strict=True):
        np.testing.assert_allclose(v, w[0], rtol=0, atol=1e-12)


def test_members_with_and_without_streams_sleep_as_if_alone() -> None:
    rng = np.random.default_rng(0)
    network = SpikingNetwork((SpikingLayer(rng.normal(0.005, 0.02, (20, 8)), gain=80.0),))
    ensemble = [Member(network, UniformNoise(90.0), GatedHebbian(0.002, 0.001), streams=m) for m in (1, 3, 1, 8)]
    together = simulate_ensemble(ensemble, 200, threads=2, chunk=17)
    for member, result in zip(ensemble, together, strict=True):
        assert_identical(result, simulate_ensemble([member], 200)[0])
    assert len({result.spike_counts[0].sum() for result in together}) == 3


class Sampled(SpikeRecorder):
    """Also keeps the membranes of every fortieth step."""

    def __init__(self) -> None:
        super().__init__()
        self.membranes_every = 40
        self.samples: list[list[np.ndarray]] = []

    def sample_membranes(self, step: int, membranes: object) -> None:
        self.samples.append([v.copy() for v in membranes])


@BACKENDS
def test_a_log_takes_membranes_of_the_first_copy(backend: str) -> None:
    rng = np.random.default_rng(0)
    network = SpikingNetwork((SpikingLayer(rng.normal(0.005, 0.02, (20, 8)), gain=40.0),))
    logs = [Sampled(), Sampled()]
    for log, copies in zip(logs, (1, 3), strict=True):
        simulate(network, UniformNoise(90.0), None, STEPS, log=log, streams=copies, backend=backend)
    assert [v.shape for sample in logs[1].samples for v in sample] == [(8,)] * 4
    np.testing.assert_allclose(logs[0].samples, logs[1].samples, rtol=0, atol=1e-12)


def model_and_memory() -> tuple[object, ns.Memory]:
    import torch

    model = relu_network((16, 12, 5), init=0.5, generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, np.random.default_rng(1).random((60, 16), dtype=np.float32))
    return model, memory


def stage(copies: int, steps: int = 1500) -> ns.SpontaneousReplay:
    return ns.SpontaneousReplay(
        steps, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.004), 1.0, gain_scale=2.0, streams=copies
    )


def test_sleep_gives_rates_of_one_stream_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "FIRST_PIECE", 500)
    model, memory = model_and_memory()
    record = ns.sleep(model, memory, stage(4), seed=3, log=tmp_path / "whole.h5")
    single = ns.sleep(model_and_memory()[0], memory, stage(1), seed=3)
    assert record.spikes["input"] == pytest.approx(4 * single.spikes["input"], rel=0.05)
    assert record.rates["input"] == record.spikes["input"] / 16 / 1.5 / 4
    assert record.rates["input"] == pytest.approx(single.rates["input"], rel=0.05)

    again, seen = model_and_memory()[0], []

    def on_progress(steps: int) -> None:
        seen.append(steps)
        if len(seen) == 2:
            raise KeyboardInterrupt

    files = {"log": tmp_path / "night.h5", "checkpoint": tmp_path / "night.npz"}
    before = [p.detach().clone() for p in again.parameters()]
    with pytest.raises(KeyboardInterrupt):
        ns.sleep(again, memory, stage(4), seed=3, **files, on_progress=on_progress)
    assert all(p.equal(q) for p, q in zip(before, again.parameters(), strict=True))
    assert ns.sleep(again, memory, stage(4), seed=3, **files).spikes == record.spikes
    assert all(p.equal(q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    with ns.SpikeReader(tmp_path / "whole.h5") as a, ns.SpikeReader(files["log"]) as b:
        assert len(a.events("input")[0]) == single.spikes["input"]
        for population in a.populations:
            np.testing.assert_array_equal(a.events(population), b.events(population))


def test_a_checkpoint_of_other_streams_is_refused(tmp_path: Path) -> None:
    network = SpikingNetwork((SpikingLayer(np.full((20, 4), 0.1)),))
    drive, rule, path = UniformNoise(90.0), GatedHebbian(0.002, 0.001), tmp_path / "night.npz"
    simulate_resumable(Member(network, drive, rule, streams=2), 10, path)
    for other in (1, 3):
        with pytest.raises(InputError, match="checkpoint of another night"):
            simulate_resumable(Member(network, drive, rule, streams=other), 10, path)


@pytest.mark.parametrize("wrong", [0, -1, 1.0, 2.5, True, "3", None, 2**31 + 1, np.nan])
def test_wrong_streams(wrong: object) -> None:
    network = SpikingNetwork((SpikingLayer(np.zeros((20, 4))),))
    with pytest.raises(InputError, match="streams must be a whole number from 1 to"):
        simulate(network, UniformNoise(9.0), None, 1, streams=wrong)
    if wrong == 1.0 and wrong is not True:
        assert stage(wrong) == stage(1)
        return
    with pytest.raises(InputError, match="streams must be a whole number"):
        stage(wrong)


def test_a_state_of_other_streams_and_cuda_are_refused() -> None:
    network = SpikingNetwork((SpikingLayer(np.zeros((20, 4))),))
    state = simulate(network, UniformNoise(9.0), None, 1, streams=2).state
    for other in (1, 3):
        with pytest.raises(InputError, match=rf"membranes of shapes \[\(2, 4\)\].* and {other} stream"):
            simulate(network, UniformNoise(9.0), None, 1, streams=other, state=state)
    with pytest.raises(BackendError, match=r'"cuda" has one stream a network, got streams=2: use backend="cpu"'):
        simulate(network, UniformNoise(9.0), None, 1, streams=2, backend="cuda")
