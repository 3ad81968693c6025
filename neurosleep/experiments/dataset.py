"""All runs of an experiment as one labelled dataset: condition x seed x task x time, and what each stage did."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosleep import __version__
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.record import Record, RunId

_RUN: dict[str, tuple[str, str]] = {  # variables over condition and seed, with units and what they are
    "accuracy": ("share", "share of all test inputs classified right at the end"),
    "old_accuracy": ("share", "mean accuracy at the end on all tasks but the last"),
    "first_task_accuracy": ("share", "accuracy at the end on the first task"),
    "new_accuracy": ("share", "accuracy at the end on the last task"),
    "forgetting": (
        "share",
        "mean over all tasks but the last of the best accuracy before the end minus that at the end "
        "(Chaudhry et al. 2018, arXiv 1801.10112)",
    ),
    "sleep_seconds": ("s", "time that spontaneous replay took on the machine"),
    "total_seconds": ("s", "time that the run took on the machine"),
}
_TIME: dict[str, tuple[str, str, tuple[str, ...]]] = {  # over condition, seed, time and more
    "total_accuracy": ("share", "share of all test inputs classified right", ()),
    "task_accuracy": ("share", "share of a task's test inputs classified right", ("task",)),
}
_STAGE: dict[str, tuple[str, str, tuple[str, ...]]] = {  # over condition, seed, stage and more
    "rate": ("Hz", "mean firing rate of a neuron in spontaneous replay", ("population",)),
    "spikes": ("1", "spikes in spontaneous replay", ("population",)),
    "synaptic_operations": ("1", "spikes times the synapses they pass on to", ()),
    "potentiated": ("share", "share of a layer's synapses that grew", ("layer",)),
    "depressed": ("share", "share of a layer's synapses that shrank", ("layer",)),
    "mean_absolute_change": ("1", "mean absolute change of a layer's weights", ("layer",)),
}
_DIMS = {
    "condition": "name of the condition",
    "seed": "seed of the run; fixes the order of tasks, initial weights and all other random numbers",
    "task": "place of the task in the order in which the tasks of a seed were learned, from 0",
    "time": "checkpoint: T1 after training on the first task, S1 after the night that follows, T2, ...",
    "stage": "stage of sleep, as TASK.INDEX: 2.0 is the first stage of the night after the second task",
    "population": "population of neurons",
    "layer": "layer of weights",
}


def make_dataset(experiment: Experiment, records: Mapping[RunId, Record], state: Mapping[str, Any]) -> Any:
    """Return the runs of an experiment as an ``xarray.Dataset``; what is missing, or not defined, is nan.

    Times are the checkpoints "T1" (after training on the first task), "S1" (after that task's night), "T2", ...; a
    condition without nights has no "S". Joint learning is measured once, at the end: at the last "T". Tasks are
    numbered in the order in which they were learned, from 0; ``task_name`` says which they were for each seed. Stages
    are called "TASK.INDEX": the first stage of the night after the second task is "2.0".

    Forgetting is that of Chaudhry et al. 2018 (ECCV, arXiv 1801.10112), from accuracies as shares; the best
    is that of all checkpoints before the last, also of those between training and night.

    Parameters
    ----------
    experiment, records
        What was asked, and the finished runs.
    state
        What else the file is to say of itself, as plain values: under "missing", "failed", "damaged".
    """
    import xarray  # slow, as the others that are imported where they are used

    dims = _dimensions(experiment, records)
    arrays = {name: _filled(dims, ("condition", "seed"), records, _of_run(name)) for name in _RUN}
    data: dict[str, Any] = {
        name: (("condition", "seed"), arrays[name], {"units": units, "long_name": told})
        for name, (units, told) in _RUN.items()
    }
    for name, (units, told, more) in _TIME.items():
        over = ("condition", "seed", "time", *more)
        data[name] = (over, _filled(dims, over, records, _at_times(name)), {"units": units, "long_name": told})
    for name, (units, told, more) in _STAGE.items():
        over = ("condition", "seed", "stage", *more)
        data[name] = (over, _filled(dims, over, records, _of_stages(name)), {"units": units, "long_name": told})
    names = np.full((len(dims["seed"]), len(dims["task"])), "", dtype=object)
    kinds = np.full((len(dims["condition"]), len(dims["stage"])), "", dtype=object)
    for run, record in records.items():
        for task, row in enumerate(record["tasks"]):
            names[dims["seed"].index(run.seed), task] = row["name"]
        for row in record["stages"]:
            kinds[dims["condition"].index(run.condition), dims["stage"].index(_place(row))] = row["kind"]
    data["task_name"] = (("seed", "task"), names, {"long_name": "classes of each task"})
    data["stage_kind"] = (("condition", "stage"), kinds, {"long_name": "kind of each stage; empty where there is none"})
    attributes = {
        "title": experiment.question,
        "notes": experiment.notes,
        "experiment": experiment.to_toml(),
        "complete": int(len(records) == len(experiment.runs)),
        "written_by": f"neurosleep {__version__}",
        **{key: _distinct(records, key) for key in ("versions", "machine")},
        **{key: json.dumps(value, ensure_ascii=False) for key, value in state.items()},
    }
    coordinates = {
        name: (
            name,
            np.array(values, dtype=np.int64 if name in ("seed", "task") else object),
            {"long_name": _DIMS[name]},
        )
        for name, values in dims.items()
    }
    return xarray.Dataset(data, coordinates, attributes)


_Places = Iterator[tuple[tuple[Any, ...], float | None]]


def _dimensions(experiment: Experiment, records: Mapping[RunId, Record]) -> dict[str, list[Any]]:
    """Return the coordinates, in an order that does not depend on which run was finished first."""
    ordered = [records[run] for run in experiment.runs if run in records]
    tasks = max((len(record["tasks"]) for record in ordered), default=0)
    points = {point["name"] for record in ordered for point in record["checkpoints"]}
    stages = {(stage["task"], stage["index"]) for record in ordered for stage in record["stages"]}
    found: dict[str, dict[str, None]] = {"population": {}, "layer": {}}
    for record in ordered:
        for stage in record["stages"]:
            found["population"] |= dict.fromkeys(stage.get("rates", ()))
            found["layer"] |= dict.fromkeys(change["layer"] for change in stage.get("weight_changes", ()))
    return {
        "condition": list(experiment.conditions),
        "seed": list(dict.fromkeys(run.seed for run in experiment.runs)),
        "task": list(range(tasks)),
        "time": [name for n in range(1, tasks + 1) for name in (f"T{n}", f"S{n}") if name in points or name[0] == "T"],
        "stage": [f"{task}.{index}" for task, index in sorted(stages)],
        "population": list(found["population"]),
        "layer": list(found["layer"]),
    }


def _filled(
    dims: Mapping[str, list[Any]],
    over: tuple[str, ...],
    records: Mapping[RunId, Record],
    values_of: Callable[[Record], _Places],
) -> NDArray[np.float64]:
    """Return an array over some dimensions, with the values of all runs at their places."""
    array = np.full([len(dims[name]) for name in over], math.nan)
    for run, record in records.items():
        first = dims["condition"].index(run.condition), dims["seed"].index(run.seed)
        for place, value in values_of(record):
            rest = (dims[name].index(label) for name, label in zip(over[2:], place, strict=True))
            array[(*first, *rest)] = math.nan if value is None else value
    return array


def _of_run(name: str) -> Callable[[Record], _Places]:
    def values(record: Record) -> _Places:
        yield (), _SCALARS[name](record)

    return values


def _final(record: Record) -> list[float]:
    accuracies: list[float] = record["checkpoints"][-1]["task_accuracies"]
    return accuracies


def _forgetting(record: Record) -> float:
    """Return how far old tasks fell from their best; nan for a single checkpoint, or a single task."""
    before = [point["task_accuracies"] for point in record["checkpoints"][:-1]]
    if not before or len(_final(record)) < 2:
        return math.nan
    return float(np.mean((np.max(before, axis=0) - _final(record))[:-1]))


def _mean_of_old(record: Record) -> float:
    return float(np.mean(_final(record)[:-1])) if len(_final(record)) > 1 else math.nan


_SCALARS: dict[str, Callable[[Record], float]] = {
    "accuracy": lambda record: record["accuracy"],
    "old_accuracy": _mean_of_old,
    "first_task_accuracy": lambda record: _final(record)[0],
    "new_accuracy": lambda record: _final(record)[-1],
    "forgetting": _forgetting,
    "sleep_seconds": lambda record: record["seconds"]["sleep"],
    "total_seconds": lambda record: record["seconds"]["total"],
}


def _at_times(name: str) -> Callable[[Record], _Places]:
    def values(record: Record) -> _Places:
        points = record["checkpoints"]
        only = len(points) == 1 < len(record["tasks"])  # joint learning
        for point in points:
            time = f"T{len(record['tasks'])}" if only else point["name"]
            if name == "total_accuracy":
                yield (time,), point["accuracy"]
            else:
                for task, accuracy in enumerate(point["task_accuracies"]):
                    yield (time, task), accuracy

    return values


def _place(stage: Mapping[str, Any]) -> str:
    return f"{stage['task']}.{stage['index']}"


def _of_stages(name: str) -> Callable[[Record], _Places]:
    def values(record: Record) -> _Places:
        for stage in record["stages"]:
            place = _place(stage)
            if name in ("rate", "spikes"):
                for population, value in stage.get("rates" if name == "rate" else "spikes", {}).items():
                    yield (place, population), value
            elif name == "synaptic_operations":
                if name in stage and stage["kind"] == "SpontaneousReplay":
                    yield (place,), stage[name]
            else:
                for change in stage.get("weight_changes", ()):
                    share = name in ("potentiated", "depressed")
                    yield (place, change["layer"]), change[name] / change["size"] if share else change[name]

    return values


def _distinct(records: Mapping[RunId, Record], key: str) -> str:
    """Return the different values that runs have for a key, as JSON."""
    texts = dict.fromkeys(json.dumps(record.get(key, {}), sort_keys=True) for record in records.values())
    return f"[{', '.join(sorted(texts))}]"
