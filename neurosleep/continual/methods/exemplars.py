"""Features of a network, exemplars chosen by them, and classification by the nearest mean."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from neurosleep.sims.errors import InputError


@contextmanager
def evaluation(model: nn.Module, *, dropout: bool = False) -> Iterator[None]:
    """Put a network in evaluation, with dropout off or on; every module's mode is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for module, _ in modes:
            if dropout and (isinstance(module, _DropoutNd) or hasattr(module, "eval_scale")):
                module.training = True
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def last_layer_inputs(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return what the linear layer that a network computes last is given, (n, n_features).

    Raises
    ------
    InputError
        If the network computes no linear layer.
    """
    seen: list[torch.Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise InputError(
            f"{type(model).__name__} computes no torch.nn.Linear layer whose inputs could serve as features; "
            "give ICaRL a function features(model, inputs)"
        )
    return seen[-1].flatten(1)


def herding(features: torch.Tensor, count: int) -> torch.Tensor:
    r"""Return the order in which inputs become exemplars, the indices of the first `count`.

    The k-th is the one not yet chosen that brings the mean of the chosen closest to the mean of all (Rebuffi et al.
    2017, Algorithm 4):

    .. math:: p_k = \arg\min_x \left\| \mu - \tfrac{1}{k} \left(\phi(x) + \sum_{j<k} \phi(p_j)\right) \right\|

    Parameters
    ----------
    features
        (n, n_features) of the inputs of one class.
    count
        How many to choose; all inputs if there are fewer.
    """
    mean = features.mean(0)
    lengths = features.square().sum(1)
    total = torch.zeros_like(mean)
    chosen: list[torch.Tensor] = []
    for k in range(1, min(count, len(features)) + 1):
        # k^2 times the squared distance, but for what is the same for every x
        best = (lengths - 2 * features @ (k * mean - total)).argmin()
        chosen.append(best)
        total = total + features[best]
        lengths[best] = float("inf")
    return torch.stack(chosen)


def nearest_mean(features: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """Return the row of `means` (n_classes, n_features) that is nearest to each row of `features` (n, n_features)."""
    return torch.cdist(features, means).argmin(1)
