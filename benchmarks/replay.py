"""`neurosleep bench --suite replay`: an iteration of tripartite sleep, against the way of working of the public code.

That code (van de Ven et al. 2020, github.com/GMvandeVen/brain-inspired-replay, MIT) loads a batch of images, passes it
through the frozen convolutional layers, and takes present and dreamed inputs through the network one after the other;
its optimizer is Adam as torch has it by default. All contestants train the same network, from the same weights, in a
second task, on random images; they take turns, and each round gives one ratio.

Timed are iterations in the midst of a stage, as a night has thousands of them. Not counted is what ours does besides to
be able to go back to its last good state: when a night begins, when a stage ends, and every
`neurosleep.tripartite.learner.CHECK` iterations, which are more than are timed at once.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from neurosleep.features.architectures import Convolutions, StridedBackbone
from neurosleep.files import write_text
from neurosleep.tables import table
from neurosleep.training import products
from neurosleep.tripartite import NREM, REM, Architecture, Interleaved, Learner, Night, ReplayNetwork, losses
from neurosleep.tripartite.generator import Dreams
from neurosleep.tripartite.stages import Settings

from . import machine
from .harness import spread

REFERENCE = "as the public code works"
CLASSES = 10


class PublicWay:
    """Learns as the public code does.

    Parameters
    ----------
    learner
        Whose network, generator, task and random numbers it begins with; left as it is.
    layers
        The frozen convolutional layers.
    images, labels
        (n, 3, 32, 32) and (n,) of the task.
    """

    def __init__(
        self, learner: Learner, layers: Convolutions, images: torch.Tensor, labels: torch.Tensor, batch_size: int
    ) -> None:
        self.learner = copy.deepcopy(learner)
        self.layers = layers
        self.loader = DataLoader(TensorDataset(images, labels), batch_size, shuffle=True, drop_last=True)
        self.optimizer = torch.optim.Adam(self.learner.network.parameters(), lr=1e-4, betas=(0.9, 0.999))
        self.batches = self._endless()

    def _endless(self) -> Iterator[list[torch.Tensor]]:
        while True:
            yield from self.loader

    def __call__(self, iterations: int) -> float:
        """Do iterations; return the seconds that they took."""
        one = self.learner
        stage = REM(1, self.loader.batch_size or 1)
        begin = time.perf_counter()
        for _ in range(iterations):
            images, labels = next(self.batches)
            with torch.no_grad():
                features = self.layers(images)
            if one.generator is None:
                raise RuntimeError("a public way begins in a second task")
            dreams = one.generator.dream(len(images), stage, one.random)
            noise = torch.randn(2 * len(images), one.network.architecture.latents, generator=one.random)
            self.optimizer.zero_grad()
            two_passes(one, features, labels, dreams, noise).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return time.perf_counter() - begin


def two_passes(
    learner: Learner, features: torch.Tensor, labels: torch.Tensor, dreams: Dreams, noise: torch.Tensor
) -> torch.Tensor:
    """Return the loss of present inputs and of dreams, each passed through the network by itself.

    Classes must be numbered as they were learned. `noise` is that of both, (n + dreams, latents), standard normal.
    """
    network, seen = learner.network, len(learner.seen)
    total = torch.zeros(())
    for share, x, drawn in (
        (1 / learner.task, features, noise[: len(features)]),
        (1 - 1 / learner.task, dreams.features, noise[len(features) :]),
    ):
        hidden, mean, log_variance = network.encode(x)
        outputs = network.classifier(hidden)[:, :seen]
        decoded = network.decode(mean + drawn * (log_variance / 2).exp())
        if x is features:
            wrong = losses.classification(outputs, labels)
        else:
            unknown = torch.zeros(len(x), seen - dreams.probabilities.shape[1])
            wrong = losses.distillation(outputs, torch.cat([dreams.probabilities, unknown], 1))
        divergence = losses.divergence(mean, log_variance) / learner.settings.divergence_scale
        total = total + share * (losses.reconstruction(x, decoded) + divergence + wrong).mean()
    return total


def contestants(
    architecture: Architecture, batch_size: int, n_images: int = 5000, seed: int = 0
) -> dict[str, Callable[[int], float]]:
    """Return each way to do some iterations by its name, all with the same network in its second task.

    Each returns the seconds that they took. Ours do two more, one before and one after, which are not counted.
    """
    random = torch.Generator().manual_seed(seed)
    layers = StridedBackbone("cifar100").eval()
    images = torch.randint(0, 256, (n_images, 3, 32, 32), generator=random, dtype=torch.uint8)
    labels = torch.arange(n_images) % CLASSES
    with torch.no_grad():
        features = torch.cat([layers(part) for part in torch.split(images, 500)])

    def begun(settings: Settings) -> Learner:
        learner = Learner(ReplayNetwork(architecture, torch.Generator().manual_seed(seed)), settings, seed)
        learner.begin_task(list(range(CLASSES)))
        learner.begin_task(list(range(CLASSES, 2 * CLASSES)))
        return learner

    def ours(settings: Settings) -> Callable[[int], float]:
        learner = begun(settings)

        def iterate(iterations: int) -> float:
            learner.stage = 0  # again the first of a night
            stage = Interleaved(iterations + 2, NREM(1, batch_size), REM(1, batch_size))
            done: list[float] = []  # when each was
            learner.sleep(
                Night([stage]), features, labels + CLASSES, on_iteration=lambda *_: done.append(time.perf_counter())
            )
            return done[iterations] - done[0]

        return iterate

    plain = ours(Settings())

    def with_rounded_factors(iterations: int) -> float:
        with products("bfloat16"):
            return rounded(iterations)

    rounded = ours(Settings())
    return {
        REFERENCE: PublicWay(begun(Settings()), layers, images, labels + CLASSES, batch_size),
        "ours, float32": plain,
        "ours, float32 with factors of products in bfloat16": with_rounded_factors,
        "ours, bfloat16 (autocast)": ours(Settings(bfloat16=True)),
    }


def measure(architecture: Architecture, batch_size: int, iterations: int, rounds: int) -> list[dict[str, Any]]:
    """Time all contestants in turns; return a row each, with milliseconds an iteration and how often it is faster."""
    ways = contestants(architecture, batch_size)
    for way in ways.values():
        way(1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(rounds), unit="round"):
        for name, way in ways.items():
            times[name].append(1000 * way(iterations) / iterations)
    reference = np.array(times[REFERENCE])
    return [
        {
            "name": name,
            "ms": spread(found),
            "times_faster": spread(reference / np.array(found)),
            "rounds_ms": found,
        }
        for name, found in times.items()
    ]


def run(quick: bool, rounds: int | None, out: Path) -> None:
    """Measure with the paper's sizes, on one thread, print the table, and write replay.json into a folder."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    iterations, rounds = (2, rounds or 2) if quick else (50, rounds or 5)
    rows = measure(Architecture(), 256, iterations, rounds)
    results = {"suite": "replay", "machine": machine.describe(), "iterations": iterations, "contestants": rows}
    write_text(out / "replay.json", json.dumps(results, indent=1))
    click.echo(machine.one_line(machine.describe()))
    click.echo(f"\nan iteration: 256 present and 256 dreamed inputs, 1024-2000-2000, {rounds} rounds of {iterations}")
    click.echo(
        table(
            [
                {
                    "": row["name"],
                    "ms": f"{row['ms']['median']:.0f}",
                    "times faster": f"{row['times_faster']['median']:.2f}",
                    "quartiles": f"{row['times_faster']['q1']:.2f} to {row['times_faster']['q3']:.2f}",
                }
                for row in rows
            ]
        )
    )
    click.echo(f"\nwritten into {out}: replay.json")
