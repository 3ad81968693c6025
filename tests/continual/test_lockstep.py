"""Learnings at a time: each as it would be alone, whatever the others do."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.continual import History, Nights, Stream, class_incremental, learn, learn_together, together
from neurosleep.continual.methods.ewc import EWC
from neurosleep.networks import relu_network
from neurosleep.night import Asleep, Simulate
from neurosleep.sims.ensemble import Simulation, simulate_ensemble
from neurosleep.training import Trainer

SIZES = {"input": 24, "hidden1": 30, "output": 6}
REPLAY = ns.SpontaneousReplay(150, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.002), 1.0, gain_scale=2.0, name="replay")
NOISE = ns.UniformNoise(5.0)


def stream() -> Stream:
    """Six classes, each a bright stretch of its own among 24 inputs."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 30)
    rng.shuffle(labels)
    inputs = rng.random((180, 24), dtype=np.float32) * 0.3
    for i, label in enumerate(labels):
        inputs[i, 4 * label : 4 * label + 4] += 0.6
    return class_incremental(inputs[60:], labels[60:], inputs[:60], labels[:60])


STREAM = stream()


@dataclass
class Run:
    """One learning: what it is made of, and what it leaves."""

    seed: int = 0
    stages: list[Any] | None = None
    ewc: bool = False
    log: Path | None = None
    backend: Any = "cpu"
    model: nn.Module = field(init=False)
    spikes: Any = None
    slept: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    on_epoch: Callable[[], None] | None = None

    def learn(self, simulate: Simulate = Asleep.simulate) -> History:
        self.model = relu_network(
            (24, 30, 6), dropout=0.3, init=0.1, generator=torch.Generator().manual_seed(self.seed)
        )
        nights = None
        if self.stages is not None:
            self.memory = ns.Memory()
            if self.log is not None:
                self.spikes = ns.SpikeLog(self.log, SIZES, dt=0.001, membranes_every=40)
            nights = Nights(
                lambda _: self.stages or [],
                self.memory,
                self.backend,
                log=self.spikes,
                on_progress=self.slept.append,
                simulate=simulate,
            )
        return learn(
            self.model,
            STREAM,
            Trainer(epochs=2, batch_size=10),
            method=EWC(50.0) if self.ewc else None,
            nights=nights,
            seed=self.seed,
            on_epoch=self.on_epoch or (lambda: self.epochs.append(1)),
        )

    def left(self, history: History | Exception) -> Any:
        """Everything that came out, but for times."""
        assert isinstance(history, History)
        if self.log is not None:
            self.spikes.close()
        values = history.to_dict()
        for night in values["nights"]:
            assert night.pop("seconds") > 0
        weights = [p.detach().numpy().tobytes() for p in self.model.parameters()]
        spikes = None
        if self.log is not None:
            with ns.SpikeReader(self.log) as log:
                assert log.complete
                spikes = [log.raster(p).tobytes() for p in SIZES], [e.name for e in log.epochs]
                spikes = *spikes, log.membranes("hidden1")[1].tobytes()
        return values, weights, self.slept, self.epochs, spikes


def runs(folder: Path) -> list[Run]:
    longer = ns.SpontaneousReplay(1230, ns.UniformNoise(30.0), ns.Hebbian(0.01, 0.001), 1.0, decay=0.9, gain_scale=3.0)
    return [
        Run(seed=0),
        Run(seed=1, stages=[REPLAY], log=folder / "one.h5"),
        Run(seed=1, stages=[longer, ns.MagnitudePruning(0.1), REPLAY]),
        Run(seed=2, stages=[REPLAY], log=folder / "two.h5"),
        Run(seed=3, ewc=True),
        Run(seed=3, ewc=True, stages=[longer], log=folder / "three.h5"),
        Run(seed=4, stages=[]),
    ]


@pytest.mark.parametrize("threads", [1, 2, 3, 16, None])
def test_each_as_if_alone(threads: int | None, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "together").mkdir()
    by_themselves = runs(tmp_path / "alone")
    expected = [run.left(run.learn()) for run in by_themselves]
    all_runs = runs(tmp_path / "together")
    before = torch.get_rng_state()
    outcomes: dict[int, Any] = {}
    for index, outcome in learn_together([run.learn for run in all_runs], threads=threads):
        outcomes[index] = all_runs[index].left(outcome)
        assert torch.equal(torch.get_rng_state(), before)  # of whoever asked
        torch.rand(1)  # and what is drawn meanwhile does not matter
        before = torch.get_rng_state()
    assert sorted(outcomes) == list(range(7))
    for index, values in enumerate(expected):
        assert outcomes[index] == values, index
    assert len({values[1][0] for values in expected}) == 7  # they are seven different learnings
    if threads == 1:
        assert list(outcomes) == list(range(7))  # one after the other


