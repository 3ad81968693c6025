"""Learns a stream of tasks by nights on a `ReplayNetwork`; can be stopped at any iteration and goes on identically."""

import os
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from neurosleep.labelled import checked_inputs, checked_labels
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import DownscalingRule
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import DivergenceError
from neurosleep.tripartite.generator import Generator
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.rows import Row
from neurosleep.tripartite.stages import Night, Settings, Stage, StageRecord, Training
from neurosleep.tripartite.state import State
from neurosleep.tripartite.step import PARTS, replay_losses

CHECK = 100
"""Iterations between two looks at whether loss and weights are finite."""
OnIteration = Callable[[int, ReplayNetwork], None]


class Learner(State):
    """Learns task by task; what it needs for that, and how it is made, is its `State`."""

    def __init__(self, network: ReplayNetwork, settings: Settings | None = None, seed: int = 0) -> None:
        super().__init__(network, settings, seed)
        weights = self.settings.reconstruction_weight, self.settings.divergence_weight / self.settings.divergence_scale
        self._weights = torch.tensor([*weights, 1.0], device=self.device)
        self._generator_weights = torch.tensor([*weights, 0.0], device=self.device)
        self._good: tuple[Any, torch.Tensor, dict[str, list[Row]], tuple[int, int, float, int]] | None = None

    def begin_task(self, classes: list[int]) -> None:
        """Go on to a task of new classes.

        Raises
        ------
        InputError
            If a class is not one of the network's outputs, or was learned before.
        """
        n = self.network.architecture.classes
        for c in classes:
            if not 0 <= c < n or c in self.seen:
                raise InputError(f"class {c} must be new and one of the network's {n} outputs, 0 to {n - 1}")
        if not classes or len(set(classes)) < len(classes):
            raise InputError(f"a task needs classes, each once, got {classes}")
        self.n_old = len(self.seen)
        self.seen = torch.cat([self.seen, torch.tensor(classes, device=self.device)])
        self.task += 1
        self.stage = self.iteration = 0
        self._copy_generator()
        if self.settings.reset_adam:
            self.optimizer = self.new_optimizer()

    def learn_task(
        self,
        inputs: torch.Tensor | ArrayLike,
        labels: torch.Tensor | ArrayLike,
        number: int,
        stages: Night | Sequence[Stage],
        **options: Any,
    ) -> None:
        """Learn the task of a number, 1 for the first: `begin_task` with the classes in `labels`, then `sleep`.

        After `load`, the same call goes on within the task; a task that is finished is left as it is. Any other task is
        refused. The rest is as of `sleep`.
        """
        if number not in (self.task, self.task + 1) or number < 1:
            raise InputError(f"expected task {self.task + 1} or what is left of {self.task}, got task {number!r}")
        night = stages if isinstance(stages, Night) else Night(stages)
        inputs, labels = self._taken(inputs, labels)
        if number > self.task:
            self._check_inputs(inputs, labels)
            self.begin_task(sorted(set(labels.tolist())))
        self.sleep(night, inputs, labels, **options)

    def sleep(
        self,
        night: Night,
        inputs: torch.Tensor | ArrayLike,
        labels: torch.Tensor | ArrayLike,
        *,
        on_iteration: OnIteration | None = None,
        every: int = 1,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 60.0,
        log: SpikeLog | None = None,
    ) -> None:
        """Go through a night, or through what is left of it.

        Parameters
        ----------
        night
            Its stages.
        inputs, labels
            (n, features) and (n,) of the present task, on the network's device; features as they are, see
            `Settings.standardise`.
        on_iteration
            Called with the number of iterations done in this task and the network, which it must not change: after
            every step whose number can be divided by `every`, after the last one of a stage, and once after every stage
            without steps. Steps since the last checkpoint are done again after a kill, and called again.
        every
            How often `on_iteration` is called.
        checkpoint
            A file that is written every `checkpoint_every` seconds and at the end, whole or not at all. If the night is
            stopped, by Ctrl-C or a kill, `Learner.load` gives a learner that goes on as if it had not been.
        log
            Where the spikes of `SpontaneousReplay` go.

        Raises
        ------
        InputError
            If inputs or labels do not fit.
        DivergenceError
            If the loss or a weight is not finite. The learner is then back where all was last seen to be finite, at
            most 100 steps before, and the checkpoint is what was last written.
        """
        if every < 1 or not checkpoint_every >= 0:
            raise InputError(
                f"every must be at least 1 and checkpoint_every at least 0 s, got {every!r} and {checkpoint_every!r}"
            )
        if checkpoint is not None and not Path(checkpoint).parent.is_dir():
            raise InputError(f"checkpoint {checkpoint}: there is no folder {Path(checkpoint).parent}; create it first")
        inputs, labels = self._taken(inputs, labels)
        self._check_inputs(inputs, labels)
        self._check_labels(labels)
        if self.settings.standardise and (self.task, self.stage, self.iteration) == (1, 0, 0):
            self.network.standardise_by(inputs)
        inputs = self.network.standardised(inputs)
        if self.network.architecture.class_means and (self.stage, self.iteration) == (0, 0):
            self.network.keep_means(inputs, labels)
        self._good = None
        self._keep_if_finite("before its first step")
        stages = list(night)
        if self.stage > len(stages):
            raise InputError(f"this learner is in stage {self.stage + 1} of its night, but the night has {len(stages)}")
        done = self.steps_done(night)
        saved = time.monotonic()
        while self.stage < len(stages):
            stage = stages[self.stage]
            if isinstance(stage, Training):
                begin = time.perf_counter()
                while self.iteration < stage.iterations:
                    self.totals += self._step(stage, inputs, labels)
                    self.iteration += 1
                    done += 1
                    last = self.iteration == stage.iterations
                    if on_iteration is not None and (done % every == 0 or last):
                        on_iteration(done, self.network)
                    due = checkpoint is not None and time.monotonic() - saved >= checkpoint_every
                    if due or last or self.iteration % CHECK == 0:
                        self._keep_if_finite(f"stage {stage.name}, by iteration {self.iteration}")
                    if checkpoint is not None and due:
                        now = time.perf_counter()
                        self.seconds += now - begin
                        self._checkpoint(checkpoint, log)
                        begin, saved = now, time.monotonic()
                self.seconds += time.perf_counter() - begin
                self._finish(stage)
            else:
                slept = any(isinstance(s, SpontaneousReplay) for s in stages[: self.stage])
                self._other(stage, inputs, log, slept)
                if on_iteration is not None:
                    on_iteration(done, self.network)
            self.stage += 1
            self._keep_if_finite(f"after stage {stage.name}")
        if checkpoint is not None:
            self._checkpoint(checkpoint, log)

    def _checkpoint(self, path: str | os.PathLike[str], log: SpikeLog | None) -> None:
        """Write the state, and before it all spikes of what it says was slept: the log may not be behind."""
        if log is not None:
            log.flush()
        self.save(path)

    def steps_done(self, night: Night) -> int:
        """Return the steps of the optimizer that were done in this task, which is learned by a night."""
        before = list(night)[: self.stage]
        return sum(stage.iterations for stage in before if isinstance(stage, Training)) + self.iteration

    def _step(self, stage: Training, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Do one step of the optimizer; return the losses."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bfloat16):
            total = replay_losses(self, stage, inputs, labels)
        if total is None:
            return torch.zeros_like(self.totals)
        self.optimizer.zero_grad()
        torch.autograd.backward(total @ (self._generator_weights if stage.generator_only else self._weights))
        if stage.generator_only:
            self.network.classifier.zero_grad()  # no gradient at all: with one of 0, Adam would go on by its momentum
        self.optimizer.step()
        return total.detach()

    def _other(
        self, stage: DownscalingRule | SpontaneousReplay, inputs: torch.Tensor, log: SpikeLog | None, slept: bool
    ) -> None:
        """Go through a stage that is not training; `slept` says whether one before it was spontaneous replay."""
        if isinstance(stage, SpontaneousReplay):
            chain, memory = self.network.sleeping_chain(), self.memory
            count, mean = memory.count, memory.mean_input
            memory.observe(chain, inputs)
            if slept:  # activations have changed since, but the inputs are in the mean already
                memory.count, memory.mean_input = count, mean
            self.records.append(sleep(chain, self.memory, stage, seed=self._night_seed(), log=log))
            return
        begin = time.perf_counter()
        zeroed = self.network.downscale(stage)
        if self.settings.downscaled_generator and self.stage == 0:
            self._copy_generator()
        self.records.append(StageRecord(stage.name, self.task, 0, time.perf_counter() - begin, zeroed=zeroed))

    def _finish(self, stage: Training) -> None:
        means = (self.totals / max(self.iteration, 1)).tolist()
        parts = dict(zip(PARTS, means, strict=True))
        self.records.append(StageRecord(stage.name, self.task, self.iteration, self.seconds, parts))
        self.iteration, self.seconds = 0, 0.0
        self.totals.zero_()

    def _copy_generator(self) -> None:
        old = self.seen[: self.n_old]
        self.generator = Generator(self.network, old, self.settings.bfloat16) if self.n_old else None

    def _night_seed(self) -> int:
        return int(np.random.SeedSequence([self.seed, self.task, self.stage]).generate_state(1, np.uint64)[0])

    def _taken(
        self, inputs: torch.Tensor | ArrayLike, labels: torch.Tensor | ArrayLike
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs in the network's precision and labels as int64; arrays go to its device."""
        own = next(self.network.parameters())
        x = checked_inputs(inputs)
        y = checked_labels(labels, len(x))
        x = x.to(own.dtype) if isinstance(inputs, torch.Tensor) else x.to(own)
        return x, y if isinstance(labels, torch.Tensor) else y.to(own.device)

    def _check_inputs(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        features = self.network.architecture.features
        if inputs.ndim != 2 or inputs.shape[1] != features or len(inputs) == 0 or labels.shape != inputs.shape[:1]:
            raise InputError(
                f"expected inputs (n, {features}) and labels (n,), got {tuple(inputs.shape)} and {tuple(labels.shape)}"
            )
        if not inputs.device == labels.device == self.device:
            raise InputError(
                f"put all on one device: inputs are on {inputs.device}, labels on {labels.device}, "
                f"the network on {self.device}"
            )
        if not torch.isfinite(inputs).all():
            raise InputError("inputs hold values that are not finite: look at the features and how they were scaled")

    def _check_labels(self, labels: torch.Tensor) -> None:
        new = self.seen[self.n_old :]
        wrong = labels[~torch.isin(labels, new)]
        if len(wrong):
            raise InputError(
                f"label {int(wrong[0])} is not a class of this task, {new.tolist()}: begin_task comes first"
            )

    def _keep_if_finite(self, where: str) -> None:
        """Keep this state as the last good one, or go back to that if a loss or weight is not finite."""
        if all(torch.isfinite(values).all() for values in (self.totals, *self.network.parameters())):
            tensors = self.network.state_dict(), self.optimizer.state_dict(), self.totals
            numbers = self.stage, self.iteration, self.seconds, len(self.records)
            looks = {name: list(rows) for name, rows in self.looks.items()}
            self._good = deepcopy(tensors), self.random.get_state(), looks, numbers
            return
        if self._good is not None:
            (weights, moments, self.totals), random, self.looks, numbers = self._good
            self.stage, self.iteration, self.seconds, n = numbers
            self.network.load_state_dict(weights)
            self.optimizer.load_state_dict(moments)
            self.random.set_state(random)
            del self.records[n:]
            self._good = None
        raise DivergenceError(
            f"loss or weights are no longer finite in task {self.task}, {where}; the learner is back at its last good "
            f"state; try a learning_rate below {self.settings.learning_rate}"
        )
