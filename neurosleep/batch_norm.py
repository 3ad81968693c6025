"""Running statistics of batch normalisation after sleep: kept as they were, or estimated anew from a memory's moments.

Sleep changes weights, and so what arrives at a batch normalisation behind them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn

from neurosleep.memory import Memory
from neurosleep.sims.errors import InputError
from neurosleep.spontaneous_replay import BatchNormOption

Normalising = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
DRAWN, AT_ONCE = 512, 128
"""Inputs that are drawn from the memory, and of these in a batch."""


class Statistics(NamedTuple):
    """Mean and variance of each channel."""

    mean: torch.Tensor
    variance: torch.Tensor


def check_batch_norm(model: nn.Module, memory: Memory, option: BatchNormOption) -> None:
    """Raise `InputError` if there is nothing to estimate, or nothing to estimate it from."""
    if option == "kept":
        return
    if not running(model):
        raise InputError(
            f"batch_norm={option!r} needs a batch normalisation with running statistics that is not frozen, and "
            f"{type(model).__name__} has none: leave it at 'kept'"
        )
    memory.sample(1)


def running(model: nn.Module) -> dict[str, Normalising]:
    """Return the batch normalisations whose running statistics may change, by path: those that are not frozen."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Normalising)
        and module.running_mean is not None
        and (not module.affine or any(p.requires_grad for p in module.parameters(recurse=False)))
    }


@contextmanager
def waking(model: nn.Module, memory: Memory | None, option: BatchNormOption, seed: int) -> Iterator[None]:
    """Estimate statistics when weights have been written into a model; should that fail, the model is as it was.

    "reestimated": those of inputs drawn from the memory, batch by batch as in training. "shifted": as they were, moved
    by as much as those of the drawn inputs moved, so that a night that changes nothing leaves them alone.
    """
    if option == "kept" or memory is None:
        yield
        return
    drawn = memory.sample(DRAWN, seed)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    asleep = measured(model, drawn) if option == "shifted" else {}
    try:
        yield
        awake = measured(model, drawn)
    except BaseException:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), before, strict=True):
                parameter.copy_(value)
        raise
    for name, module in running(model).items():
        if name not in awake or module.running_mean is None or module.running_var is None:
            continue
        mean, variance = awake[name]
        if option == "shifted":
            was = asleep[name]
            mean = module.running_mean + (mean - was.mean)
            variance = module.running_var * (variance / was.variance.clamp_min(torch.finfo(variance.dtype).tiny))
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)


@torch.no_grad()
def measured(model: nn.Module, inputs: torch.Tensor) -> dict[str, Statistics]:
    """Return the statistics of what arrives at each batch normalisation that is not frozen and is passed; by path.

    Each batch is normalised by its own, as in training; all else is as in evaluation. The model is left alone.

    Raises
    ------
    InputError
        If some are not finite.
    """
    copy = deepcopy(model).eval()
    first = next(copy.parameters())
    layers = running(copy)
    for module in layers.values():
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
        module.train()
    with torch.random.fork_rng():
        for batch in torch.split(inputs.to(first.device, first.dtype), AT_ONCE):
            copy(batch)
    found = {}
    for name, module in layers.items():
        if module.num_batches_tracked and module.running_mean is not None and module.running_var is not None:
            found[name] = Statistics(module.running_mean, module.running_var)
            if not all(values.isfinite().all() for values in found[name]):
                raise InputError(
                    f"the statistics of batch normalisation {name!r} are no longer finite: sleep more gently"
                )
    return found
