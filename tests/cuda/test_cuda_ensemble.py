"""Ensembles on the `cuda` backend: each member as if alone, whatever the others are."""

import itertools

import numpy as np
import pytest

from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines import cuda
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, Simulation, simulate_ensemble
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.state import SimulationState

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

STEPS = 20


def network(seed: int, *, bias: bool = False, sizes: tuple[int, ...] = (16, 9, 5)) -> SpikingNetwork:
    rng = np.random.default_rng(seed)
    return SpikingNetwork(
        tuple(
            SpikingLayer(
                weights=rng.normal(0.005, 0.02, (n_pre, n_post)),
                gain=float(rng.uniform(40, 200)),
                threshold=float(rng.uniform(0.5, 2)),
                decay=float(rng.uniform(0.5, 1)),
                inhibition=float(rng.choice([0, 0.2])),
                bias=rng.normal(0, 0.05, n_post) if bias else None,
            )
            for n_pre, n_post in itertools.pairwise(sizes)
        )
    )


def members() -> list[Member]:
    """Members that differ in everything in which they may."""
    mean = np.linspace(0, 1, 16)
    recorded = [RecordedSpikes(np.random.default_rng(s).random((STEPS + s, 16)) < 0.2) for s in (1, 2)]
    return [
        Member(network(0), MeanRate(400.0), GatedHebbian(0.002, 0.0007), mean, seed=1, log=SpikeRecorder()),
        Member(network(1, bias=True), UniformNoise(90.0), Hebbian(0.002, 0.0007), seed=2**64 - 1, log=SpikeRecorder()),
        Member(network(2), recorded[0], GatedHebbian(0.01, 0.001, 0.004), seed=3),
        Member(network(3), MaskedMeanRate(900.0, 3, (4, 4)), None, mean, seed=4, log=SpikeRecorder()),
        Member(network(4), recorded[1], Hebbian(0.001, 0.001), log=SpikeRecorder()),
    ]


def assert_same(a: Simulation, b: Simulation) -> None:
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(a.state.membranes, b.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for c, d in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(c, d)


def test_an_ensemble_equals_its_members_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "EVENTS_PER_POPULATION", 30)  # members stop at different steps, where their room is full
    together, alone = members(), members()
    progress: list[int] = []
    results = simulate_ensemble(together, STEPS, backend="cuda", chunk=8, on_progress=progress.append)
    for a, b, result, expected in zip(together, alone, results, simulate_ensemble(alone, STEPS), strict=True):
        assert_same(result, expected)
        assert result.spike_counts[1].sum() > 0
        if isinstance(a.log, SpikeRecorder) and isinstance(b.log, SpikeRecorder):
            for population in range(3):
                np.testing.assert_array_equal(a.log.events(population), b.log.events(population))
    assert sum(progress) == len(together) * STEPS


class Sampler(SpikeRecorder):
    """Wants the spikes of the first hidden layer, and looks at membranes and weights on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.membranes_every, self.weights_every = 4, 6
        self.samples: list[list[np.ndarray]] = []

    def recording(self, step: int) -> tuple[tuple[bool, ...], int]:
        return (False, step < 10, False), 10 if step < 10 else 2**32

    def sample_membranes(self, step: int, membranes: list[np.ndarray]) -> None:
        self.samples.append([v.copy() for v in membranes])

    def snapshot_weights(self, step: int, weights: list[np.ndarray]) -> None:
        self.samples.append([w.copy() for w in weights])


def test_looking_at_a_night_changes_nothing() -> None:
    samplers = []
    for backend in ("cuda", "cpu"):
        samplers.append([Sampler() for _ in range(3)])
        watched = [
            Member(m.network, m.drive, m.plasticity, m.mean_input, m.seed, log=sampler)
            for m, sampler in zip(members(), samplers[-1], strict=False)
        ]
        for result, expected in zip(
            simulate_ensemble(watched, 14, backend=backend), simulate_ensemble(members()[:3], 14), strict=True
        ):
            assert_same(result, expected)
    for a, b in zip(*samplers, strict=True):
        for x, y in zip(a.samples, b.samples, strict=True):
            for v, w in zip(x, y, strict=True):
                np.testing.assert_array_equal(v, w)
        for population in range(3):
            np.testing.assert_array_equal(a.events(population), b.events(population))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Member(network(0, sizes=(16, 8, 5)), UniformNoise(9.0), None), "member 1.*same sizes, got .*8.*member 0.*9"),
        (Member(network(0).astype(np.float32), UniformNoise(9.0), None), "member 1.*one precision, got float32"),
        (
            Member(network(0), UniformNoise(9.0), None, state=SimulationState(3, [np.zeros(9), np.zeros(5)], [3, 3])),
            "member 1.*same step, got 3",
        ),
    ],
)
def test_members_must_be_alike(second: Member, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate_ensemble([Member(network(0), UniformNoise(9.0), None), second], 1, backend="cuda")


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import cuda as numba_cuda

    context = type(
        "Context", (), {"get_memory_info": lambda self: type("Info", (), {"free": cuda.EVENT_BYTES + 200_000})()}
    )
    monkeypatch.setattr(numba_cuda, "current_context", context)
    with pytest.raises(BackendError, match=r"^5 networks need .* GB .* simulate at most \d at a time"):
        simulate_ensemble(members(), 1, backend="cuda")
