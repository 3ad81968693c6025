"""Saved learners: one goes on from what was saved, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neurosleep.data.idx import DataError
from neurosleep.tripartite import NREM, REM, Architecture, Learner, ReplayNetwork, Settings

SMALL = Architecture(features=6, hidden=(8, 5), latents=3, classes=6)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learner of two tasks, in the second."""
    one = Learner(ReplayNetwork(SMALL), Settings(), 0)
    generator = torch.Generator().manual_seed(0)
    for number in (1, 2):
        labels = torch.tensor([2 * number - 2, 2 * number - 1]).repeat(10)
        one.learn_task(torch.rand(20, 6, generator=generator), labels, number, [NREM(3, 4), REM(2, 4)])
    path = tmp_path_factory.mktemp("saved") / "learner.pt"
    one.save(path)
    return path


def entry(*way: Any) -> Callable[[dict, Any], None]:
    def put(state: dict, value: Any) -> None:
        for key in way[:-1]:
            state = state[key]
        state[way[-1]] = value(state[way[-1]]) if callable(value) else value

    return put


def infinite(x: torch.Tensor) -> torch.Tensor:
    return x * torch.inf


NETWORK, MOMENT, GROUP = "encoder.0.weight", ("optimizer", "state", 0), ("optimizer", "param_groups", 0)
DAMAGED = {
    "weights that are no numbers": (("network", NETWORK), infinite, "encoder.0.weight has values that are not finite"),
    "weights of another shape": (("network", NETWORK), lambda x: x[:4].clone(), "size mismatch|fewer than"),
    "weights that are not there": (("network", NETWORK), lambda x: x[:1, :1].expand(8, 6), "all of its values"),
    "a larger architecture": (("architecture", "hidden"), (10**6, 10**6), "fewer than those of Architecture"),
    "an architecture of nothing": (("architecture", "latents"), 0, "latents must be a whole number"),
    "moments of another shape": ((*MOMENT, "exp_avg"), lambda x: x[:1].clone(), "exp_avg of its Adam does not belong"),
    "squares below 0": ((*MOMENT, "exp_avg_sq"), lambda x: x - 1, "exp_avg_sq of its Adam does not belong"),
    "moments that are no numbers": ((*MOMENT, "exp_avg"), lambda x: x * torch.nan, "not finite"),
    "another learning rate": ((*GROUP, "lr"), 7e35, "lr of its Adam must be 0.0001"),
    "other moments": ((*GROUP, "betas"), (0.9, 2.0), "betas of its Adam"),
    "a task that is no number": (("numbers", "task"), "2", "task must be a whole number"),
    "an iteration below 0": (("numbers", "iteration"), -1, "iteration must be a whole number from 0"),
    "more old classes than seen": (("numbers", "n_old"), 5, "5 old classes of 4 seen"),
    "no generator": (("generator",), None, "a generator that does not fit"),
    "a generator without numbers": (("generator", NETWORK), infinite, "not finite"),
    "classes that the network has not": (("seen",), lambda x: x + 3, "classes seen must be from 0 to 5"),
    "a class twice": (("seen",), lambda x: x * 0, "each once"),
    "classes in another type": (("seen",), lambda x: x.float(), "whole numbers"),
    "other sums": (("totals",), lambda x: x[:2].clone(), "sums of losses must be 3"),
    "seconds without end": (("numbers", "seconds"), float("inf"), "seconds must be at least 0"),
    "random numbers cut": (("random",), lambda x: x[:9].clone(), "not whole"),
    "a record of another kind": (("records",), [("object", {})], "no records 'object'"),
    "a record of text": (("records", 0, 1, "losses"), {"a": "b"}, "no numbers"),
    "a record without iterations": (("records", 0, 1, "iterations"), "some", "iterations must be a whole number"),
    "a look that is no row": (("looks", "accuracies"), [{"task": 1}], "cannot be read"),
    "a scale below 0": (("memory", "scales"), (-1.0,), "scales of its memory"),
    "inputs below none": (("memory", "count"), -3, "memory has seen -3 inputs"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_learner_that_none_saved_is_refused(saved: Path, tmp_path: Path, case: str) -> None:
    way, value, says = DAMAGED[case]
    state, path = torch.load(saved, weights_only=True), tmp_path / "learner.pt"
    entry(*way)(state, value)
    torch.save(state, path)
    with pytest.raises(DataError, match=says) as refused:
        Learner.load(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_what_was_saved_is_read(saved: Path, tmp_path: Path) -> None:
    one = Learner.load(saved)
    assert (one.task, one.n_old, one.seen.tolist()) == (2, 2, [0, 1, 2, 3])
    one.save(tmp_path / "again.pt")
    both = [torch.load(path, weights_only=True) for path in (saved, tmp_path / "again.pt")]
    assert str(both[0]) == str(both[1])


def test_a_flipped_byte_is_found(saved: Path, tmp_path: Path) -> None:
    """Torch does not look at the sums: it reads other weights without a word."""
    content, path = saved.read_bytes(), tmp_path / "learner.pt"
    weights = torch.load(saved, weights_only=True)["network"][NETWORK]
    at = content.index(weights.numpy().tobytes()) + 3
    path.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
    assert not torch.equal(torch.load(path, weights_only=True)["network"][NETWORK], weights)
    with pytest.raises(DataError, match=r"learner.pt: expected a file that a learner was saved to; .*Bad CRC"):
        Learner.load(path)
