"""Does it help if convolutions sleep, too? Our own question: Tadros et al. 2022 leave their convolutions out of sleep.

A small convolutional network learns five tasks of two digits each, in an order of the seed's own, and sleeps after each
task with its convolutions plastic or frozen. Each way has parameters that were searched for it on held-out training
images (docs/results.md); crossed conditions take those of the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from msgspec import Meta
from torch import nn

from neurosleep import data
from neurosleep.figures.convolutions import draw_conditions
from neurosleep.memory import Memory
from neurosleep.networks import ClassicDropout
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.papers.base import RunContext, mean_and_sd
from neurosleep.sims.drive import MaskedMeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import Sharing
from neurosleep.sims.plasticity import GatedHebbian
from neurosleep.training import Trainer, predict

CONVOLUTIONS, DENSE = ("0", "2"), ("5", "8")
CONDITIONS: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {  # layers that learn at night, and whose night it is
        "frozen": (DENSE, "frozen"),
        "plastic": (CONVOLUTIONS + DENSE, "plastic"),
        "frozen, night of plastic": (DENSE, "plastic"),
        "plastic, night of frozen": (CONVOLUTIONS + DENSE, "frozen"),
        "convolutions only, night of plastic": (CONVOLUTIONS, "plastic"),
    }
)
Condition = Literal[
    "sequential",
    "frozen",
    "plastic",
    "frozen, night of plastic",
    "plastic, night of frozen",
    "convolutions only, night of plastic",
    "joint",
]
ALL: tuple[Condition, ...] = get_args(Condition)
Count = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Four = tuple[Positive, Positive, Positive, Positive]


@dataclass(frozen=True)
class Config:
    """Every value of the experiment.

    "frozen_..." and "plastic_..." are the nights found for frozen and for plastic convolutions. The network is two
    convolutions (5 x 5, stride 2) and two dense layers, without biases. `sharing` plays no part where convolutions
    are frozen.
    """

    dataset: Literal["mnist", "mnist-small"] = "mnist"
    conditions: tuple[Condition, ...] = ALL
    images_per_task: Count = 1000
    channels: tuple[Count, Count] = (8, 16)
    hidden: Count = 200
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    epochs: Count = 2
    batch_size: Count = 50
    learning_rate: Positive = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    sleep_steps: Annotated[int, Meta(ge=0)] = 3000
    window: Annotated[int, Meta(ge=1, le=28)] = 11
    gain_scale: Positive = 1.0
    normalization: Literal["released", "diehl", "max"] = "max"
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.999
    sharing: Sharing = "positions"
    frozen_max_rate: Positive = 583.3054012735815
    frozen_inc: NonNegative = 0.002432800210638111
    frozen_dec: NonNegative = 0.000358040337234722
    frozen_thresholds: Four = (0.7958656621117639, 0.4566356852854589, 0.539758146717545, 0.10836657796847549)
    plastic_max_rate: Positive = 59.18574270700109
    plastic_inc: NonNegative = 0.02906502428070619
    plastic_dec: NonNegative = 0.002026418313366347
    plastic_thresholds: Four = (0.4897720820606661, 0.8187520144302133, 0.08846024102033326, 1.3743244948976343)


class ConvSleep:
    """See the module's text."""

    name = "conv-sleep"
    summary = "Convolutions that sleep, beside frozen ones (not from a paper)"
    config_type: type = Config
    seeds = 10
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def amount(self, config: Config) -> float:
        """Return the number of conditions."""
        return len(config.conditions)

    def prepare(self, config: Config, data_dir: str | None) -> None:
        """Load the data once, and check that the values fit together."""
        if not config.conditions or len(set(config.conditions)) < len(config.conditions):
            raise InputError(f"conditions must be at least one, each once, got {list(config.conditions)}")
        train = data.load(config.dataset, "train", data_dir=data_dir)
        data.load(config.dataset, "test", data_dir=data_dir)
        fewest = 2 * int(np.bincount(train.labels[: _searched(len(train))]).min())
        if config.images_per_task > fewest:
            raise InputError(
                f"images_per_task must be at most {fewest} of {config.dataset}, got {config.images_per_task}"
            )

    def run(self, config: Config, context: RunContext) -> dict[str, Any]:
        """Learn the tasks in each condition, all with the same first weights, order and images."""
        done = {}
        for condition in config.conditions:
            done[condition] = context.keep(condition, partial(_learn, config, context, condition))
            context.on_progress(1)
        return {"conditions": done, "seconds": {"sleep": sum(c["sleep_seconds"] for c in done.values())}}

    def summarize(self, config: Config, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row a condition: test accuracy over all classes, and over the last task's, over the seeds."""
        rows = []
        for condition in config.conditions:
            found = [run["conditions"][condition] for run in runs]
            accuracy = [100 * x["accuracy"] for x in found]
            mean, spread = mean_and_sd(accuracy)
            rows.append(
                {
                    "condition": condition,
                    "accuracy %": mean,
                    "s.d.": spread,
                    "lowest": min(accuracy),
                    "highest": max(accuracy),
                    "last task %": mean_and_sd([100 * x["last_task"] for x in found])[0],
                    "seeds": len(runs),
                }
            )
        return rows

    def draw(self, config: Config, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw every seed's accuracy by condition."""
        accuracies: dict[str, list[float]] = {
            c: [100 * run["conditions"][c]["accuracy"] for run in runs] for c in config.conditions
        }
        return [draw_conditions(accuracies, folder / "conditions.png")]


def network(config: Config, seed: int) -> nn.Sequential:
    """Return the untrained network of a seed."""
    first, second = config.channels
    model = nn.Sequential(
        *(nn.Conv2d(1, first, 5, stride=2, bias=False), nn.ReLU()),
        *(nn.Conv2d(first, second, 5, stride=2, bias=False), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(16 * second, config.hidden, bias=False), nn.ReLU()),
        *(ClassicDropout(config.dropout), nn.Linear(config.hidden, 10, bias=False)),
    )
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        bound = 1 / np.sqrt(weight[0].numel())
        nn.init.uniform_(weight, -bound, bound, generator=generator)
    return model


def _learn(config: Config, context: RunContext, condition: str) -> dict[str, Any]:
    train, test = (data.load(config.dataset, split, data_dir=context.data_dir) for split in ("train", "test"))
    x, y = _images(train.vectors()), torch.from_numpy(train.labels)
    random = np.random.default_rng(context.seed)
    order = random.permutation(10).reshape(5, 2)
    end = _searched(len(y))
    tasks = [
        random.permutation(np.flatnonzero(np.isin(train.labels[:end], classes)))[: config.images_per_task]
        for classes in order
    ]
    model, memory = network(config, context.seed).to(context.device), Memory()
    trainer = Trainer(config.epochs, config.batch_size, config.learning_rate, config.momentum)
    optimizer, generator = trainer.optimizer(model), torch.Generator().manual_seed(context.seed)
    seconds = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(context.seed)  # dropout
        for number, task in enumerate([np.concatenate(tasks)] if condition == "joint" else tasks):
            inputs = x[task].to(context.device)
            trainer.train(model, inputs, y[task].to(context.device), optimizer=optimizer, generator=generator)
            if condition in CONDITIONS:
                memory.observe(model, inputs)
                record = sleep(model, memory, _night(config, condition), seed=context.seed * 10 + number)
                seconds += record.seconds
    answers = predict(model, _images(test.vectors()).to(context.device)).cpu().numpy()
    right, last = answers == test.labels, np.isin(test.labels, order[-1])
    return {"accuracy": float(right.mean()), "last_task": float(right[last].mean()), "sleep_seconds": seconds}


def _searched(n_images: int) -> int:
    """Return how many training images are trained on: the search was judged on those behind."""
    return n_images * 5 // 6


def _night(config: Config, condition: str) -> SpontaneousReplay:
    layers, whose = CONDITIONS[condition]
    own = {key: getattr(config, f"{whose}_{key}") for key in ("max_rate", "inc", "dec", "thresholds")}
    return SpontaneousReplay(
        steps=config.sleep_steps,
        drive=MaskedMeanRate(own["max_rate"], config.window),
        plasticity=GatedHebbian(own["inc"], own["dec"]),
        thresholds=own["thresholds"],
        gain_scale=config.gain_scale,
        normalization=config.normalization,
        decay=config.decay,
        plastic=layers,
        sharing=config.sharing,
    )


def _images(vectors: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(vectors).reshape(-1, 1, 28, 28)
