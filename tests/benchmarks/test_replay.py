"""The benchmark of replay compares ways to do the same."""

import json
from types import SimpleNamespace

import pytest
import torch

from neurosleep.benchmarks import replay
from neurosleep.tripartite import NREM, REM, Architecture, Interleaved, Learner, ReplayNetwork
from neurosleep.tripartite.step import replay_losses

SMALL = Architecture(features=1024, hidden=(24, 20), latents=5, classes=20)
OURS = ("ours, float32", "ours, float32 with factors of products in bfloat16", "ours, bfloat16 (autocast)")


def test_two_passes_have_the_loss_and_gradient_of_one_joint_pass() -> None:
    learner = Learner(ReplayNetwork(Architecture(12, (10, 8), 3, 6)))
    learner.begin_task([0, 1])
    learner.begin_task([2, 3])
    learner.begin_task([4, 5])
    x, y = torch.randn(30, 12), torch.arange(30) % 2 + 4
    random = torch.Generator().manual_seed(0)
    random.set_state(learner.random.get_state())
    weights = torch.tensor([1.0, 1 / 3072, 1.0])
    joint = replay_losses(learner, Interleaved(1, NREM(1, 16), REM(1, 8)), x, y)
    (joint * weights).sum().backward()
    gradients = [p.grad.clone() for p in learner.network.parameters()]
    learner.network.zero_grad()
    drawn = torch.randint(30, (16,), generator=random)
    dreams = learner.generator.dream(8, REM(1, 8), random)
    total = replay.two_passes(learner, x[drawn], y[drawn], dreams, torch.randn(24, 3, generator=random))
    total.backward()
    torch.testing.assert_close(total, (joint * weights).sum())
    for expected, p in zip(gradients, learner.network.parameters(), strict=True):
        torch.testing.assert_close(p.grad, expected, rtol=1e-4, atol=1e-7)


def test_every_contestant_learns_and_is_timed() -> None:
    rows = replay.measure(SMALL, batch_size=16, iterations=2, rounds=2)
    assert rows[0]["name"] == replay.REFERENCE
    assert [row["name"] for row in rows] == [replay.REFERENCE, *OURS]
    assert rows[0]["times_faster"]["median"] == 1
    for row in rows:
        ratios = [a / b for a, b in zip(rows[0]["rounds_ms"], row["rounds_ms"], strict=True)]
        assert row["times_faster"]["median"] == pytest.approx(sum(ratios) / 2)
    assert all(len(row["rounds_ms"]) == 2 and min(row["rounds_ms"]) > 0 for row in rows)
    ways = replay.contestants(SMALL, batch_size=16, n_images=64)
    public = ways[replay.REFERENCE]
    before = [p.clone() for p in public.learner.network.parameters()]
    public(3)
    assert all((p != old).any() for p, old in zip(public.learner.network.parameters(), before, strict=True) if p.any())


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a test adds to `now`."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(replay, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.mark.parametrize("name", [replay.REFERENCE, *OURS])
def test_every_iteration_is_counted_and_what_a_night_does_once_is_not(monkeypatch, clock, name) -> None:
    looks: list[str] = []
    look, step = Learner._keep_if_finite, torch.optim.Adam.step

    def slow_look(self, where: str) -> None:
        clock.now += 100
        looks.append(where)
        look(self, where)

    def slow_step(self) -> None:
        clock.now += 1
        step(self)

    monkeypatch.setattr(Learner, "_keep_if_finite", slow_look)
    monkeypatch.setattr(torch.optim.Adam, "step", slow_step)
    ways = replay.contestants(SMALL, batch_size=8, n_images=16)
    looks.clear()
    assert ways[name](3) == 3
    assert bool(looks) == (name in OURS)


@pytest.mark.parametrize("rounds", [None, 1])
def test_results_are_written(tmp_path, monkeypatch, capsys, rounds) -> None:
    monkeypatch.setattr(replay, "Architecture", lambda: SMALL)
    threads = torch.get_num_threads()
    replay.run(True, rounds, tmp_path / "out")
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert found["contestants"][0]["name"] == replay.REFERENCE
    assert len(found["contestants"][0]["rounds_ms"]) == (rounds or 2)
    assert "times faster" in capsys.readouterr().out
