"""The one front for labelled data: inputs and labels as people have them, checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neurosleep.sims.errors import InputError


def checked_inputs(inputs: Any, what: str = "inputs") -> torch.Tensor:
    """Return inputs (n, ...) as finite floats: float32, but for tensors that are floats already.

    Raises
    ------
    InputError
        If they are something else, with `what` as their name.
    """
    x = _tensor(inputs, what)
    if x.dim() < 2 or 0 in x.shape or x.is_complex():
        raise InputError(f"{what} must be numbers (n, ...) with n at least 1, got {x.dtype} of {tuple(x.shape)}")
    if x.is_meta:
        raise InputError(f"{what} must be numbers, got a tensor on the device 'meta', which holds none")
    x = x.detach()
    if not (isinstance(inputs, torch.Tensor) and x.is_floating_point()):
        x = x.to(torch.float32)
    if not torch.isfinite(x).all():
        wrong = int((~torch.isfinite(x)).sum())
        raise InputError(
            f"{what} must be finite, but {wrong} values are not finite: leave out or replace what is missing"
        )
    return x


def checked_labels(labels: Any, n: int, what: str = "labels") -> torch.Tensor:
    """Return the labels of n inputs, whole numbers from 0, as int64 (n,); one-hot rows and (n, 1) are taken, too.

    Raises
    ------
    InputError
        If they are something else, with `what` as their name.
    """
    y = _tensor(labels, what).detach()
    if y.dim() == 2 and y.shape[1] > 1:
        if y.is_complex() or not (((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()):
            raise InputError(
                f"{what} of shape {tuple(y.shape)} must be one-hot, a single 1 a row; or give them as (n,)"
            )
        y = y.to(torch.int8).argmax(1)
    y = y.squeeze(1) if y.dim() == 2 else y
    if y.dim() != 1 or y.is_complex():
        raise InputError(f"{what} must be whole numbers (n,), got {y.dtype} of {tuple(y.shape)}")
    if len(y) != n:
        raise InputError(f"{what} must be as many as inputs, got {len(y)} labels of {n} inputs")
    whole = y.to(torch.int64)
    wrong = (whole != y) | (whole < 0) if y.is_floating_point() else whole < 0
    if wrong.any():
        raise InputError(
            f"{what} must be whole numbers from 0, got {y[wrong][0].item()!r} ({int(wrong.sum())} of {n} will not do): "
            "leave out inputs without a label, and number classes 0, 1, ... as "
            "np.unique(labels, return_inverse=True)[1] does"
        )
    return whole


def check_classes(labels: torch.Tensor, classes: Sequence[int], what: str, *, each: bool = True) -> None:
    """Raise `InputError` unless labels are of these classes, and, with `each`, of each of them."""
    there, known = set(torch.unique(labels).tolist()), set(classes)
    if extra := sorted(there - known):
        raise InputError(f"{what} hold class {extra[0]}, which is not one of {_named(sorted(known))}")
    if each and (missing := sorted(known - there)):
        raise InputError(f"{what} hold no input of class {missing[0]}, but should of each of {_named(sorted(known))}")


def check_outputs(outputs: torch.Tensor, classes: int) -> None:
    """Raise `InputError` unless there is an output for each class."""
    if outputs.dim() != 2 or outputs.shape[1] < classes:
        raise InputError(
            f"the network must have an output for each of the {classes} classes, (n, {classes}), "
            f"but gives {tuple(outputs.shape)}"
        )


def _tensor(values: Any, what: str) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that require gradients or are elsewhere
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{what} must be an array or a tensor of numbers, got {type(values).__name__}; of a DataLoader or Dataset, "
            "give all inputs, or all labels, that it holds"
        )
    floats = np.float32 if array.dtype.itemsize <= 4 else np.float64
    wanted = {"f": floats, "b": np.bool_}.get(array.dtype.kind, np.int64)
    return torch.from_numpy(np.require(array, wanted, ["C", "W"]))


def _named(classes: Sequence[int]) -> str:
    whole = list(classes) == list(range(classes[0], classes[-1] + 1)) and len(classes) > 3
    return f"the classes {classes[0]} to {classes[-1]}" if whole else f"the classes {', '.join(map(str, classes))}"
