"""What the record of a run must hold for results and pages to be made of it."""

from typing import Annotated, Literal

import msgspec

from neurosleep.experiments.record import Record
from neurosleep.sims.errors import InputError

MOST_CELLS = 100_000
"""Stages times populations, and stages times layers: tables of results have a cell for each."""

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Number = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
_Real = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Weight = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class _Task(msgspec.Struct):
    name: str
    classes: list[int] = []


class _Point(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(pattern="^[TS][1-9][0-9]*$", max_length=6)]
    task: _Number
    accuracy: _Share
    task_accuracies: list[_Share]


class _Change(msgspec.Struct):
    layer: str
    size: _Number
    potentiated: _Count
    depressed: _Count
    mean_absolute_change: _Real | None  # nan is null in JSON


class _Segment(msgspec.Struct):
    name: str
    begin: _Count
    steps: _Count
    spikes: dict[str, _Count]
    rates: dict[str, _Real]


class _Stage(msgspec.Struct):
    task: _Number
    index: _Count
    kind: Literal[
        "MagnitudePruning", "GradedDownscaling", "REM", "Interleaved", "NREM", "SpontaneousReplay"
    ]  # those that pages draw
    rates: dict[str, _Real] = {}
    spikes: dict[str, _Count] = {}
    populations: dict[str, _Count] = {}
    synaptic_operations: _Count = 0
    weight_changes: list[_Change] = []
    segments: list[_Segment] = []
    begin: _Count | None = None
    steps: _Count | None = None
    iterations: _Count | None = None


class _Seconds(msgspec.Struct):
    total: _Real
    sleep: _Real


class _Histogram(msgspec.Struct, rename={"low": "from", "high": "to"}):
    counts: Annotated[list[_Count], msgspec.Meta(min_length=1)]
    low: _Weight
    high: _Weight


class _Study(msgspec.Struct):
    format: Literal[1]
    condition: str
    seed: Annotated[int, msgspec.Meta(ge=0)]
    log: bool
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    seconds: _Seconds


class _Notice(msgspec.Struct):
    kind: str
    text: str


class _Record(_Study):
    tasks: Annotated[list[_Task], msgspec.Meta(min_length=1, max_length=10_000)]
    accuracy: _Share
    checkpoints: Annotated[list[_Point], msgspec.Meta(min_length=1)]
    stages: list[_Stage]
    notices: list[_Notice] = []
    weights: dict[Annotated[str, msgspec.Meta(pattern="^[TS][1-9][0-9]*$")], list[_Histogram]] | None = None


def check_record(record: Record) -> None:
    """Check that a record has all that is taken from it later, of the right kinds, in its range.

    Raises
    ------
    InputError
        If not, with what is wrong and where.
    """
    try:
        if "study" in record:
            msgspec.convert(record, _Study)
            return
        read = msgspec.convert(record, _Record)
    except msgspec.ValidationError as error:
        raise InputError(str(error)) from error
    names = [point.name for point in read.checkpoints]
    for point in read.checkpoints:
        number = int(point.name[1:])
        if len(point.task_accuracies) != len(read.tasks) or number > len(read.tasks) or names.count(point.name) > 1:
            raise InputError(f"checkpoint {point.name} is not one of {len(read.tasks)} tasks")
        if point.task != number and len(names) > 1:
            raise InputError(f"checkpoint {point.name} tells of task {point.task}")
    _check_stages(read.stages, len(read.tasks))
    for name, layers in (read.weights or {}).items():
        if not layers or len(layers) != len(next(iter(read.weights.values()))):  # type: ignore[union-attr]
            raise InputError(f"weights.{name} has {len(layers)} layers, other than those before it")
        if any(not layer.low < layer.high for layer in layers):
            raise InputError(f"weights.{name} has a histogram that does not go up")


def _check_stages(stages: list[_Stage], tasks: int) -> None:
    populations = {name for stage in stages for name in (*stage.rates, *stage.spikes)}
    layers = {change.layer for stage in stages for change in stage.weight_changes}
    if len(stages) * max(len(populations), len(layers)) > MOST_CELLS:
        raise InputError(
            f"{len(stages)} stages, {len(populations)} populations and {len(layers)} layers are more than results hold"
        )
    replays: dict[int, _Stage] = {}
    for number, stage in enumerate(stages):
        where = f"$.stages[{number}]"
        if stage.task > tasks:
            raise InputError(f"{where} is after task {stage.task} of {tasks}")
        for change in stage.weight_changes:
            if max(change.potentiated, change.depressed) > change.size:
                raise InputError(
                    f"more weights of {where} changed than the {change.size} that layer {change.layer} has"
                )
        if stage.kind != "SpontaneousReplay":
            continue
        if stage.begin is None or stage.steps is None or not stage.rates.keys() == stage.spikes.keys():
            raise InputError(f"{where} lacks begin, steps, or the rates or spikes of a population")
        first = replays.setdefault(stage.task, stage)
        if first.rates.keys() != stage.rates.keys() or len(first.weight_changes) != len(stage.weight_changes):
            raise InputError(f"{where} has other populations or layers than the first of its night")
