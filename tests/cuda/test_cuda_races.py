"""No two threads touch the same place between two barriers, unless both read, or both change it atomically.

On a GPU such a race may go well a million times. Here the simulator's arrays note who touches what.
"""

import os
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, simulate_ensemble
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import Adaptation, Neurons
from neurosleep.sims.operators import AveragePool, MaxPool
from neurosleep.sims.plastic_graph import GraphLayer, Pathway, PlasticGraph, Sliding, Weights
from neurosleep.sims.projections import Projection
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")
if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    pytest.skip("only the simulator sees every access", allow_module_level=True)

from numba import cuda


class Watch:
    """Remembers of every place who has touched it since the last barrier, and which block has in this launch."""

    def __init__(self) -> None:
        self.since_barrier: dict[int, tuple[object, set[tuple[int, str]]]] = {}
        self.blocks: dict[int, tuple[object, object, str]] = {}
        self.races: list[str] = []
        self.atomic = threading.local()
        self.n = 0

    def touch(self, array: np.ndarray, index: object, how: str, shared: bool) -> None:
        from numba.cuda.simulator import kernel

        thread = threading.current_thread()
        if not hasattr(thread, "blockIdx"):
            return  # the host
        if getattr(self.atomic, "now", False):
            how = "atomic"
        index = index if isinstance(index, tuple) else (index,)
        if not all(0 <= int(i) < n for i, n in zip(index, array.shape, strict=True)):
            self.races.append(f"{array.dtype} {array.shape} has no place {index}")
        self.n += 1
        place = array.ctypes.data + sum(int(i) * s for i, s in zip(index, array.strides, strict=True))
        now = (thread._manager, thread._manager.barriers)
        before, who = self.since_barrier.get(place, (now, set()))
        who = who if before == now else set()
        who.add((thread.thread_id, how))
        self.since_barrier[place] = now, who
        if len({number for number, _ in who}) > 1 and {kind for _, kind in who} not in ({"read"}, {"atomic"}):
            self.races.append(f"{array.dtype} {array.shape} at {index}, threads of a block: {sorted(who)}")
        if shared:
            return
        launch, block, kind = self.blocks.get(place, (None, None, "read"))
        if launch is not kernel._kernel_context:
            kind = "read"
        elif block is not thread._manager and {kind, how} not in ({"read"}, {"atomic"}):
            self.races.append(f"{array.dtype} {array.shape} at {index}, blocks: {kind} and {how}")
        self.blocks[place] = kernel._kernel_context, thread._manager, how if kind == "read" else kind


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    from numba.cuda.simulator import kernelapi
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    seen = Watch()

    class SharedArray(FakeCUDAArray):
        pass

    def shared_array(self: object, shape: object, dtype: object) -> SharedArray:
        arrays = self.__dict__.setdefault("watched", {})
        return arrays.setdefault(sys._getframe(1).f_lineno, SharedArray(np.zeros(shape, dtype)))

    def watched(method: Callable[..., object], how: str) -> Callable[..., object]:
        def access(self: FakeCUDAArray, index: object, *value: object) -> object:
            seen.touch(self._ary, index, how, isinstance(self, SharedArray))
            return method(self, index, *value)

        return access

    def atomically(method: Callable[..., object]) -> Callable[..., object]:
        def access(*arguments: object) -> object:
            seen.atomic.now = True
            try:
                return method(*arguments)
            finally:
                seen.atomic.now = False

        return access

    monkeypatch.setattr(kernelapi.FakeCUDAShared, "array", shared_array)
    monkeypatch.setattr(FakeCUDAArray, "__getitem__", watched(FakeCUDAArray.__getitem__, "read"))
    monkeypatch.setattr(FakeCUDAArray, "__setitem__", watched(FakeCUDAArray.__setitem__, "write"))
    for name in ("add", "or_"):
        monkeypatch.setattr(kernelapi.FakeCUDAAtomic, name, atomically(getattr(kernelapi.FakeCUDAAtomic, name)))
    return seen


@cuda.jit
def racy(a: np.ndarray) -> None:
    a[cuda.threadIdx.x] = 1
    a[4] += a[cuda.threadIdx.x]


@cuda.jit
def clean(a: np.ndarray) -> None:
    a[cuda.threadIdx.x] = 1
    cuda.syncthreads()
    cuda.atomic.add(a, 4, a[cuda.threadIdx.x ^ 1])


def test_the_watch_sees_races(watch: Watch) -> None:
    clean[1, 4](np.zeros(5))
    assert watch.n > 0
    assert not watch.races
    racy[1, 4](np.zeros(5))
    assert watch.races


drives = [
    MeanRate(300.0),
    MaskedMeanRate(900.0, 3, (7, 10)),
    RecordedSpikes(np.random.default_rng(5).random((30, 70)) < np.linspace(0, 0.3, 30)[:, np.newaxis]),
]


