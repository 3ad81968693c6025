"""Silenced neurons, and nights of several learnings, on the `cuda` backend."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import neurosleep as ns
from neurosleep.continual import learn_together
from neurosleep.networks import relu_network
from neurosleep.night import Simulate
from neurosleep.sims.ensemble import Simulation

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

X = np.random.default_rng(1).random((60, 16), dtype=np.float32)
Sleep = Callable[[Simulate], tuple[ns.SleepRecord, list[bytes], list[int]]]


def one(
    backend: str, seed: int, silenced: dict[str, list[int]] | None = None, steps: int = 16, hidden: int = 9
) -> Sleep:
    """Return what sleeps for one short night, and gives its record, the weights after it, and the progress told."""
    model = relu_network((16, hidden, 5), init=0.5, generator=torch.Generator().manual_seed(seed))
    memory = ns.Memory()
    memory.observe(model, X)
    rule = ns.GatedHebbian(0.02, 0.004)
    stage = ns.SpontaneousReplay(steps, ns.MeanRate(400.0), rule, 1.0, gain_scale=3.0, decay=0.2, silenced=silenced)
    told: list[int] = []

    def sleep(simulate: Simulate) -> tuple[ns.SleepRecord, list[bytes], list[int]]:
        record = ns.sleep(model, memory, stage, seed=seed, backend=backend, on_progress=told.append, simulate=simulate)
        return record, [p.detach().numpy().tobytes() for p in model.parameters()], told

    return sleep


def sleeps(backend: str) -> list[Sleep]:
    silenced = {"input": [0, 5], "hidden1": [2, 7]}
    return [one(backend, 1), one(backend, 2, silenced), one(backend, 3, steps=10), one(backend, 4, hidden=6)]


def test_together_and_silenced_as_on_the_cpu() -> None:
    expected = dict(learn_together(sleeps("cpu")))
    outcomes = dict(learn_together(sleeps("cuda"), threads=4))
    for index, outcome in outcomes.items():
        other = expected[index]
        assert not isinstance(outcome, Exception)
        assert not isinstance(other, Exception)
        assert outcome[0].spikes == other[0].spikes
        assert outcome[0].spikes["output"] > 0
        assert outcome[1] == other[1]
        assert sum(outcome[2]) == outcome[0].steps


def test_one_that_will_not_do_leaves_its_ensemble() -> None:
    outcomes = dict(
        learn_together(
            [one("cuda", 1, steps=4), one("cuda", 2, {"output": [9]}, 4), one("cuda", 3, steps=4)], threads=3
        )
    )
    assert [isinstance(outcomes[i], Exception) for i in range(3)] == [False, True, False]


def test_an_ensemble_that_cannot_begin_is_simulated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from neurosleep.continual import together

    simulate, sizes = together.simulate_ensemble, []

    def too_large(members: list[ns.Member], *arguments: object, **how: object) -> list[Simulation]:
        sizes.append(len(members))
        raise ns.BackendError("the GPU has no room")

    monkeypatch.setattr(together, "simulate_ensemble", too_large)
    outcomes = dict(learn_together([one("cuda", 1, steps=4), one("cuda", 2, steps=4)], threads=2))
    assert sizes == [2]
    assert simulate is not together.simulate_ensemble
    assert [outcomes[i][0].steps for i in range(2)] == [4, 4]  # type: ignore[index]
