"""Sleep Replay Consolidation on a stream of tasks, beside other methods: Tables 1 and 2, Figures 2 and 3.

(Tadros et al. 2022, Nature Communications 13:7742.) One class for all data sets; what differs is in
`neurosleep.papers.src_config`.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurosleep.continual import History, Nights, Stream, learn, learn_jointly, task_order
from neurosleep.figures import panels as plots
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay
from neurosleep.papers.base import RunContext, mean_and_sd, weight_histograms
from neurosleep.papers.src_config import Config
from neurosleep.papers.src_memories import FirstTaskMemory, ImageKeepingMemory
from neurosleep.papers.src_methods import MethodName, parse_all
from neurosleep.papers.streams import make_stream, n_tasks
from neurosleep.sims.drive import Drive, MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import population_sizes
from neurosleep.sims.plasticity import GatedHebbian, Hebbian
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import Trainer, products

STEPS_PER_IMAGE = 10.0
"""So many steps of sleep are counted as the work of training on one image."""


class SrcExperiment:
    """One data set's experiment.

    Parameters
    ----------
    name, summary
        On the command line.
    config_type
        Its configuration, with all defaults.
    seeds
        Runs, unless told otherwise; 5 in the paper.
    presets
        Settings by name, on top of the defaults.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        config_type: type[Config] = Config,
        seeds: int = 5,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.name = name
        self.summary = summary
        self.config_type: type = config_type
        self.seeds = seeds
        self.presets = presets or {}

    def amount(self, config: Config) -> float:
        """Return the work of one run in images trained on."""
        return sum(self._method_amount(config, name) for name in parse_all(config.methods))

    def prepare(self, config: Config, data_dir: str | None) -> None:
        """Load the data once, so that it is there (or downloaded), and try the parameters on an untrained network."""
        for method in parse_all(config.methods):
            method.make(config, seed=0)
        if len(config.thresholds) != len(config.hidden) + 1:
            raise InputError(
                f"thresholds needs one value for each of the {len(config.hidden) + 1} layers of weights, "
                f"got {len(config.thresholds)}"
            )
        task_order(n_tasks(config.dataset), config.order, seed=0)
        stream = self.stream(config, data_dir, seed=0)
        width, *_, classes = self.sizes(config, stream)
        for method in parse_all(config.methods):
            if method.base == "icarl" and method.value is not None and method.value < classes:
                raise InputError(
                    f"method {method.text!r}: the capacity must be at least 1 exemplar for each of {classes} classes"
                )
        _drive(config).schedule(width, 0.001, np.zeros(width))

    def run(self, config: Config, context: RunContext) -> dict[str, Any]:
        """Train one network for each method, all from the same initial weights."""
        stream = self.stream(config, context.data_dir, context.seed).to(context.device)
        methods, weights, seconds = {}, {}, {"sleep": 0.0}
        for name in parse_all(config.methods):
            with products(config.products):
                part = context.keep(name.text, partial(self._learn, config, context, stream, name))
            methods[name.text] = part["history"]
            seconds[name.text] = part["seconds"]
            seconds["sleep"] += sum(night["seconds"] for night in part["history"]["nights"])
            if name.text == "src":
                weights = part["weights"]
        return {
            "tasks": [list(task.classes) for task in stream.tasks],
            "task_names": [task.name for task in stream.tasks],
            "methods": methods,
            "weights": weights,
            "seconds": seconds,
        }

    def summarize(self, config: Config, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row a method: test accuracy over the seeds."""
        rows = []
        for method in runs[0]["methods"]:
            percent = [100 * run["methods"][method]["accuracy"] for run in runs]
            mean, sd = mean_and_sd(percent)
            row: dict[str, Any] = {
                "method": method,
                "accuracy %": mean,
                "s.d.": sd,
                "lowest": min(percent),
                "highest": max(percent),
                "seeds": len(runs),
            }
            if len(runs[0]["tasks"]) == 2:
                tasks = np.mean([run["methods"][method]["checkpoints"][-1]["task_accuracies"] for run in runs], axis=0)
                row |= {f"task {i} %": 100 * float(share) for i, share in enumerate(tasks, start=1)}
            rows.append(row)
        return rows

    def draw(self, config: Config, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw accuracy, methods, raster and weights."""
        return plots.draw_src(runs, folder)

    # What a run is made of; `neurosleep tune` uses the same.

    def stream(self, config: Config, data_dir: str | None, seed: int) -> Stream:
        """Return the tasks; the seed is that of a random order."""
        stream = make_stream(config, data_dir, seed)
        if config.evaluate_on == "test":
            return stream
        return replace(
            stream, tasks=tuple(replace(t, test_inputs=t.inputs, test_labels=t.labels) for t in stream.tasks)
        )

    def network(self, config: Config, stream: Stream, seed: int) -> nn.Module:
        """Return an untrained network for a stream."""
        sizes = self.sizes(config, stream)
        generator = torch.Generator().manual_seed(seed)
        return relu_network(sizes, dropout=config.dropout, init=config.init, generator=generator)

    def sizes(self, config: Config, stream: Stream) -> tuple[int, ...]:
        """Return the neurons of each population."""
        return (stream.joint_inputs.shape[1], *config.hidden, int(stream.joint_labels.max()) + 1)

    def trainer(self, config: Config, number: int = 1, base: str = "sequential") -> Trainer:
        """Return how the `number`-th task is trained under a method."""
        rate = config.learning_rate if number == 1 else config.later_learning_rate or config.learning_rate
        return Trainer(self._epochs(config, base), config.batch_size, rate, config.momentum, config.loss)

    def memory(self, config: Config) -> Memory:
        """Return an empty memory."""
        if config.calibration != "released":
            return Memory(scales=config.calibration)
        return FirstTaskMemory() if config.dataset in ("cifar10", "cross-modal") else ImageKeepingMemory()

    def stage(self, config: Config, n_tasks: int, method: MethodName | None = None) -> SpontaneousReplay:
        """Return the sleep after the `n_tasks`-th task."""
        rule = GatedHebbian if config.plasticity == "gated-hebbian" else Hebbian
        return SpontaneousReplay(
            steps=self._night_steps(config, n_tasks),
            drive=_drive(config),
            plasticity=rule(config.inc, config.dec),
            thresholds=config.thresholds,
            gain_scale=config.gain_scale,
            normalization=config.normalization,
            decay=config.decay,
            inhibition=config.inhibition,
            streams=config.streams,
            name=f"night {n_tasks}",
        )

    def _learn(self, config: Config, context: RunContext, stream: Stream, name: MethodName) -> dict[str, Any]:
        """Let one network learn by one method."""
        model = self.network(config, stream, context.seed).to(context.device)
        weights: dict[str, Any] = {}
        begin = time.perf_counter()
        with self._open_log(config, context, stream, name) as log:
            history = self._history(config, context, stream, name, model, weights, log)
        return {"history": history.to_dict(), "weights": weights, "seconds": time.perf_counter() - begin}

    def _history(
        self,
        config: Config,
        context: RunContext,
        stream: Stream,
        name: MethodName,
        model: nn.Module,
        weights: dict[str, Any],
        log: SpikeLog | None,
    ) -> History:
        if name.base == "joint":
            done = partial(context.on_progress, len(stream.joint_inputs))
            return learn_jointly(model, stream, self.trainer(config, 1, "joint"), seed=context.seed, on_epoch=done)
        done = partial(context.on_progress, config.images_per_task)
        if name.base == "last-task":
            learn(
                model, replace(stream, tasks=stream.tasks[-1:]), self.trainer(config), seed=context.seed, on_epoch=done
            )
            return learn(model, stream, replace(self.trainer(config), epochs=0), seed=context.seed)
        nights = Nights(
            stages=lambda n: [self.stage(config, n, name)] if n > 1 or config.first_night else [],
            memory=self.memory(config),
            backend=config.backend,
            precision=config.precision,
            log=log,
            on_progress=lambda steps: context.on_progress(steps / STEPS_PER_IMAGE),
        )
        return learn(
            model,
            stream,
            lambda number: self.trainer(config, number, name.base),
            method=name.make(config, context.seed),
            nights=nights if name.sleeps else None,
            seed=context.seed,
            on_epoch=done,
            on_checkpoint=lambda point, model: weights.update({point.name: weight_histograms(model)}),
        )

    def _open_log(
        self, config: Config, context: RunContext, stream: Stream, name: MethodName
    ) -> AbstractContextManager[SpikeLog | None]:
        if context.spikes is None or name.text != "src":
            return nullcontext()
        populations = population_sizes(self.sizes(config, stream))
        return SpikeLog(context.spikes, populations, dt=0.001, seed=context.seed, config=asdict(config), overwrite=True)

    def _epochs(self, config: Config, base: str) -> int:
        return {"joint": config.joint_epochs, "rehearsal": config.rehearsal_epochs}.get(base, config.epochs)

    def _night_steps(self, config: Config, n_tasks: int) -> int:
        return config.sleep_steps + (n_tasks - 1) * config.sleep_steps_more

    def _method_amount(self, config: Config, name: MethodName) -> float:
        tasks = n_tasks(config.dataset)
        epochs = self._epochs(config, name.base)
        if name.base == "joint":
            return float(epochs * _JOINT_IMAGES.get(config.dataset, tasks * config.images_per_task))
        if name.base == "last-task":
            return float(epochs * config.images_per_task)
        images = tasks * config.images_per_task * epochs
        first = 1 if config.first_night else 2
        steps = sum(self._night_steps(config, n) for n in range(first, tasks + 1)) if name.sleeps else 0
        return images + steps / STEPS_PER_IMAGE


_JOINT_IMAGES = {"mnist": 60_000, "fashion-mnist": 60_000, "mnist-small": 10_000, "cifar10": 50_000}


def _drive(config: Config) -> Drive:
    if config.drive == "masked-mean-rate":
        return MaskedMeanRate(config.max_rate, config.window)
    return MeanRate(config.max_rate) if config.drive == "mean-rate" else UniformNoise(config.max_rate)


class IcarlExperiment(SrcExperiment):
    """iCaRL by its capacity, each with the night that the released script has for it (see `VECTORS`)."""

    # max_rate, inc, dec, thresholds, gain_scale by the largest capacity for which they are used
    VECTORS = (
        (50, 95.654279, 0.058705, 0.009112, (27.477005, 21.155469, 22.567029), 19.001764),
        (500, 114.365720, 0.042289, 0.005498, (38.451454, 22.198208, 6.893450), 4.253433),
        (float("inf"), 27.393650, 0.019093, 0.060217, (9.625520, 34.737610, 31.296881), 2.023822),
    )

    def stage(self, config: Config, n_tasks: int, method: MethodName | None = None) -> SpontaneousReplay:
        """Return the sleep after the `n_tasks`-th task, with the released vector of the method's capacity."""
        if config.icarl_night == "released" and method is not None and method.base == "icarl":
            capacity = 100 if method.value is None else method.value
            _, rate, inc, dec, thresholds, gain = next(vector for vector in self.VECTORS if capacity <= vector[0])
            config = replace(config, max_rate=rate, inc=inc, dec=dec, thresholds=thresholds, gain_scale=gain)
        return super().stage(config, n_tasks, method)