@pytest.mark.parametrize("drive", drives, ids=lambda drive: type(drive).__name__)
@pytest.mark.parametrize("rule", [None, GatedHebbian(0.002, 0.0007), Hebbian(0.002, 0.0007)])
def test_no_thread_races_another(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, drive: Drive, rule: PlasticityRule | None
) -> None:
    from neurosleep.sims.cuda_kernels import separable
    from neurosleep.sims.engines import cuda as backend

    monkeypatch.setattr(backend, "LIST_ROOM", 1)
    monkeypatch.setattr(backend, "EVENTS_PER_POPULATION", 90)
    monkeypatch.setattr(separable, "DEBT", 3)
    rng = np.random.default_rng(0)
    members = []
    for seed in range(2):
        biased = SpikingLayer(rng.normal(0, 0.02, (66, 6)).round(2), gain=40.0, bias=rng.normal(0, 0.1, 6))
        layers = (SpikingLayer(rng.normal(0.005, 0.02, (70, 66)), gain=40.0, inhibition=0.1 * seed), biased)
        members.append(
            Member(
                SpikingNetwork(layers), drive, rule, np.linspace(0, 1, 70), seed, log=SpikeRecorder(),
                downscaling=MagnitudePruning(0.2) if seed else None, downscale_every=6 if seed else None,
            )
        )  # fmt: skip
    results = simulate_ensemble(members, 10, backend="cuda", chunk=4)
    assert not watch.races, watch.races[:3]
    assert watch.n > 10_000
    assert all(counts.sum() > 0 for counts in results[0].spike_counts)


def test_no_thread_races_another_by_rules_of_ones_own(watch: Watch) -> None:
    rng = np.random.default_rng(0)
    members = []
    for seed, rule in enumerate((ns.TripletSTDP(0.01, 0.1, 0.1, 0.02), ns.TripletSTDP(0.1, 0.02, 0.02, 0.1))):
        layers = tuple(SpikingLayer(rng.normal(0.1, 0.2, size), gain=8.0) for size in ((18, 11), (11, 5)))
        members.append(Member(SpikingNetwork(layers), MeanRate(300.0), rule, np.linspace(0, 1, 18), seed))
    results = simulate_ensemble(members, 8, backend="cuda")
    assert not watch.races, watch.races[:3]
    assert watch.n > 10_000
    assert all(counts.sum() > 0 for counts in results[0].spike_counts)


def test_no_thread_races_another_with_features(watch: Watch) -> None:
    rng = np.random.default_rng(0)
    layers = tuple(SpikingLayer(rng.normal(0.1, 0.2, size), gain=8.0, inhibition=0.1) for size in ((18, 11), (11, 5)))
    ways = tuple(
        Projection(*ends, rng.normal(0, 0.2, shape), delay, plastic=True)
        for *ends, shape, delay in (
            ("output", "hidden1", (5, 11), 2),
            ("hidden1", "hidden1", (11, 11), 1),
            ("input", "output", (18, 5), 1),
        )
    )
    network = SpikingNetwork(layers, neurons=Neurons(1, Adaptation(0.2, 0.01), 0.2, lateral=0.1), projections=ways)
    drive = {"input": UniformNoise(300.0), "hidden1": Kicks(UniformNoise(200.0), 0.8)}
    members = [Member(network, drive, ns.PairSTDP(0.01, 0.01 * seed), seed=seed) for seed in range(2)]
    results = simulate_ensemble(members, 6, backend="cuda")
    assert not watch.races, watch.races[:3]
    assert watch.n > 10_000
    assert all(counts.sum() > 0 for counts in results[0].spike_counts)


def test_no_thread_races_another_in_graphs(watch: Watch) -> None:
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Weights:
        return Weights(name, rng.normal(0.1, 0.2, shape))

    same, pool, average = (
        Sliding((1, 1), (1, 1), (1, 1)),
        MaxPool((2, 2), (2, 2), (0, 0)),
        AveragePool((2, 2), (2, 2), (0, 0)),
    )
    to_b = (
        Pathway("a", "b", same, (pool, average), np.array([1.0, -2.0, 1.0])),
        Pathway("a", "b", same, (), np.asarray(1.0), (average, average)),
        Pathway("a", None, None, (pool, pool), np.asarray(0.4)),
    )
    network = PlasticGraph(
        (2, 4, 4),
        (weights("a", 3, 2, 3, 3), weights("b", 3, 3, 3, 3), weights("c", 3, 7)),
        (
            GraphLayer("a", (3, 4, 4), (Pathway("input", "a", same),), 0.3, inhibition=0.1),
            GraphLayer("b", (3, 1, 1), to_b, 0.2, bias=np.full((3, 1, 1), 0.1)),
            GraphLayer("c", (7,), (Pathway("b", "c", gain=np.asarray(3.0)),), 0.2),
        ),
    )
    members = [Member(network, UniformNoise(300.0), GatedHebbian(0.01, 0.01), seed=seed) for seed in range(2)]
    results = simulate_ensemble(members, 8, backend="cuda")
    assert not watch.races, watch.races[:3]
    assert watch.n > 10_000
    assert all(counts.sum() > 0 for counts in results[0].spike_counts)
