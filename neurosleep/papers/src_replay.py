"""How sleep helps: two tasks of two digits, and a look inside the second night (Tadros et al. 2022, Figs 4 to 6).

The network learns digits 0 and 1, sleeps, learns 2 and 3, and sleeps again. Before and after this second night: how
alike its hidden layers represent digits, how sparsely, and what input reaches the neurons specific to each digit.
Which neurons replay is looked at in two more nights from the same weights, driven by uniform noise, "a completely
random input": one with plasticity, as the paper has it, and one whose weights stay as they are; and in the second night
itself. Parameters are those of the released MNIST script; the paper tells no rate of the noise, see `noise_rate`.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from neurosleep import data
from neurosleep.analysis import class_responses, random_neurons, specific_neurons
from neurosleep.analysis.summaries import input_changes, replay, representation, weight_blocks
from neurosleep.continual import Nights, Stream, class_incremental, learn
from neurosleep.continual.learning import night_seed
from neurosleep.converters import to_spiking
from neurosleep.figures import analysis as plots_analysis
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay
from neurosleep.papers.base import RunContext, mean_and_sd
from neurosleep.sims.drive import Drive, MaskedMeanRate, UniformNoise
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork, population_sizes
from neurosleep.sims.plasticity import GatedHebbian, Hebbian, PlasticityRule
from neurosleep.sims.simulate import simulate
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.training import LossName, Trainer

Count = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
TASKS = 2
NIGHTS = ("noise", "noise, weights kept", "second night")


@dataclass(frozen=True)
class Config:
    """Every value of the experiment; those of network, training and sleep are the released MNIST script's.

    Any number of hidden layers will do, with a threshold for each of them and the output. `noise_rate` (Hz) is chosen
    so that hidden neurons fire about as much as in the second night itself (0.01 to 0.1 Hz; from 125 Hz on the first
    hidden layer runs away, to tens of Hz); `noise_steps` 0 is as long as that night. `shown` test images a digit are
    shown for `shown_steps` to find the `top` neurons of each digit; see
    `neurosleep.analysis.specific_neurons` for `selection`.
    """

    dataset: Literal["mnist", "mnist-small", "fashion-mnist"] = "mnist"
    images_per_task: Count = 5000
    hidden: tuple[Count, ...] = (1200, 1200)
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    init: Positive = 0.01
    epochs: Count = 2
    batch_size: Count = 100
    learning_rate: Positive = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    loss: LossName = "squared-error"
    sleep_steps: Count = 15_000
    sleep_steps_more: Annotated[int, Meta(ge=0)] = 5_000
    max_rate: Positive = 239.515363
    window: Count = 11
    plasticity: Literal["gated-hebbian", "hebbian"] = "gated-hebbian"
    inc: NonNegative = 0.032064
    dec: NonNegative = 0.003344
    thresholds: tuple[Positive, ...] = (14.548273, 44.560317, 38.046326)
    gain_scale: Positive = 55.882454
    normalization: Literal["released", "diehl", "max"] = "released"
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.999
    top: Annotated[int, Meta(ge=2)] = 100
    selection: Literal["preferred", "most-active"] = "preferred"
    shown: Count = 500
    shown_steps: Count = 25
    noise_rate: Positive = 100.0
    noise_steps: Annotated[int, Meta(ge=0)] = 0
    backend: Literal["cpu", "cuda", "reference"] = "cpu"


_Place = tuple[str | int, ...]
_MEASURES: dict[str, _Place] = {
    "correlation within classes (%)": ("within",),
    "correlation between classes (%)": ("between",),
    "population sparseness (%)": ("sparseness", "population"),
    "active units (%)": ("sparseness", "active"),
    "cosine of the tasks (%)": ("cosine", 0, 1),
    "shared among the most active units (%)": ("jaccard", 0, 1),
}


class SrcReplay:
    """See the module's text."""

    name = "src-replay"
    summary = "SRC on two tasks of two digits: representations, specific neurons and replay (Figs 4 to 6)"
    config_type: type = Config
    seeds = 5
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def amount(self, config: Config) -> float:
        """Return the work of one run in thousands of images trained on, a thousand steps of sleep counting a tenth."""
        return TASKS * config.images_per_task * config.epochs / 1000 + _slept(config) / 10_000

    def prepare(self, config: Config, data_dir: str | None) -> None:
        """Load the data once, and check that the values fit together."""
        if len(config.thresholds) != len(config.hidden) + 1:
            raise InputError(
                f"thresholds needs one value for each of the {len(config.hidden) + 1} layers of weights, "
                f"got {len(config.thresholds)}"
            )
        needed = (2 * TASKS + 1) * config.top
        if not config.hidden or min(config.hidden) < needed:
            raise InputError(
                f"hidden layers need at least {needed} neurons for the top {config.top} of {2 * TASKS} digits and as "
                f"many random ones, got {list(config.hidden)}: give a smaller top"
            )
        stream = _stream(config, data_dir)
        MaskedMeanRate(config.max_rate, config.window).schedule(
            stream.joint_inputs.shape[1], 0.001, np.zeros(stream.joint_inputs.shape[1])
        )

    def run(self, config: Config, context: RunContext) -> dict[str, Any]:
        """Learn both tasks with sleep, and look inside the second night."""
        stream = _stream(config, context.data_dir).to(context.device)
        memory, models = Memory(), dict[str, nn.Module]()
        generator = torch.Generator().manual_seed(context.seed)
        model = relu_network(_sizes(config), dropout=config.dropout, init=config.init, generator=generator)
        trainer = Trainer(config.epochs, config.batch_size, config.learning_rate, config.momentum, config.loss)
        history = learn(
            model.to(context.device),
            stream,
            trainer,
            nights=Nights(
                stages=lambda n: [_stage(config, n)],
                memory=memory,
                backend=config.backend,
                on_progress=lambda steps: context.on_progress(steps / 10_000),
            ),
            seed=context.seed,
            on_epoch=lambda: context.on_progress(config.images_per_task / 1000),
            on_checkpoint=lambda point, model: models.update({point.name: copy.deepcopy(model)}),
        )
        before, after = models[f"T{TASKS}"], models[f"S{TASKS}"]
        return {
            "tasks": [list(task.classes) for task in stream.tasks],
            **history.to_dict(),
            **_look_inside(config, context, stream, before, after, memory),
            "seconds": {"sleep": sum(night.seconds for night in history.nights)},
        }

    def summarize(self, config: Config, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of quantities before and after the second night, and of firing rates in it; means over the seeds."""
        before, after = _accuracies(runs)
        rows = [_row("accuracy on both tasks (%)", runs, before, after)]
        for layer, name in enumerate(list(population_sizes(_sizes(config)))[1:-1]):
            for what, place in _MEASURES.items():
                before, after = (_over(runs, (time, layer, *place), 100) for time in ("before", "after"))
                rows.append(_row(f"{name}: {what}", runs, before, after))
            for task in range(TASKS):
                received: _Place = ("inputs", layer, "tasks", task)
                before, after = (_over(runs, (*received, time), 100) for time in ("before", "after"))
                rows.append(_row(f"{name}: input to task {task + 1} neurons (x 100)", runs, before, after))
            for night in NIGHTS:
                found = [run["replay"][night][layer] for run in runs]
                for index, group in enumerate(found[0]["groups"]):
                    digit = "random" if group["class"] is None else f"class {group['class']}"
                    rate = _over(found, ("groups", index, "mean"), 1000)
                    tests = [f["tests"][index] for f in found] if group["class"] is not None else None
                    row = _row(f"{name}: {night}: {digit} neurons (mHz)", runs, asleep=rate, tests=tests)
                    rows.append(row)
                recent = [f["recent"] for f in found]
                rows.append(_row(f"{name}: {night}: task {TASKS} neurons above earlier", runs, tests=recent))
        return rows

    def draw(self, config: Config, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw correlations, sparseness, inputs, replay, weight changes and the raster of the noise night."""
        log = folder / "spikes.h5"
        return plots_analysis.draw_replay(runs, NIGHTS, folder, log if log.exists() else None)


def _look_inside(
    config: Config, context: RunContext, stream: Stream, before: nn.Module, after: nn.Module, memory: Memory
) -> dict[str, Any]:
    """Analyse the second night: the network before it and after it, and who fires meanwhile."""
    tasks = [list(task.classes) for task in stream.tasks]
    classes = sorted(c for task in tasks for c in task)
    inputs = torch.cat([task.test_inputs for task in stream.tasks])
    labels = torch.cat([task.test_labels for task in stream.tasks])
    stage = _stage(config, TASKS)
    network = to_spiking(
        before,
        memory.calibration if memory.calibration is not None else inputs,
        normalization=stage.normalization,
        thresholds=stage.thresholds,
        gain_scale=stage.gain_scale,
        decay=stage.decay,
    )
    shown = torch.cat([torch.nonzero(labels == c)[: config.shown, 0] for c in classes])
    seeds = [night_seed(context.seed, TASKS, stage) for stage in range(1, 4)]  # 0 is the second night's
    responses = class_responses(
        network, inputs[shown].cpu().numpy(), labels[shown].cpu().numpy(), steps=config.shown_steps, seed=seeds[0]
    )
    neurons = specific_neurons(responses, top=config.top, selection=config.selection)
    randoms = [
        random_neurons(size, config.top, exclude=groups, seed=seeds[1] + layer)
        for layer, (size, groups) in enumerate(zip(config.hidden, neurons, strict=True))
    ]
    y = labels.cpu().numpy()
    rates = _rates(config, context, network, memory, stage, seeds[2])
    return {
        "before": representation(before, inputs, y, tasks, top=config.top),
        "after": representation(after, inputs, y, tasks, top=config.top),
        "inputs": input_changes(before, after, neurons, inputs, labels, classes, tasks),
        "replay": {name: replay(layers, neurons, randoms, classes, tasks) for name, layers in rates.items()},
        "weights": weight_blocks(before, after, neurons, randoms, classes),
    }


def _rates(
    config: Config,
    context: RunContext,
    network: SpikingNetwork,
    memory: Memory,
    stage: SpontaneousReplay,
    seed: int,
) -> dict[str, list[NDArray[np.float64]]]:
    """Return every hidden neuron's rate in Hz in each of `NIGHTS`; the first one is logged."""
    noise, steps = UniformNoise(config.noise_rate), config.noise_steps or stage.steps
    own = night_seed(context.seed, TASKS, 0)
    nights: list[tuple[Drive, PlasticityRule | None, int, int]] = [
        (noise, stage.plasticity, seed, steps),
        (noise, None, seed, steps),
        (stage.drive, stage.plasticity, own, stage.steps),
    ]
    rates = {}
    for name, (drive, rule, seed, steps) in zip(NIGHTS, nights, strict=True):
        with _open_log(config, context, name) as log:
            slept = simulate(
                network,
                drive,
                rule,
                steps,
                mean_input=memory.mean_input,
                seed=seed,
                backend=config.backend,
                log=log,
                on_progress=lambda steps: context.on_progress(steps / 10_000),
            )
            if log is not None:
                log.end_epoch()
        rates[name] = [counts / (steps * network.dt) for counts in slept.spike_counts[1:-1]]
    return rates


@contextmanager
def _open_log(config: Config, context: RunContext, night: str) -> Iterator[SpikeLog | None]:
    if context.spikes is None or night != NIGHTS[0]:
        yield None
        return
    populations = population_sizes(_sizes(config))
    with SpikeLog(
        context.spikes, populations, dt=0.001, seed=context.seed, config=asdict(config), overwrite=True
    ) as log:
        log.begin_epoch(night, seed=context.seed)
        yield log


def _sizes(config: Config) -> tuple[int, ...]:
    return (784, *config.hidden, 10)


def _slept(config: Config) -> float:
    """Return the steps of all nights."""
    steps = [_stage(config, number).steps for number in range(1, TASKS + 1)]
    return sum(steps) + 2 * (config.noise_steps or steps[-1]) + steps[-1]


def _stream(config: Config, data_dir: str | None) -> Stream:
    """Return the first two tasks of two classes each."""
    train, test = (data.load(config.dataset, split, data_dir=data_dir) for split in ("train", "test"))
    every = class_incremental(
        train.vectors(), train.labels, test.vectors(), test.labels, images_per_task=config.images_per_task
    )
    tasks = every.tasks[:TASKS]
    return Stream(tasks, torch.cat([task.inputs for task in tasks]), torch.cat([task.labels for task in tasks]))


def _stage(config: Config, number: int) -> SpontaneousReplay:
    rule = GatedHebbian if config.plasticity == "gated-hebbian" else Hebbian
    return SpontaneousReplay(
        steps=config.sleep_steps + (number - 1) * config.sleep_steps_more,
        drive=MaskedMeanRate(config.max_rate, config.window),
        plasticity=rule(config.inc, config.dec),
        thresholds=config.thresholds,
        gain_scale=config.gain_scale,
        normalization=config.normalization,
        decay=config.decay,
        name=f"night {number}",
    )


def _accuracies(runs: list[dict[str, Any]]) -> list[list[float]]:
    points = [{p["name"]: 100 * p["accuracy"] for p in run["checkpoints"]} for run in runs]
    return [[p[f"{kind}{TASKS}"] for p in points] for kind in "TS"]


def _over(runs: Sequence[dict[str, Any]], place: _Place, scale: float) -> list[float]:
    """Return one value of every run, nan where it is not defined."""
    values = []
    for run in runs:
        value: Any = run
        for key in place:
            value = value[key]
        values.append(float("nan") if value is None else scale * float(value))
    return values


def _row(
    what: str,
    runs: Sequence[Any],
    before: Sequence[float] = (),
    after: Sequence[float] = (),
    asleep: Sequence[float] = (),
    tests: Sequence[dict[str, Any] | None] | None = None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"quantity": what}
    for name, values in (("before", before), ("after", after), ("asleep", asleep)):
        row[name], row[f"s.d. {name}"] = mean_and_sd(list(values)) if values else (float("nan"), float("nan"))
    if tests is not None:
        row["above, p < 0.05"] = f"{sum(_significant(t) for t in tests)} of {len(runs)}"
    else:
        row["above, p < 0.05"] = None
    return {**row, "seeds": len(runs)}


def _significant(test: dict[str, Any] | None) -> bool:
    """Whether the first group fires more than the second, at a level of 0.05 after correction."""
    return test is not None and test["p"] is not None and bool(test["p"] < 0.05 and test["statistic"] > 0)
