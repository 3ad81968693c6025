"""How sleep helps: a look inside the night after a second task (Tadros et al. 2022, Figs 4 to 6)."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurosleep.analysis import class_responses, random_neurons, specific_neurons
from neurosleep.analysis.summaries import input_changes, replay, representation, weight_blocks
from neurosleep.continual import Nights, Stream, learn
from neurosleep.continual.learning import night_seed
from neurosleep.experiments.conditions import Backend
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.networks import ReluNetwork
from neurosleep.experiments.studies.base import OnProgress, Study
from neurosleep.experiments.studies.second_night_rows import second_night_rows
from neurosleep.memory import Memory
from neurosleep.night import SpontaneousReplay, fall_asleep
from neurosleep.sims.drives.rates import MaskedMeanRate, UniformNoise
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.network import SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian
from neurosleep.sims.silencing import Silencing, silence
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import Trainer
from neurosleep.trial_night import try_night

OnSteps = Callable[[int], None]
TASKS = 2
NIGHTS = ("noise", "noise, weights kept", "second night")
_STREAM = DataStream("mnist", images_per_task=5000, order="released")
_NOISE = UniformNoise(100.0)
_NIGHT = SpontaneousReplay(
    steps=15_000,
    drive=MaskedMeanRate(239.515363),
    plasticity=GatedHebbian(0.032064, 0.003344),
    thresholds=(14.548273, 44.560317, 38.046326),
    gain_scale=55.882454,
    name="night",
)


@dataclass(frozen=True)
class SecondNight(Study):
    """The first two tasks of a stream, each followed by a night, and a look inside the second night.

    Before and after the second night: how alike the hidden layers represent classes, how sparsely, and what input
    reaches the neurons specific to each class. Which neurons replay is looked at in two more nights from the same
    weights, driven by uniform noise, "a completely random input": one with plasticity, as the paper has it, and one
    whose weights stay as they are; and in the second night itself. Defaults are the released MNIST script's; the paper
    tells no rate of the noise.

    Parameters
    ----------
    stream, network, training
        What is learned, by what, and how.
    night, steps_more
        The night after the first task, and the steps by which the second is longer.
    noise, noise_steps
        What drives the two further nights, and their length; 0 for that of the second night. At 100 Hz hidden neurons
        fire about as much as in the second night itself (0.01 to 0.1 Hz); from 125 Hz on the first hidden layer runs
        away, to tens of Hz.
    top, selection
        Neurons of each class that are taken as specific to it, and how; see `neurosleep.analysis.specific_neurons`.
    shown, shown_steps
        Test inputs of each class that are shown to find them, and for how many steps each.
    backend
        What simulates sleep.
    """

    stream: DataStream = _STREAM
    network: ReluNetwork = field(default_factory=ReluNetwork)
    training: Trainer = field(default_factory=Trainer)
    night: SpontaneousReplay = _NIGHT
    steps_more: int = 5_000
    noise: UniformNoise = _NOISE
    noise_steps: int = 0
    top: int = 100
    selection: Literal["preferred", "most-active"] = "preferred"
    shown: int = 500
    shown_steps: int = 25
    backend: Backend = "cpu"

    captions: ClassVar = MappingProxyType(
        {
            "correlations": "Mean correlation of the activity of two inputs, by their classes, before and after the "
            "second night; numbers are means over seeds.",
            "sparseness": "Sparseness, share of active units, and likeness of the two tasks' mean activity, in each "
            "hidden layer before and after the second night. Bars are means over seeds with their 95 % interval, dots "
            "are seeds.",
            "inputs": "Input to the neurons specific to the classes of each task, shown those classes, before and "
            "after the second night. Bars are means over seeds with their 95 % interval, dots are seeds.",
            "replay": "Firing rates in Hz of the neurons specific to each class, and of random ones, in nights of "
            "noise with and without plasticity and in the second night. Bars are means over seeds with their 95 % "
            "interval, dots are seeds; above each, in how many seeds these neurons fire more than the random ones "
            "(Welch's t test, Bonferroni, p < 0.05), or the p value of a single seed.",
            "weight-fields": "Mean change in the second night of the weights from each input to the neurons of the "
            "first hidden layer that are specific to a class, of the first seed.",
            "weight-blocks": "Mean change in the second night of the weights between groups of neurons of two layers, "
            "of the first seed.",
            "raster": "Spikes of the first second of the night of noise, of the first seed.",
        }
    )

    def __post_init__(self) -> None:
        settle(self)
        for name, least in (("steps_more", 0), ("noise_steps", 0), ("top", 2), ("shown", 1), ("shown_steps", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def amount(self) -> float:
        """Return the work of one run in thousands of images trained on, a thousand steps of sleep counting a tenth."""
        first, second = (self._stage(number).steps for number in (1, 2))
        slept = first + second + 2 * (self.noise_steps or second) + second
        return TASKS * self._epoch() * self.training.epochs + slept / 10_000

    def check(self, data_dir: str | None = None) -> None:
        """Load the data once, and check that the values fit together."""
        whole, stream = self._streams(0, data_dir)
        classes = [c for task in stream.tasks for c in task.classes]
        if len(stream.tasks) < TASKS or len(set(classes)) < len(classes):
            raise InputError(f"the stream needs {TASKS} tasks of different classes, got {self.stream!r}")
        hidden = self.network.hidden
        needed = (len(classes) + 1) * self.top
        if not hidden or min(hidden) < needed:
            raise InputError(
                f"hidden layers need at least {needed} neurons for the top {self.top} of {len(classes)} classes and as "
                f"many random ones, got {list(hidden)}: give a smaller top"
            )
        model = self.network.make(*_sizes(whole), 0)
        for night in (self.night, replace(self.night, drive=self.noise)):
            try_night(model, Memory(), stream.tasks[0].inputs[:2], [night], backend=self.backend)

    def run(
        self,
        seed: int,
        *,
        device: str = "cpu",
        data_dir: str | None = None,
        log: Path | None = None,
        on_progress: OnProgress = lambda amount: None,
    ) -> dict[str, Any]:
        """Learn both tasks with sleep, and look inside the second night; `log` takes the spikes of the noise night."""
        whole, stream = self._streams(seed, data_dir)
        stream = stream.to(device)
        memory, models = Memory(), dict[str, nn.Module]()

        def on_steps(steps: int) -> None:
            on_progress(steps / 10_000)

        history = learn(
            self.network.make(*_sizes(whole), seed).to(device),
            stream,
            self.training,
            nights=Nights(
                stages=lambda number: [self._stage(number)], memory=memory, backend=self.backend, on_progress=on_steps
            ),
            seed=seed,
            on_epoch=lambda: on_progress(self._epoch()),
            on_checkpoint=lambda point, model: models.update({point.name: copy.deepcopy(model)}),
        )
        found = self._look_inside(seed, stream, models[f"T{TASKS}"], models[f"S{TASKS}"], memory, log, on_steps)
        return {
            "tasks": [list(task.classes) for task in stream.tasks],
            **history.to_dict(),
            **found,
            "seconds": {"sleep": sum(night.seconds for night in history.nights)},
        }

    def rows(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of quantities before and after the second night, and of firing rates in it; means over the seeds."""
        return second_night_rows(records, NIGHTS)

    def draw(self, records: Sequence[dict[str, Any]], folder: Path, log: Path | None = None) -> list[Path]:
        """Draw correlations, sparseness, inputs, replay, weight changes and the raster of the noise night."""
        from neurosleep.figures.analysis import draw_replay

        return draw_replay(records, NIGHTS, folder, log)

    def _look_inside(
        self,
        seed: int,
        stream: Stream,
        before: nn.Module,
        after: nn.Module,
        memory: Memory,
        log: Path | None,
        on_steps: OnSteps,
    ) -> dict[str, Any]:
        """Analyse the second night: the network before it and after it, and who fires meanwhile."""
        tasks = [list(task.classes) for task in stream.tasks]
        classes = sorted(c for task in tasks for c in task)
        inputs = torch.cat([task.test_inputs for task in stream.tasks])
        labels = torch.cat([task.test_labels for task in stream.tasks])
        y = labels.cpu().numpy()
        own, *seeds = (night_seed(seed, TASKS, stage) for stage in range(4))  # 0 is the second night's
        network = fall_asleep(before, memory, self.night, seed=own).network

        shown = np.concatenate([np.flatnonzero(y == c)[: self.shown] for c in classes])
        responses = class_responses(
            network, inputs[shown].cpu().numpy(), y[shown], steps=self.shown_steps, seed=seeds[0]
        )
        neurons = specific_neurons(responses, top=self.top, selection=self.selection)
        randoms = [
            random_neurons(size, self.top, exclude=groups, seed=seeds[1] + layer)
            for layer, (size, groups) in enumerate(zip(self.network.hidden, neurons, strict=True))
        ]
        second = self._stage(TASKS)
        noise = replace(second, steps=self.noise_steps or second.steps, drive=self.noise)
        nights = ((noise, seeds[2]), (replace(noise, plasticity=None), seeds[2]), (second, own))
        fired = {}
        for name, (night, night_of) in zip(NIGHTS, nights, strict=True):
            with _open_log(log if name == NIGHTS[0] else None, network, night_of, name) as spikes:
                rates = self._rates(network, memory, night, night_of, spikes, on_steps)
            fired[name] = replay(rates, neurons, randoms, classes, tasks)
        return {
            "before": representation(before, inputs, y, tasks, top=self.top),
            "after": representation(after, inputs, y, tasks, top=self.top),
            "inputs": input_changes(before, after, neurons, inputs, labels, classes, tasks),
            "replay": fired,
            "weights": weight_blocks(before, after, neurons, randoms, classes),
        }

    def _streams(self, seed: int, data_dir: str | None) -> tuple[Stream, Stream]:
        """Return the whole stream, and its first two tasks."""
        whole = self.stream.make(seed, data_dir)
        tasks = whole.tasks[:TASKS]
        return whole, Stream(tasks, torch.cat([t.inputs for t in tasks]), torch.cat([t.labels for t in tasks]))

    def _epoch(self) -> float:
        """Return the work of an epoch."""
        return (self.stream.images_per_task or 5000) / 1000

    def _stage(self, number: int) -> SpontaneousReplay:
        """Return the night after a task, 1 for the first."""
        steps = self.night.steps + (number - 1) * self.steps_more
        return replace(self.night, steps=steps, name=f"{self.night.name} {number}")

    def _rates(
        self,
        network: SpikingNetwork,
        memory: Memory,
        night: SpontaneousReplay,
        seed: int,
        log: SpikeLog | None,
        on_steps: OnSteps,
    ) -> list[NDArray[np.float64]]:
        """Return the rate in Hz of every hidden neuron in a night, layer by layer."""
        drive, state = silence(Silencing(night.silenced or {}), network, night.drive, night.streams)
        slept = simulate(
            network,
            drive,
            night.plasticity,
            night.steps,
            mean_input=memory.mean_input,
            seed=seed,
            backend=self.backend,
            state=state,
            log=log,
            downscaling=night.downscaling,
            downscale_every=night.downscale_every,
            streams=night.streams,
            on_progress=on_steps,
        )
        return [counts / (night.steps * night.streams * network.dt) for counts in slept.spike_counts[1:-1]]


@contextmanager
def _open_log(path: Path | None, network: SpikingNetwork, seed: int, name: str) -> Iterator[SpikeLog | None]:
    if path is None:
        yield None
        return
    with SpikeLog(path, network.populations, dt=network.dt, seed=seed, overwrite=True) as log:
        log.begin_epoch(name, seed=seed)
        yield log
        log.end_epoch()


def _sizes(stream: Stream) -> tuple[int, int]:
    """Return how many inputs and classes a stream has."""
    return int(stream.joint_inputs.shape[1]), int(stream.joint_labels.max()) + 1
