"""Sleep Replay Consolidation on class-incremental digits: five tasks of two digits, sleep after each.

Parameters are those of the released MNIST script (Tadros et al. 2022, Nature Communications 13:7742, Table 1 and Fig.
2); where script and text differ, both are options. The sound protocol is the default and differs from the script in
one point: see `calibration`.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import ArrayLike
from torch import nn

from neurosleep import data, plots
from neurosleep.continual import Nights, Stream, class_incremental, learn, learn_jointly, task_order
from neurosleep.experiments.base import RunContext, mean_and_sd, weight_histograms
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay, Stage
from neurosleep.sims.drive import Drive, MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import population_sizes
from neurosleep.sims.plasticity import GatedHebbian, Hebbian
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import LossName, Trainer

Count = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True)
class Config:
    """Every value of the experiment; defaults are the released script's.

    `calibration` says over what each night's activations are measured: "all" keeps the largest maxima of every
    training so far and "last" those of the last one (both need no old image); "released" measures the present network
    on all images seen so far, as the released script does, which keeps old images.
    """

    dataset: Literal["mnist", "mnist-small"] = "mnist"
    order: str = "released"
    images_per_task: Count = 5000
    hidden: tuple[Count, ...] = (1200, 1200)
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    init: Positive = 0.01
    epochs: Count = 2
    joint: bool = True
    joint_epochs: Count = 2
    batch_size: Count = 100
    learning_rate: Positive = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    loss: LossName = "squared-error"
    sleep_steps: Annotated[int, Meta(ge=0)] = 15_000
    sleep_steps_more: Annotated[int, Meta(ge=0)] = 5_000
    drive: Literal["masked-mean-rate", "mean-rate", "uniform-noise"] = "masked-mean-rate"
    max_rate: Positive = 239.515363
    window: Count = 11
    plasticity: Literal["gated-hebbian", "hebbian"] = "gated-hebbian"
    inc: NonNegative = 0.032064
    dec: NonNegative = 0.003344
    thresholds: tuple[Positive, ...] = (14.548273, 44.560317, 38.046326)
    gain_scale: Positive = 55.882454
    normalization: Literal["released", "diehl", "max"] = "released"
    calibration: Literal["all", "last", "released"] = "all"
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.999
    inhibition: NonNegative = 0.0
    backend: Literal["cpu", "cuda", "reference"] = "cpu"
    precision: Literal["float32", "float64"] = "float32"


class ImageKeepingMemory(Memory):
    """A memory that keeps every image, only to calibrate as the released script does; SRC itself must not need this."""

    def __init__(self) -> None:
        super().__init__(scales="last")
        self._seen: list[torch.Tensor] = []

    def observe(self, model: nn.Module, inputs: torch.Tensor | ArrayLike) -> None:
        """Keep the images, and measure the present network on all of them."""
        self._seen.append(torch.as_tensor(inputs))
        self.count, self.mean_input = 0, None
        super().observe(model, torch.cat(self._seen))


class SrcMnist:
    """See the module's text."""

    summary = "SRC on five tasks of two digits (Table 1, Fig. 2): sequential, SRC and joint training"
    config_type: type = Config

    def __init__(self, name: str = "src-mnist", seeds: int = 5) -> None:
        self.name = name
        self.seeds = seeds

    def amount(self, config: Config) -> float:
        """Return the work of one run in thousands of images trained on, a thousand steps of sleep counting a tenth."""
        images = (
            5 * config.images_per_task * config.epochs * 2
            + config.joint * self._joint_images(config) * config.joint_epochs
        )
        return images / 1000 + sum(self._night_steps(config, n) for n in range(1, 6)) / 10_000

    def prepare(self, config: Config, data_dir: str | None) -> None:
        """Load the data once, so that it is there (or downloaded), and try the parameters on an untrained network."""
        if len(config.thresholds) != len(config.hidden) + 1:
            raise InputError(
                f"thresholds needs one value for each of the {len(config.hidden) + 1} layers of weights, "
                f"got {len(config.thresholds)}"
            )
        task_order(5, config.order, seed=0)
        stream = self._stream(config, data_dir, seed=0)
        _drive(config).schedule(stream.joint_inputs.shape[1], 0.001, np.zeros(stream.joint_inputs.shape[1]))

    def run(self, config: Config, context: RunContext) -> dict[str, Any]:
        """Train the three networks of one seed from the same initial weights."""
        stream = self._stream(config, context.data_dir, context.seed).to(context.device)
        trainer = Trainer(config.epochs, config.batch_size, config.learning_rate, config.momentum, config.loss)
        task_done = partial(context.on_progress, config.images_per_task / 1000)
        seconds, methods = {}, {}

        begin = time.perf_counter()
        methods["sequential"] = learn(
            self._network(config, context), stream, trainer, seed=context.seed, on_epoch=task_done
        )
        seconds["sequential"] = time.perf_counter() - begin

        weights: dict[str, Any] = {}
        begin = time.perf_counter()
        with _open_log(config, context) as log:
            nights = Nights(
                stages=lambda n: [self._stage(config, n)],
                memory=ImageKeepingMemory() if config.calibration == "released" else Memory(scales=config.calibration),
                backend=config.backend,
                precision=config.precision,
                log=log,
                on_progress=lambda steps: context.on_progress(steps / 10_000),
            )
            methods["src"] = learn(
                self._network(config, context),
                stream,
                trainer,
                nights=nights,
                seed=context.seed,
                on_epoch=task_done,
                on_checkpoint=lambda point, model: weights.update({point.name: weight_histograms(model)}),
            )
        seconds["src"] = time.perf_counter() - begin
        seconds["sleep"] = sum(night.seconds for night in methods["src"].nights)

        if config.joint:
            begin = time.perf_counter()
            joint_trainer = Trainer(
                config.joint_epochs, config.batch_size, config.learning_rate, config.momentum, config.loss
            )
            epoch_done = partial(context.on_progress, self._joint_images(config) / 1000)
            methods["joint"] = learn_jointly(
                self._network(config, context), stream, joint_trainer, seed=context.seed, on_epoch=epoch_done
            )
            seconds["joint"] = time.perf_counter() - begin
        return {
            "tasks": [list(task.classes) for task in stream.tasks],
            "methods": {name: history.to_dict() for name, history in methods.items()},
            "weights": weights,
            "seconds": seconds,
        }

    def summarize(self, config: Config, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row a method: test accuracy over the seeds."""
        rows = []
        for method in runs[0]["methods"]:
            percent = [100 * run["methods"][method]["accuracy"] for run in runs]
            mean, sd = mean_and_sd(percent)
            rows.append(
                {
                    "method": method,
                    "accuracy %": mean,
                    "s.d.": sd,
                    "lowest": min(percent),
                    "highest": max(percent),
                    "seeds": len(runs),
                }
            )
        return rows

    def draw(self, config: Config, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw accuracy, raster and weights."""
        return plots.draw_src(runs, folder)

    def _joint_images(self, config: Config) -> int:
        return 60_000 if config.dataset == "mnist" else 10_000

    def _night_steps(self, config: Config, n_tasks: int) -> int:
        return config.sleep_steps + (n_tasks - 1) * config.sleep_steps_more

    def _stream(self, config: Config, data_dir: str | None, seed: int) -> Stream:
        train = data.load(config.dataset, "train", data_dir=data_dir)
        test = data.load(config.dataset, "test", data_dir=data_dir)
        return class_incremental(
            train.vectors(),
            train.labels,
            test.vectors(),
            test.labels,
            images_per_task=config.images_per_task,
            order=config.order,
            seed=seed,
        )

    def _network(self, config: Config, context: RunContext) -> nn.Module:
        generator = torch.Generator().manual_seed(context.seed)
        sizes = (784, *config.hidden, 10)
        return relu_network(sizes, dropout=config.dropout, init=config.init, generator=generator).to(context.device)

    def _stage(self, config: Config, n_tasks: int) -> Stage:
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
            name=f"night {n_tasks}",
        )


def _drive(config: Config) -> Drive:
    if config.drive == "masked-mean-rate":
        return MaskedMeanRate(config.max_rate, config.window)
    return MeanRate(config.max_rate) if config.drive == "mean-rate" else UniformNoise(config.max_rate)


def _open_log(config: Config, context: RunContext) -> AbstractContextManager[SpikeLog | None]:
    if context.spikes is None:
        return nullcontext()
    populations = population_sizes((784, *config.hidden, 10))
    return SpikeLog(context.spikes, populations, dt=0.001, seed=context.seed, config=asdict(config), overwrite=True)
