"""What sleep adds, by how much was learned before (Tadros et al. 2022, Supplementary Fig. 5).

One network learns all ten classes together, more and more; after each amount a copy of it sleeps once. The paper: an
undertrained network gains much without any new training data, a well trained one nothing. Parameters are those of the
released script for reduced training, which reports training accuracy; here accuracy is that on held-out test data,
unless `evaluate_on` is "train".
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import nn

from neurosleep import data
from neurosleep.continual.learning import night_seed
from neurosleep.figures.undertrained import draw_undertrained
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SleepRecord, SpontaneousReplay, sleep
from neurosleep.papers.base import RunContext, mean_and_sd
from neurosleep.sims.drive import MaskedMeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.plasticity import GatedHebbian, Hebbian
from neurosleep.training import LossName, Trainer, predict

Count = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True)
class Config:
    """Every value of the experiment; defaults are the released script's for reduced training.

    For each number of `images` a network is trained, and after each number of `epochs` a copy of it sleeps; 0 epochs
    is the untrained network.
    """

    dataset: Literal["mnist", "mnist-small", "fashion-mnist"] = "mnist"
    images: tuple[Count, ...] = (5000,)
    epochs: tuple[Annotated[int, Meta(ge=0)], ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    evaluate_on: Literal["test", "train"] = "test"
    hidden: tuple[Count, ...] = (1200, 1200)
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    init: Positive = 0.01
    batch_size: Count = 100
    learning_rate: Positive = 0.01
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    loss: LossName = "squared-error"
    sleep_steps: Annotated[int, Meta(ge=0)] = 20_000
    max_rate: Positive = 42.162268
    window: Count = 11
    plasticity: Literal["gated-hebbian", "hebbian"] = "gated-hebbian"
    inc: NonNegative = 0.022175
    dec: NonNegative = 0.076886
    thresholds: tuple[Positive, ...] = (37.312702, 7.101362, 32.780841)
    gain_scale: Positive = 14.308178
    normalization: Literal["released", "diehl", "max"] = "released"
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.999
    backend: Literal["cpu", "cuda", "reference"] = "cpu"


class SrcUndertrained:
    """See the module's text."""

    name = "src-undertrained"
    summary = "What sleep adds to one task, by the amount of training before (Supplementary Fig. 5)"
    config_type: type = Config
    seeds = 5
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def amount(self, config: Config) -> float:
        """Return the work of one run in thousands of images trained on, a thousand steps of sleep counting a tenth."""
        nights = len(config.images) * len(config.epochs)
        return sum(config.images) * max(config.epochs) / 1000 + nights * config.sleep_steps / 10_000

    def prepare(self, config: Config, data_dir: str | None) -> None:
        """Load the data once, and check that the values fit together."""
        if len(config.thresholds) != len(config.hidden) + 1:
            raise InputError(
                f"thresholds needs one value for each of the {len(config.hidden) + 1} layers of weights, "
                f"got {len(config.thresholds)}"
            )
        for name, values in (("images", config.images), ("epochs", config.epochs)):
            if not values or list(values) != sorted(set(values)):
                raise InputError(f"{name} must be at least one number, ascending, each once, got {list(values)}")
        train = data.load(config.dataset, "train", data_dir=data_dir)
        data.load(config.dataset, "test", data_dir=data_dir)
        if config.images[-1] > len(train):
            raise InputError(f"images must be at most the {len(train)} of {config.dataset}, got {config.images[-1]}")
        MaskedMeanRate(config.max_rate, config.window).schedule(784, 0.001, np.zeros(784))

    def run(self, config: Config, context: RunContext) -> dict[str, Any]:
        """Train with each number of images, and let copies sleep along the way."""
        train, test = (data.load(config.dataset, split, data_dir=context.data_dir) for split in ("train", "test"))
        x, y = torch.from_numpy(train.vectors()).to(context.device), torch.from_numpy(train.labels).to(context.device)
        unseen = (
            torch.from_numpy(test.vectors()).to(context.device),
            torch.from_numpy(test.labels).to(context.device),
        )
        points = []
        for n in config.images:
            seen = x[:n], y[:n]
            points += _course(config, context, seen, unseen if config.evaluate_on == "test" else seen, n)
        return {
            "points": points,
            "seconds": {"sleep": sum(point["night"]["seconds"] for point in points)},
        }

    def summarize(self, config: Config, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row an amount of training: accuracy before and after sleep, and the gain, over the seeds."""
        rows = []
        for index, point in enumerate(runs[0]["points"]):
            before, after = (np.array([100 * run["points"][index][key] for run in runs]) for key in ("before", "after"))
            gain, spread = mean_and_sd((after - before).tolist())
            rows.append(
                {
                    "images": point["images"],
                    "epochs": point["epochs"],
                    "before %": float(before.mean()),
                    "s.d. before": mean_and_sd(before.tolist())[1],
                    "after %": float(after.mean()),
                    "s.d. after": mean_and_sd(after.tolist())[1],
                    "gain": gain,
                    "s.d. gain": spread,
                    "seeds": len(runs),
                }
            )
        return rows

    def draw(self, config: Config, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw accuracy against training, and gain against accuracy before sleep."""
        return draw_undertrained(runs, config.evaluate_on, folder)


_Data = tuple[torch.Tensor, torch.Tensor]


def _course(config: Config, context: RunContext, seen: _Data, asked: _Data, n: int) -> list[dict[str, Any]]:
    """Train one network on `n` images, and let a copy sleep after each number of epochs."""
    generator = torch.Generator().manual_seed(context.seed)
    model = relu_network((784, *config.hidden, 10), dropout=config.dropout, init=config.init, generator=generator)
    model = model.to(context.device)
    trainer = Trainer(1, config.batch_size, config.learning_rate, config.momentum, config.loss)
    optimizer = trainer.optimizer(model)
    points = []
    with torch.random.fork_rng():
        torch.manual_seed(context.seed)
        for epoch in range(config.epochs[-1] + 1):
            if epoch:
                trainer.train(model, *seen, optimizer=optimizer, generator=generator)
                context.on_progress(n / 1000)
            if epoch in config.epochs:
                sleeper = copy.deepcopy(model)
                night = _sleep(config, context, sleeper, seen[0], n, epoch)
                points.append(
                    {
                        "images": n,
                        "epochs": epoch,
                        "before": _accuracy(model, asked),
                        "after": _accuracy(sleeper, asked),
                        "night": night.to_dict(),
                    }
                )
    return points


def _sleep(
    config: Config, context: RunContext, model: nn.Module, inputs: torch.Tensor, n: int, epoch: int
) -> SleepRecord:
    memory = Memory()
    memory.observe(model, inputs)
    rule = GatedHebbian if config.plasticity == "gated-hebbian" else Hebbian
    stage = SpontaneousReplay(
        steps=config.sleep_steps,
        drive=MaskedMeanRate(config.max_rate, config.window),
        plasticity=rule(config.inc, config.dec),
        thresholds=config.thresholds,
        gain_scale=config.gain_scale,
        normalization=config.normalization,
        decay=config.decay,
        name=f"{n} images, {epoch} epochs",
    )
    return sleep(
        model,
        memory,
        stage,
        seed=night_seed(context.seed, n, epoch),
        backend=config.backend,
        on_progress=lambda steps: context.on_progress(steps / 10_000),
    )


def _accuracy(model: nn.Module, asked: _Data) -> float:
    return float((predict(model, asked[0]) == asked[1]).double().mean())
