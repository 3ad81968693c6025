"""Patches: four binary images, two tasks, and how much overlap sleep can disentangle (Tadros et al. 2022, Fig. 1B-D).

One run is one trial: for each overlap, a softmax network without hidden layer learns images 0 and 1, then images 2 and
3, then sleeps once, and is tested on all four. After each stage: what image 0 sends to its own output and to those of
task 2 (Fig. 1C), the weights by the pixels they come from (Fig. 1D), and how alike they still are to those of the
network that had learned task 1 alone (the paper's Supplementary Information, section 1).

Two scripts are released, and they differ. The defaults are those of ``run_patches_softmax`` (11 x 11 pixels, learning
rate 0.1, four epochs a task): there task 1 is forgotten from an overlap of 13 on and comes back in sleep, as the
paper's text and figure tell. ``run_patches_all_overlap``, which draws the sweep (10 x 10 pixels, learning rate 0.05,
four epochs, then two), stops before task 2 is learned: its 50 % after task 2 are task 1, remembered. To run it:
``--set width=10 --set learning_rate=0.05 --set "epochs=[4, 2]"``.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from neurosleep.analysis import cosine_similarity, group_weights, histogram, layer_weights, output_inputs, pixel_groups
from neurosleep.continual.learning import night_seed
from neurosleep.data import Patches, patches
from neurosleep.figures.patches import draw_patches
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.papers.base import RunContext, mean_and_sd, weight_histograms
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
COMPARED = ("after task 2", "after sleep", "task 2 alone")


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
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

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
        inputs: dict[str, list[tuple[float, float]]] = {stage: [] for stage in STAGES}
        cosine: dict[str, list[float]] = {stage: [] for stage in COMPARED}
        nights, weights, groups, slept = [], {}, {}, 0.0
        with _open_log(config, context) as log:
            for overlap in _overlaps(config):
                logged = overlap == config.logged_overlap
                stages = _trial(config, overlap, context.seed, log if logged else None)
                for name, accuracy in stages["task_accuracies"].items():
                    accuracies[name].append(accuracy)
                    inputs[name].append(stages["inputs"][name])
                for name, value in stages["cosine"].items():
                    cosine[name].append(value)
                slept += stages["night"].seconds
                nights.append(stages["night"].to_dict())
                if logged:
                    weights, groups = stages["weights"], stages["weight_groups"]
                context.on_progress(1)
        return {
            "overlaps": _overlaps(config),
            "task_accuracies": accuracies,
            "nights": nights,
            "weights": weights,
            "inputs": inputs,
            "cosine": cosine,
            "weight_groups": groups,
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
        """Draw accuracy against overlap, raster and weights, and the weights analysed."""
        log = folder / "spikes.h5"
        return draw_patches(runs, STAGES, config.logged_overlap, folder, log if log.exists() else None)


def _trial(config: Config, overlap: int, seed: int, log: SpikeLog | None) -> dict[str, Any]:
    """Train on both tasks and sleep, at one overlap."""
    images = patches(overlap, form=config.form, width=config.width, seed=seed)
    inputs, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    model = _network(config, seed)
    memory = Memory(output="softmax")
    accuracy, weights, kept = {}, {}, {}

    def look(stage: str) -> None:
        right = (predict(model, inputs) == labels).float()
        accuracy[stage] = [float(right[:2].mean()), float(right[2:].mean())]
        weights[stage] = weight_histograms(model)
        kept[stage] = layer_weights(model)[0]

    generator = torch.Generator().manual_seed(seed)
    optimizer = _trainer(config, 0).optimizer(model)
    for task in range(2):
        own = slice(2 * task, 2 * task + 2)
        _trainer(config, task).train(model, inputs[own], labels[own], optimizer=optimizer, generator=generator)
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

    alone = _network(config, seed)
    _trainer(config, 1).train(alone, inputs[2:], labels[2:], generator=torch.Generator().manual_seed(seed))
    kept[COMPARED[2]] = layer_weights(alone)[0]
    return {
        "task_accuracies": accuracy,
        "weights": weights,
        "night": night,
        "inputs": {stage: output_inputs(kept[stage], images.pixels[0], 0, (2, 3)) for stage in STAGES},
        "cosine": {stage: cosine_similarity([kept[stage]], [kept[STAGES[0]]])[0] for stage in COMPARED},
        "weight_groups": _weight_groups(images, {stage: kept[stage] for stage in STAGES}),
    }


def _weight_groups(images: Patches, weights: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return histograms of the weights from each group of pixels to the outputs of each task, on the same bins."""
    groups = pixel_groups(images.pixels[:2], images.pixels[2:])
    limit = float(max(np.abs(w).max() for w in weights.values()))
    return {
        stage: {
            f"task {task + 1}": {
                group: {**histogram(values, -limit, limit), "mean": float(values.mean()) if values.size else None}
                for group, values in group_weights(w, groups, (2 * task, 2 * task + 1)).items()
            }
            for task in range(2)
        }
        for stage, w in weights.items()
    }


def _network(config: Config, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return relu_network((config.width**2, 4), dropout=0.0, init=config.init, generator=generator)


def _trainer(config: Config, task: int) -> Trainer:
    return Trainer(config.epochs[task], config.batch_size, config.learning_rate, config.momentum, config.loss)


def _overlaps(config: Config) -> list[int]:
    return list(range(config.min_overlap, config.max_overlap + 1))


def _open_log(config: Config, context: RunContext) -> AbstractContextManager[SpikeLog | None]:
    if context.spikes is None:
        return nullcontext()
    populations = population_sizes((config.width**2, 4))
    return SpikeLog(context.spikes, populations, dt=0.001, seed=context.seed, config=asdict(config), overwrite=True)
