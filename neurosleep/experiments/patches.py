"""Patches: four binary images, two tasks, and how much overlap sleep can disentangle (Tadros et al. 2022, Fig. 1B).

One run is one trial: for each overlap, a softmax network without hidden layer learns images 0 and 1, then images 2 and
3, then sleeps once, and is tested on all four.

Two scripts are released, and they differ. The defaults are those of ``run_patches_softmax`` (11 x 11 pixels, learning
rate 0.1, four epochs a task): there task 1 is forgotten from an overlap of 13 on and comes back in sleep, as the
paper's text and figure tell. ``run_patches_all_overlap``, which draws the sweep (10 x 10 pixels, learning rate 0.05,
four epochs, then two), stops before task 2 is learned: its 50 % after task 2 are task 1, remembered. To run it:
``--set width=10 --set learning_rate=0.05 --set "epochs=[4, 2]"``.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from msgspec import Meta

from neurosleep import plots
from neurosleep.continual.learning import night_seed
from neurosleep.data import patches
from neurosleep.experiments.base import RunContext, mean_and_sd, weight_histograms
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.sims.drive import MeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import population_sizes
from neurosleep.sims.plasticity import GatedHebbian, Hebbian
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import LossName, Trainer, predict

Count = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
STAGES = ("after task 1", "after task 2", "after sleep")


@dataclass(frozen=True)
class Config:
    """Every value of the experiment; `form` is "published" or "corrected", see `neurosleep.data.patches`.

    Spikes and weights are kept for overlap `logged_overlap` of the first trial (Fig. 1D shows 14).
    """

    form: Literal["published", "corrected"] = "published"
    width: Annotated[int, Meta(ge=3)] = 11
    min_overlap: Annotated[int, Meta(ge=0)] = 1
    max_overlap: Annotated[int, Meta(ge=0)] = 25
    logged_overlap: Annotated[int, Meta(ge=0)] = 14
    init: Positive = 0.01
    epochs: tuple[Count, Count] = (4, 4)
    batch_size: Count = 2
    learning_rate: Positive = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    loss: LossName = "cross-entropy"
    sleep_steps: Annotated[int, Meta(ge=0)] = 30_000
    max_rate: Positive = 64.0
    plasticity: Literal["gated-hebbian", "hebbian"] = "gated-hebbian"
    inc: NonNegative = 0.0035
    dec: NonNegative = 0.0002
    threshold: Positive = 1.045
    gain_scale: Positive = 4.25
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.999
    backend: Literal["cpu", "cuda", "reference"] = "cpu"


class PatchesExperiment:
    """See the module's text."""

    name = "patches"
    summary = "SRC on four binary images, by their overlap (Fig. 1B): after task 1, task 2 and sleep"
    config_type: type = Config
    seeds = 5

    def amount(self, config: Config) -> float:
        """Return the number of overlaps."""
        return len(_overlaps(config))

    def prepare(self, config: Config, data_dir: str | None) -> None:
        """Check that there are overlaps, and that every one can be drawn."""
        if not _overlaps(config):
            raise InputError(
                f"max_overlap must be at least min_overlap, {config.min_overlap}, got {config.max_overlap}"
            )
        for overlap in _overlaps(config):
            patches(overlap, form=config.form, width=config.width)

    def run(self, config: Config, context: RunContext) -> dict[str, Any]:
        """Do one trial over all overlaps."""
        accuracies: dict[str, list[list[float]]] = {stage: [] for stage in STAGES}
        nights, weights, slept = [], {}, 0.0
        with _open_log(config, context) as log:
            for overlap in _overlaps(config):
                logged = overlap == config.logged_overlap
                stages = _trial(config, overlap, context.seed, log if logged else None)
                for name, accuracy in stages["task_accuracies"].items():
                    accuracies[name].append(accuracy)
                slept += stages["night"].seconds
                nights.append(stages["night"].to_dict())
                if logged:
                    weights = stages["weights"]
                context.on_progress(1)
        return {
            "overlaps": _overlaps(config),
            "task_accuracies": accuracies,
            "nights": nights,
            "weights": weights,
            "seconds": {"sleep": slept},
        }

    def summarize(self, config: Config, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row an overlap: mean accuracy in percent after task 1 (T1), task 2 (T2) and sleep (S)."""
        rows = []
        for index, overlap in enumerate(runs[0]["overlaps"]):
            # (trials, stages, tasks) in percent
            percent = 100 * np.array([[run["task_accuracies"][stage][index] for stage in STAGES] for run in runs])
            overall, tasks = percent.mean(2), percent.mean(0)
            row: dict[str, Any] = {"overlap": overlap}
            for number, stage in enumerate(("T1", "T2", "S")):
                row[f"{stage} %"] = float(overall[:, number].mean())
                if number:
                    row[f"{stage}: task 1"], row[f"{stage}: task 2"] = tasks[number].tolist()
            row["s.d. of S"] = mean_and_sd(overall[:, -1].tolist())[1]
            rows.append({**row, "seeds": len(runs)})
        return rows

    def draw(self, config: Config, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw accuracy against overlap, raster and weights."""
        return plots.draw_patches(runs, STAGES, folder)


def _trial(config: Config, overlap: int, seed: int, log: SpikeLog | None) -> dict[str, Any]:
    """Train on both tasks and sleep, at one overlap."""
    images = patches(overlap, form=config.form, width=config.width, seed=seed)
    inputs, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    model = relu_network(
        (config.width**2, 4), dropout=0.0, init=config.init, generator=torch.Generator().manual_seed(seed)
    )
    memory = Memory(output="softmax")
    accuracy, weights = {}, {}

    def look(stage: str) -> None:
        right = (predict(model, inputs) == labels).float()
        accuracy[stage] = [float(right[:2].mean()), float(right[2:].mean())]
        weights[stage] = weight_histograms(model)

    generator = torch.Generator().manual_seed(seed)
    trainer = Trainer(1, config.batch_size, config.learning_rate, config.momentum, config.loss)
    optimizer = trainer.optimizer(model)
    for task, epochs in enumerate(config.epochs):
        own = slice(2 * task, 2 * task + 2)
        replace(trainer, epochs=epochs).train(model, inputs[own], labels[own], optimizer=optimizer, generator=generator)
        memory.observe(model, inputs[own])
        look(STAGES[task])
    rule = GatedHebbian if config.plasticity == "gated-hebbian" else Hebbian
    stage = SpontaneousReplay(
        steps=config.sleep_steps,
        drive=MeanRate(config.max_rate),
        plasticity=rule(config.inc, config.dec),
        thresholds=config.threshold,
        gain_scale=config.gain_scale,
        decay=config.decay,
        name=f"overlap {overlap}",
    )
    night = sleep(model, memory, stage, seed=night_seed(seed, overlap, 0), log=log, backend=config.backend)
    look(STAGES[2])
    return {"task_accuracies": accuracy, "weights": weights, "night": night}


def _overlaps(config: Config) -> list[int]:
    return list(range(config.min_overlap, config.max_overlap + 1))


def _open_log(config: Config, context: RunContext) -> AbstractContextManager[SpikeLog | None]:
    if context.spikes is None:
        return nullcontext()
    populations = population_sizes((config.width**2, 4))
    return SpikeLog(context.spikes, populations, dt=0.001, seed=context.seed, config=asdict(config), overwrite=True)
