"""What sleep adds, by how much was learned before (Tadros et al. 2022, Supplementary Fig. 5)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from neurosleep.continual.datasets import labelled_arrays
from neurosleep.continual.learning import night_seed
from neurosleep.experiments.conditions import Backend
from neurosleep.experiments.networks import ReluNetwork
from neurosleep.experiments.studies.base import OnProgress, Study, mean_and_sd
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SleepRecord, SpontaneousReplay, sleep
from neurosleep.sims.drives.rates import MaskedMeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.rules.hebbian import GatedHebbian
from neurosleep.training import Trainer, predict
from neurosleep.trial_night import try_night

_TRAINING = Trainer(epochs=10, learning_rate=0.01)
_NIGHT = SpontaneousReplay(
    steps=20_000,
    drive=MaskedMeanRate(42.162268),
    plasticity=GatedHebbian(0.022175, 0.076886),
    thresholds=(37.312702, 7.101362, 32.780841),
    gain_scale=14.308178,
)
_Data = tuple[torch.Tensor, torch.Tensor]  # (n, n_inputs) and (n,)


@dataclass(frozen=True)
class Undertrained(Study):
    """One network learns all classes together, more and more; after each amount a copy of it sleeps once.

    The paper: an undertrained network gains much without any new training data, a well trained one nothing. Defaults
    are those of the released script for reduced training, which reports training accuracy; here accuracy is that on
    held-out test data, unless `evaluate_on` is "train".

    Parameters
    ----------
    dataset
        "mnist", "mnist-small", "fashion-mnist", or any other that `DataStream` takes but "cross-modal".
    images
        Numbers of images; with each of them, the first of the data set, a network of its own is trained.
    epochs
        Epochs of training after which a copy sleeps, at most those of `training`; 0 is the untrained network.
    evaluate_on
        "test" or "train".
    network, training, night
        What learns, how, and how it sleeps.
    backend
        What simulates sleep.
    """

    dataset: str = "mnist"
    images: tuple[int, ...] = (5000,)
    epochs: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    evaluate_on: Literal["test", "train"] = "test"
    network: ReluNetwork = field(default_factory=ReluNetwork)
    training: Trainer = _TRAINING
    night: SpontaneousReplay = _NIGHT
    backend: Backend = "cpu"

    captions: ClassVar = MappingProxyType(
        {
            "undertrained": "Left: accuracy before and after one night, against the epochs of training before it; mean "
            "over seeds and its 95 % interval. Right: what the night added, in percentage points, against accuracy "
            "before it; each dot is one night of one seed.",
        }
    )

    def __post_init__(self) -> None:
        settle(self)
        if self.evaluate_on not in ("test", "train"):
            raise InputError(f"evaluate_on must be 'test' or 'train', got {self.evaluate_on!r}")
        for name, least in (("images", 1), ("epochs", 0)):
            values = list(getattr(self, name))
            if not values or values != sorted(set(values)) or values[0] < least:
                raise InputError(
                    f"{name} must be at least one number, ascending, each once, from {least} on, got {values}"
                )
        if self.epochs[-1] > self.training.epochs:
            raise InputError(
                f"epochs must be at most the {self.training.epochs} of training, got {self.epochs[-1]}: "
                "give a longer training"
            )

    def amount(self) -> float:
        """Return the work of one run in thousands of images trained on, a thousand steps of sleep counting a tenth."""
        nights = len(self.images) * len(self.epochs)
        return sum(self.images) * self.epochs[-1] / 1000 + nights * self.night.steps / 10_000

    def check(self, data_dir: str | None = None) -> None:
        """Load the data once, and check that the values fit together."""
        (inputs, labels), _ = self._data(data_dir)
        if self.images[-1] > len(inputs):
            raise InputError(f"images must be at most the {len(inputs)} of {self.dataset}, got {self.images[-1]}")
        try_night(
            self._network(inputs, labels, torch.Generator()), Memory(), inputs[:2], [self.night], backend=self.backend
        )

    def run(
        self,
        seed: int,
        *,
        device: str = "cpu",
        data_dir: str | None = None,
        log: Path | None = None,
        on_progress: OnProgress = lambda amount: None,
    ) -> dict[str, Any]:
        """Train with each number of images, and let copies sleep along the way; no spikes are kept."""
        (x, y), unseen = ((x.to(device), y.to(device)) for x, y in self._data(data_dir))
        points = []
        for n in self.images:
            generator = torch.Generator().manual_seed(seed)
            model = self._network(x, y, generator).to(device)
            asked = unseen if self.evaluate_on == "test" else (x[:n], y[:n])
            points += self._course(model, (x[:n], y[:n]), asked, seed, generator, on_progress)
        return {"points": points, "seconds": {"sleep": sum(point["night"]["seconds"] for point in points)}}

    def rows(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row an amount of training: accuracy before and after sleep, and the gain, over the seeds."""
        rows = []
        for index, point in enumerate(records[0]["points"]):
            before, after = (
                np.array([100 * record["points"][index][key] for record in records]) for key in ("before", "after")
            )
            row: dict[str, Any] = {"images": point["images"], "epochs": point["epochs"]}
            for name, unit, values in (("before", " %", before), ("after", " %", after), ("gain", "", after - before)):
                row[name + unit], row[f"s.d. {name}"] = mean_and_sd(values.tolist())
            rows.append({**row, "seeds": len(records)})
        return rows

    def draw(self, records: Sequence[dict[str, Any]], folder: Path, log: Path | None = None) -> list[Path]:
        """Draw accuracy against training, and gain against accuracy before sleep."""
        from neurosleep.figures.undertrained import draw_undertrained

        return draw_undertrained(records, self.evaluate_on, folder)

    def _course(
        self,
        model: nn.Module,
        seen: _Data,
        asked: _Data,
        seed: int,
        generator: torch.Generator,
        on_progress: OnProgress,
    ) -> list[dict[str, Any]]:
        """Train one network, and let a copy sleep after each number of epochs."""
        n = len(seen[0])
        trainer = replace(self.training, epochs=1)
        optimizer = trainer.optimizer(model)
        points = []
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for epoch in range(self.epochs[-1] + 1):
                if epoch:
                    trainer.train(model, *seen, optimizer=optimizer, generator=generator)
                    on_progress(n / 1000)
                if epoch in self.epochs:
                    sleeper = copy.deepcopy(model)
                    night = self._sleep(sleeper, seen[0], seed, epoch, on_progress)
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
        self, model: nn.Module, inputs: torch.Tensor, seed: int, epoch: int, on_progress: OnProgress
    ) -> SleepRecord:
        memory, n = Memory(), len(inputs)
        memory.observe(model, inputs)
        return sleep(
            model,
            memory,
            replace(self.night, name=f"{n} images, {epoch} epochs"),
            seed=night_seed(seed, n, epoch),
            backend=self.backend,
            on_progress=lambda steps: on_progress(steps / 10_000),
        )

    def _data(self, data_dir: str | None) -> tuple[_Data, _Data]:
        """Return the training data and the test data."""
        x, y, test_x, test_y = map(torch.from_numpy, labelled_arrays(self.dataset, data_dir))
        return (x, y), (test_x, test_y)

    def _network(self, inputs: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> nn.Module:
        """Return an untrained network; the order of training takes over its generator, as released."""
        sizes = inputs.shape[1], *self.network.hidden, int(labels.max()) + 1
        return relu_network(sizes, dropout=self.network.dropout, init=self.network.init, generator=generator)


def _accuracy(model: nn.Module, asked: _Data) -> float:
    return float((predict(model, asked[0]) == asked[1]).double().mean())