def test_a_learning_that_fails_does_not_sink_the_others(tmp_path: Path) -> None:
    def broken() -> None:
        raise RuntimeError("in training")

    far = ns.SpontaneousReplay(150, ns.MaskedMeanRate(60.0), None, 1.0)  # of another image size
    bad_log = Run(seed=1, stages=[REPLAY], log=tmp_path / "bad.h5", on_epoch=lambda: bad_log.spikes.close())
    wrong = Run(seed=0, stages=[REPLAY, far], log=tmp_path / "wrong.h5")
    all_runs = [Run(seed=0, stages=[REPLAY]), wrong, Run(seed=2, stages=[REPLAY], on_epoch=broken), bad_log]
    expected = Run(seed=0, stages=[REPLAY])
    alone_values = expected.left(expected.learn())
    for threads in (1, 4):
        for run in all_runs:
            run.slept.clear(), run.epochs.clear()
            if run.spikes is not None:
                run.spikes.close()  # of the learning that failed
                run.log.unlink()
        outcomes = dict(learn_together([run.learn for run in all_runs], threads=threads))
        assert all_runs[0].left(outcomes[0]) == alone_values
        assert isinstance(outcomes[1], ns.InputError)
        assert "784 pixels, but the network has 24 inputs" in str(outcomes[1])
        assert (wrong.slept, wrong.epochs) == ([], [])  # its nights are tried before it learns anything
        assert repr(outcomes[2]) == "RuntimeError('in training')"
        assert isinstance(outcomes[3], ns.InputError)
        assert "bad.h5 is closed" in str(outcomes[3])


def napping(drive: Any = None, **how: Any) -> ns.SleepRecord:
    """Sleep once."""
    model = relu_network((24, 30, 6), generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, STREAM.joint_inputs)
    return ns.sleep(model, memory, ns.SpontaneousReplay(how.pop("steps", 50), drive or NOISE, None, 1.0), **how)


def test_a_failed_night_is_felt_where_it_is_slept() -> None:
    """Who sleeps sees the error of a night, so that it can clean up, or go on without."""

    def careful(drive: ns.RecordedSpikes | ns.UniformNoise) -> Callable[[Simulate], str]:
        def learning(simulate: Simulate) -> str:
            try:
                return f"slept {napping(drive, simulate=simulate).steps}"
            except ns.InputError as error:
                return f"awake: {error}"

        return learning

    short = ns.RecordedSpikes(np.zeros((20, 24)))
    for threads in (1, 2):
        outcomes = dict(learn_together([careful(short), careful(NOISE)], threads=threads))
        assert outcomes == {
            0: "awake: the recorded input has 20 steps, but step 50 was asked for",
            1: "slept 50",
        }
    assert careful(short)(Asleep.simulate) == outcomes[0]


@pytest.mark.parametrize("threads", [5, 7])
def test_nights_of_one_shape_are_one_ensemble(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the GPU is a CPU; what the GPU makes of it is in tests/cuda."""
    sizes: list[int] = []

    def ensemble(members: list[ns.Member], steps: int, *, backend: str, **how: Any) -> list[Simulation]:
        assert backend == "cuda"
        assert threading.current_thread() is threading.main_thread()
        sizes.append(len(members))
        return simulate_ensemble(members, steps, **how)

    monkeypatch.setattr(together, "simulate_ensemble", ensemble)
    longer = replace(REPLAY, steps=1200)
    nights = [[REPLAY], [longer], [REPLAY], [longer, REPLAY], [REPLAY], [REPLAY], [REPLAY, REPLAY]]
    expected = [Run(seed=seed, stages=stages) for seed, stages in enumerate(nights)]
    values = [run.left(run.learn()) for run in expected]
    runs = [Run(seed=seed, stages=stages, backend="cuda") for seed, stages in enumerate(nights)]
    for index, outcome in learn_together([run.learn for run in runs], threads=threads):
        assert not isinstance(outcome, Exception)
        assert all(night.backend == "cuda" for night in outcome.nights)
        outcome.nights = [replace(night, backend="cpu") for night in outcome.nights]
        left, same = runs[index].left(outcome), values[index]
        assert (left[:2], sum(left[2]), left[3]) == (same[:2], sum(same[2]), same[3])
    assert sum(sizes) == sum(3 * len(stages) for stages in nights)  # three tasks
    if threads == 7:  # six rounds: REPLAY and longer in the first three and the fifth, REPLAY alone in the others
        assert sorted(sizes) == sorted([5, 2, 6, 1, 5, 2, 2, 1, 1, 2])


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_all(threads: int, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    def other(index: int) -> Callable[[Simulate], ns.SleepRecord]:
        on_progress = stop if index == 1 or threads == 1 else None
        log = tmp_path / f"{threads}-{index}.h5"
        return lambda simulate: napping(steps=10**7, log=log, on_progress=on_progress, simulate=simulate)

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        list(learn_together([other(0), other(1), other(2)], threads=threads))
    assert torch.equal(torch.get_rng_state(), state)
    with ns.SpikeReader(tmp_path / f"{threads}-0.h5") as log:  # closed where it was
        assert not log.complete
        assert 0 < log.complete_until < 10**7
    assert not (tmp_path / f"{threads}-2.h5").exists()


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_whoever_looks_away_ends_all(backend: Any, tmp_path: Path) -> None:
    """Those that sleep for ever, and those that wait for the others on a GPU."""
    ended: list[int] = []

    def endless(index: int) -> Callable[[Simulate], Any]:
        def learning(simulate: Simulate) -> Any:
            try:
                return None if index == 0 else napping(steps=10**9, backend=backend, simulate=simulate)
            finally:
                ended.append(index)

        return learning

    state = torch.get_rng_state()
    outcomes = learn_together([endless(index) for index in range(3)] + [lambda simulate: time.sleep(1)], threads=4)
    assert next(outcomes) == (0, None)
    outcomes.close()
    assert torch.equal(torch.get_rng_state(), state)
    assert set(ended) <= {0, 1, 2}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("learning")]


def test_wrong_number_of_threads() -> None:
    with pytest.raises(ns.InputError, match="threads must be at least 1, got 0"):
        learn_together([], threads=0)
    assert list(learn_together([])) == []
