"""What a saved learner must be before one goes on from it: shapes, types and ranges of all that was read."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch

from neurosleep.night import SleepRecord, WeightChange
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.tripartite.network import Architecture
from neurosleep.tripartite.rows import RunTrace
from neurosleep.tripartite.stages import StageRecord

_TRUTHS = ("amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay")  # of Adam, never used


def check_values(state: Mapping[str, Any], classes: int) -> None:
    """Refuse numbers, classes and tensors that no learner has.

    Raises
    ------
    InputError
        If something is out of its range; what is missing or of another type may raise other errors.
    """
    numbers, seen = state["numbers"], state["seen"]
    for name in ("seed", "task", "n_old", "stage", "iteration"):
        if type(numbers[name]) is not int or numbers[name] < 0:
            raise InputError(f"its {name} must be a whole number from 0, got {numbers[name]!r}")
    if not 0 <= numbers["seconds"] < math.inf:
        raise InputError(f"its seconds must be at least 0 and finite, got {numbers['seconds']!r}")
    if seen.dtype != torch.int64 or seen.ndim != 1 or len(seen.unique()) < len(seen):
        raise InputError("its classes seen must be whole numbers, each once")
    if len(seen) and not 0 <= int(seen.min()) <= int(seen.max()) < classes:
        raise InputError(f"its classes seen must be from 0 to {classes - 1}, got {seen.tolist()[:20]}")
    if numbers["n_old"] > len(seen) or (state["generator"] is None) != (numbers["n_old"] == 0):
        raise InputError(
            f"it has {numbers['n_old']} old classes of {len(seen)} seen, and a generator that does not fit"
        )
    if state["totals"].shape != (3,):
        raise InputError(f"its sums of losses must be 3, got {tuple(state['totals'].shape)}")
    for path, tensor in _tensors(state, "learner"):
        if tensor.layout != torch.strided or tensor.is_meta or not tensor.is_contiguous():
            raise InputError(f"{path} must be a plain tensor, all of its values in the file")
        moments = path.startswith("learner.optimizer")  # squares of gradients may have grown beyond all numbers
        if (torch.isnan(tensor) if moments else ~torch.isfinite(tensor)).any():
            raise InputError(f"{path} has values that are not finite")
    memory = state["memory"]
    if type(memory["count"]) is not int or memory["count"] < 0 or not 0 <= memory["largest"] < math.inf:
        raise InputError(f"its memory has seen {memory['count']!r} inputs up to {memory['largest']!r}")
    if not all(0 <= scale < math.inf for scale in memory["scales"] or ()):
        raise InputError(f"the scales of its memory must be finite and at least 0, got {memory['scales']!r}")
    RunTrace.of(state["looks"])


def check_size(architecture: Architecture, network: Mapping[str, torch.Tensor]) -> None:
    """Refuse a network that would be larger than the weights that were saved of it."""
    a = architecture
    layers = [(a.features, a.hidden[0]), *pairwise(a.hidden), (a.hidden[-1], a.latents), (a.hidden[-1], a.classes)]
    layers += [(a.classes, sum(a.hidden))] if a.gating else []
    layers += [(a.classes, a.features)] if a.class_means else []
    layers += [(a.features, a.features)] if a.observation_noise else []
    saved = sum(tensor.numel() for tensor in network.values())
    if sum(n * m for n, m in layers) > saved:
        raise InputError(f"its {saved} weights are fewer than those of {a}")


def check_moments(optimizer: torch.optim.Adam, fresh: torch.optim.Adam) -> None:
    """Refuse settings and moments of Adam that do not belong to these weights and this learning rate."""
    for group, right in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        for name in ("lr", "betas", "eps", "weight_decay"):
            if group[name] != right[name]:
                raise InputError(f"{name} of its Adam must be {right[name]!r}, got {group[name]!r}")
        if any(group.get(name, False) is not False for name in _TRUTHS):
            raise InputError(f"its Adam must have none of {', '.join(_TRUTHS)}")
        for weights in group["params"]:
            moments = optimizer.state.get(weights, {})
            for name, value in moments.items():
                right_shape = () if name == "step" else weights.shape
                if (
                    name not in ("step", "exp_avg", "exp_avg_sq")
                    or value.shape != right_shape
                    or (name != "exp_avg" and bool((value < 0).any()))
                ):
                    raise InputError(f"{name} of its Adam does not belong to weights of shape {tuple(weights.shape)}")
            if moments and len(moments) != 3:
                raise InputError(f"its Adam has {', '.join(moments)}, not step, exp_avg and exp_avg_sq")


def record_of(kind: str, values: Mapping[str, Any]) -> StageRecord | SleepRecord:
    """Return a record by the name of its class, its values held against their types."""
    if kind == StageRecord.__name__:
        record: StageRecord | SleepRecord = StageRecord(**values)
    elif kind == SleepRecord.__name__:
        changes = [WeightChange(**change) for change in values["weight_changes"]]
        for change in changes:
            settle(change)
        record = SleepRecord(**{**values, "weight_changes": changes})
    else:
        raise InputError(f"there are no records {str(kind)[:40]!r}")
    settle(record)
    named = [value for value in vars(record).values() if isinstance(value, dict)]
    if not all(isinstance(key, str) and isinstance(x, int | float) for value in named for key, x in value.items()):
        raise InputError(f"a record of stage {record.stage!r} has values that are no numbers")
    return record


def _tensors(value: Any, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tensors(part, f"{path}.{key}")
