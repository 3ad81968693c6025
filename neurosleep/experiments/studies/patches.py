"""Patches: four binary images, two tasks, and how much overlap sleep can disentangle (Tadros et al. 2022, Fig. 1B-D).

Two scripts are released, and they differ. The defaults are those of ``run_patches_softmax`` (11 x 11 pixels, learning
rate 0.1, four epochs a task): there task 1 is forgotten from an overlap of 13 on and comes back in sleep, as the
paper's text and figure tell. ``run_patches_all_overlap``, which draws the sweep (10 x 10 pixels, learning rate 0.05,
four epochs, then two), stops before task 2 is learned: its 50 % after task 2 are task 1, remembered.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurosleep import data
from neurosleep.analysis import cosine_similarity, group_weights, histogram, layer_weights, output_inputs, pixel_groups
from neurosleep.analysis.weights import weight_histograms
from neurosleep.continual.learning import night_seed
from neurosleep.data.patches import Form
from neurosleep.experiments.conditions import Backend
from neurosleep.experiments.studies.base import OnProgress, Study, mean_and_sd
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.network import population_sizes
from neurosleep.sims.rules.hebbian import GatedHebbian
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import Trainer, predict
from neurosleep.trial_night import try_night

STAGES = ("after task 1", "after task 2", "after sleep")
COMPARED = ("after task 2", "after sleep", "task 2 alone")
_TRAINING = Trainer(epochs=4, batch_size=2, learning_rate=0.1, momentum=0.5, loss="cross-entropy")
_NIGHT = SpontaneousReplay(
    steps=30_000, drive=MeanRate(64.0), plasticity=GatedHebbian(0.0035, 0.0002), thresholds=1.045, gain_scale=4.25
)


@dataclass(frozen=True)
class Patches(Study):
    """Two tasks of two images each, and a night, at every overlap of the images.

    One run is one trial. At each overlap a softmax network without hidden layer learns images 0 and 1, then images 2
    and 3, then sleeps once, and is tested on all four. After each stage: what image 0 sends to its own output and to
    those of task 2 (Fig. 1C), the weights by the pixels that they come from (Fig. 1D), and how alike they are to those
    of the network that had learned task 1 alone (Supplementary Information, section 1).

    Parameters
    ----------
    form, width
        Of the images, see `neurosleep.data.patches`.
    min_overlap, max_overlap
        Overlaps in pixels, from the first to the last.
    logged_overlap
        The overlap whose spikes and weights are kept (Fig. 1D shows 14).
    init
        Initial weights are uniform in [-init, init].
    training, later_epochs
        Of each task; epochs of task 2 if they are not the same.
    night
        The sleep after task 2.
    backend
        What simulates it.
    """

    form: Form = "published"
    width: int = 11
    min_overlap: int = 1
    max_overlap: int = 25
    logged_overlap: int = 14
    init: float = 0.01
    training: Trainer = _TRAINING
    later_epochs: int | None = None
    night: SpontaneousReplay = _NIGHT
    backend: Backend = "cpu"

    captions: ClassVar = MappingProxyType(
        {
            "accuracy": "Accuracy on all four images against their overlap, after each task and after sleep: mean over "
            "trials and its 95 % interval.",
            "inputs": "Left: what image 0 sends to its own output and to the larger of those of task 2; bars are means "
            "over trials with their 95 % interval, dots are trials. Right: the difference of the two against overlap, "
            "mean over trials and its 95 % interval.",
            "weights": "All weights before sleep (filled) and after it (line), of the first trial.",
            "weight-groups": "Weights to the outputs of each task after each stage, by the tasks in whose images their "
            "pixels are on, of the first trial.",
            "cosine": "Cosine between the weights and those of the network that had learned task 1 alone, against "
            "overlap: mean over trials and its 95 % interval.",
            "raster": "Spikes of the first second of sleep, of the first trial.",
        }
    )

    def __post_init__(self) -> None:
        settle(self)

    @property
    def overlaps(self) -> list[int]:
        """All overlaps."""
        return list(range(self.min_overlap, self.max_overlap + 1))

    def amount(self) -> float:
        """Return the number of overlaps."""
        return len(self.overlaps)

    def check(self, data_dir: str | None = None) -> None:
        """Check that there are overlaps, that every one can be drawn, and that the network can sleep."""
        if not self.overlaps:
            raise InputError(f"max_overlap must be at least min_overlap, {self.min_overlap}, got {self.max_overlap}")
        if not self.init > 0 or (self.later_epochs or 0) < 0:
            raise InputError(
                f"init must be positive and later_epochs at least 0, got {self.init} and {self.later_epochs}"
            )
        for overlap in self.overlaps:
            images = data.patches(overlap, form=self.form, width=self.width)
        try_night(self._network(0), _memory(), torch.from_numpy(images.pixels), [self.night], backend=self.backend)

    def run(
        self,
        seed: int,
        *,
        device: str = "cpu",
        data_dir: str | None = None,
        log: Path | None = None,
        on_progress: OnProgress = lambda amount: None,
    ) -> dict[str, Any]:
        """Do one trial over all overlaps; the network is too small for `device`, and trains on the CPU."""
        accuracies: dict[str, list[list[float]]] = {stage: [] for stage in STAGES}
        inputs: dict[str, list[list[float]]] = {stage: [] for stage in STAGES}
        cosine: dict[str, list[float]] = {stage: [] for stage in COMPARED}
        nights, weights, groups, slept = [], {}, {}, 0.0
        with ExitStack() as stack:
            spikes = None
            if log is not None:
                populations = population_sizes((self.width**2, 4))
                spikes = stack.enter_context(SpikeLog(log, populations, dt=self.night.dt, seed=seed, overwrite=True))
            for overlap in self.overlaps:
                logged = overlap == self.logged_overlap
                found = self._trial(overlap, seed, spikes if logged else None)
                for name in STAGES:
                    accuracies[name].append(found["task_accuracies"][name])
                    inputs[name].append(found["inputs"][name])
                for name in COMPARED:
                    cosine[name].append(found["cosine"][name])
                slept += found["night"].seconds
                nights.append(found["night"].to_dict())
                if logged:
                    weights, groups = found["weights"], found["weight_groups"]
                on_progress(1)
        return {
            "overlaps": self.overlaps,
            "task_accuracies": accuracies,
            "nights": nights,
            "weights": weights,
            "inputs": inputs,
            "cosine": cosine,
            "weight_groups": groups,
            "seconds": {"sleep": slept},
        }

    def rows(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row an overlap: mean accuracy in percent after task 1 (T1), task 2 (T2) and sleep (S)."""
        rows = []
        for index, overlap in enumerate(records[0]["overlaps"]):
            # (trials, stages, tasks) in percent
            percent = 100 * np.array([[one["task_accuracies"][stage][index] for stage in STAGES] for one in records])
            overall, tasks = percent.mean(2), percent.mean(0)
            row: dict[str, Any] = {"overlap": overlap}
            for number, stage in enumerate(("T1", "T2", "S")):
                row[f"{stage} %"] = float(overall[:, number].mean())
                if number:
                    row[f"{stage}: task 1"], row[f"{stage}: task 2"] = tasks[number].tolist()
            row["s.d. of S"] = mean_and_sd(overall[:, -1].tolist())[1]
            rows.append({**row, "seeds": len(records)})
        return rows

    def draw(self, records: Sequence[dict[str, Any]], folder: Path, log: Path | None = None) -> list[Path]:
        """Draw accuracy against overlap, what the weights hold, and the spikes."""
        from neurosleep.figures.patches import draw_patches

        return draw_patches(records, STAGES, self.logged_overlap, folder, log)

    def _trial(self, overlap: int, seed: int, log: SpikeLog | None) -> dict[str, Any]:
        """Train on both tasks and sleep, at one overlap."""
        images = data.patches(overlap, form=self.form, width=self.width, seed=seed)
        inputs, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
        model, memory = self._network(seed), _memory()
        accuracy, weights, kept = {}, {}, {}

        def look(stage: str) -> None:
            right = (predict(model, inputs) == labels).float()
            accuracy[stage] = [float(right[:2].mean()), float(right[2:].mean())]
            weights[stage] = weight_histograms(model)
            kept[stage] = layer_weights(model)[0]

        generator = torch.Generator().manual_seed(seed)
        optimizer = self.training.optimizer(model)
        for task, trainer in enumerate(self._trainers()):
            own = slice(2 * task, 2 * task + 2)
            trainer.train(model, inputs[own], labels[own], optimizer=optimizer, generator=generator)
            memory.observe(model, inputs[own])
            look(STAGES[task])
        stage = replace(self.night, name=f"overlap {overlap}")
        night = sleep(model, memory, stage, seed=night_seed(seed, overlap, 0), log=log, backend=self.backend)
        look(STAGES[2])

        alone = self._network(seed)
        self._trainers()[1].train(alone, inputs[2:], labels[2:], generator=torch.Generator().manual_seed(seed))
        kept[COMPARED[2]] = layer_weights(alone)[0]
        return {
            "task_accuracies": accuracy,
            "weights": weights,
            "night": night,
            "inputs": {stage: list(output_inputs(kept[stage], images.pixels[0], 0, (2, 3))) for stage in STAGES},
            "cosine": {stage: cosine_similarity([kept[stage]], [kept[STAGES[0]]])[0] for stage in COMPARED},
            "weight_groups": _weight_groups(images, {stage: kept[stage] for stage in STAGES}),
        }

    def _network(self, seed: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        return relu_network((self.width**2, 4), dropout=0.0, init=self.init, generator=generator)

    def _trainers(self) -> tuple[Trainer, Trainer]:
        later = self.training.epochs if self.later_epochs is None else self.later_epochs
        return self.training, replace(self.training, epochs=later)


def _memory() -> Memory:
    return Memory(output="softmax")


def _weight_groups(images: data.Patches, weights: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
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
