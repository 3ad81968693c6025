"""Learnings at a time: each as it would be alone, whatever the others do."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.continual import History, Nights, Stream, class_incremental, learn, learn_together, learning
from neurosleep.continual.methods.ewc import EWC
from neurosleep.naps import Nap, alone
from neurosleep.networks import relu_network
from neurosleep.night import sleeping
from neurosleep.sims.ensemble import Simulation
from neurosleep.training import Trainer

SIZES = {"input": 24, "hidden1": 30, "output": 6}
REPLAY = ns.SpontaneousReplay(150, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.002), gain_scale=2.0, name="replay")


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
    model: nn.Module = field(init=False)
    slept: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    on_epoch: Callable[[], None] | None = None

    def arguments(self) -> dict[str, Any]:
        self.model = relu_network(
            (24, 30, 6), dropout=0.3, init=0.1, generator=torch.Generator().manual_seed(self.seed)
        )
        nights = None
        if self.stages is not None:
            self.memory = ns.Memory()
            spikes = None if self.log is None else ns.SpikeLog(self.log, SIZES, dt=0.001, membranes_every=40)
            self.spikes = spikes
            nights = Nights(lambda _: self.stages or [], self.memory, log=spikes, on_progress=self.slept.append)
        return {
            "model": self.model,
            "stream": STREAM,
            "trainer": Trainer(epochs=2, batch_size=10),
            "method": EWC(50.0) if self.ewc else None,
            "nights": nights,
            "seed": self.seed,
            "on_epoch": self.on_epoch or (lambda: self.epochs.append(1)),
        }

    def left(self, history: History | Exception) -> Any:
        """Everything that came out, but for times."""
        assert isinstance(history, History)
        if self.log is not None:
            assert self.spikes is not None
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
    longer = ns.SpontaneousReplay(1230, ns.UniformNoise(30.0), ns.Hebbian(0.01, 0.001), decay=0.9, gain_scale=3.0)
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
    expected = [run.left(learn(**run.arguments())) for run in by_themselves]
    together = runs(tmp_path / "together")
    going = [learning(**run.arguments()) for run in together]
    before = torch.get_rng_state()
    outcomes: dict[int, Any] = {}
    for index, outcome in learn_together(going, threads=threads):
        outcomes[index] = together[index].left(outcome)
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

    far = ns.SpontaneousReplay(150, ns.MaskedMeanRate(60.0), None)  # of another image size
    bad_log = Run(seed=1, stages=[REPLAY], log=tmp_path / "bad.h5")
    wrong = Run(seed=0, stages=[REPLAY, far], log=tmp_path / "wrong.h5")
    all_runs = [Run(seed=0, stages=[REPLAY]), wrong, Run(seed=2, stages=[REPLAY], on_epoch=broken), bad_log]
    expected = Run(seed=0, stages=[REPLAY])
    alone_values = expected.left(learn(**expected.arguments()))
    for threads in (1, 4):
        for run in all_runs:
            run.slept.clear(), run.epochs.clear()
            if run.log is not None:
                run.log.unlink(missing_ok=True)
        going = [learning(**run.arguments()) for run in all_runs]
        assert bad_log.spikes is not None
        bad_log.spikes.close()
        outcomes = dict(learn_together(going, threads=threads))
        assert all_runs[0].left(outcomes[0]) == alone_values
        assert isinstance(outcomes[1], ns.InputError)
        assert "784 pixels, but the network has 24 inputs" in str(outcomes[1])
        assert sum(wrong.slept) == 150  # it slept well until then
        assert repr(outcomes[2]) == "RuntimeError('in training')"
        assert isinstance(outcomes[3], ns.InputError)
        assert "bad.h5 is closed" in str(outcomes[3])
        assert wrong.spikes is not None
        wrong.spikes.close()


def test_a_failed_night_is_felt_where_it_is_slept() -> None:
    """What drives a nap sees its error, so that it can clean up, or go on without."""
    cleaned: list[str] = []

    def careful(drive: ns.RecordedSpikes | ns.UniformNoise) -> Generator[Nap, Simulation, str]:
        model = relu_network((24, 30, 6), generator=torch.Generator().manual_seed(0))
        memory = ns.Memory()
        memory.observe(model, STREAM.joint_inputs)
        try:
            record = yield from sleeping(model, memory, ns.SpontaneousReplay(50, drive, None))
        except ns.InputError as error:
            return f"awake: {error}"
        finally:
            cleaned.append("clean")
        return f"slept {record.steps}"

    short = ns.RecordedSpikes(np.zeros((20, 24)))
    for threads in (1, 2):
        outcomes = dict(learn_together([careful(short), careful(ns.UniformNoise(5.0))], threads=threads))
        assert outcomes == {
            0: "awake: the recorded input has 20 steps, but step 50 was asked for",
            1: "slept 50",
        }
    assert cleaned == ["clean"] * 4
    with pytest.raises(ns.InputError, match="has 20 steps"):
        alone(careful(short))
    assert len(cleaned) == 5


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_all(threads: int, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    def others(index: int) -> Generator[Nap, Simulation, None]:
        model = relu_network((24, 30, 6), generator=torch.Generator().manual_seed(0))
        memory = ns.Memory()
        memory.observe(model, STREAM.joint_inputs)
        stage = ns.SpontaneousReplay(10**7, ns.UniformNoise(5.0), None)
        on_progress = stop if index == 1 or threads == 1 else None
        yield from sleeping(model, memory, stage, log=tmp_path / f"{threads}-{index}.h5", on_progress=on_progress)

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        list(learn_together([others(0), others(1), others(2)], threads=threads))
    assert torch.equal(torch.get_rng_state(), state)
    with ns.SpikeReader(tmp_path / f"{threads}-0.h5") as log:  # closed where it was
        assert not log.complete
        assert 0 < log.complete_until < 10**7
    assert not (tmp_path / f"{threads}-2.h5").exists()


def test_whoever_looks_away_ends_all(tmp_path: Path) -> None:
    going = [learning(**Run(seed=seed, stages=[REPLAY]).arguments()) for seed in range(4)]
    state = torch.get_rng_state()
    outcomes = learn_together(going, threads=2)
    next(outcomes)
    outcomes.close()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(learning.gi_frame is None for learning in going)


def test_wrong_number_of_threads() -> None:
    with pytest.raises(ns.InputError, match="threads must be at least 1, got 0"):
        learn_together([], threads=0)
    assert list(learn_together([])) == []
