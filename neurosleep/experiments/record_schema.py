"""What the record of a run must hold for results and pages to be made of it."""

from typing import Annotated, Literal

import msgspec

from neurosleep.experiments.record import Record
from neurosleep.sims.errors import InputError

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Number = Annotated[int, msgspec.Meta(ge=1)]


class _Task(msgspec.Struct):
    name: str


class _Point(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(pattern="^[TS][1-9][0-9]*$")]
    accuracy: _Share
    task_accuracies: list[_Share]


class _Change(msgspec.Struct):
    layer: str
    size: _Number
    potentiated: _Count
    depressed: _Count
    mean_absolute_change: float | None  # nan is null in JSON


class _Stage(msgspec.Struct):
    task: _Number
    index: _Count
    kind: str
    rates: dict[str, float] = {}
    spikes: dict[str, _Count] = {}
    synaptic_operations: _Count = 0
    weight_changes: list[_Change] = []


class _Seconds(msgspec.Struct):
    total: float
    sleep: float


class _Study(msgspec.Struct):
    format: Literal[1]
    condition: str
    seed: _Count
    log: bool
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    seconds: _Seconds


class _Notice(msgspec.Struct):
    kind: str
    text: str


class _Record(_Study):
    tasks: Annotated[list[_Task], msgspec.Meta(min_length=1)]
    accuracy: _Share
    checkpoints: Annotated[list[_Point], msgspec.Meta(min_length=1)]
    stages: list[_Stage]
    notices: list[_Notice] = []


def check_record(record: Record) -> None:
    """Check that a record has all that is taken from it later, of the right kinds.

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
    for point in read.checkpoints:
        if len(point.task_accuracies) != len(read.tasks) or int(point.name[1:]) > len(read.tasks):
            raise InputError(f"checkpoint {point.name} is not one of {len(read.tasks)} tasks")
