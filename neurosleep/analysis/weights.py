"""What sleep does to weights: maps of their change, blocks of them, and how alike two networks are.

Weights are pre-major here, (n_pre, n_post), as in a spiking network: the transpose of torch's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from neurosleep.converters.chain import linear_stages
from neurosleep.converters.reading import own_weights
from neurosleep.sims.errors import InputError


def layer_weights(model: nn.Module) -> list[NDArray[np.float64]]:
    """Return a copy of the weights of every linear layer, (n_pre, n_post) float64, from below."""
    return [stage.module.weight.detach().to("cpu", torch.float64).numpy().T.copy() for stage in linear_stages(model)]


def weight_changes(
    before: nn.Module | Sequence[ArrayLike], after: nn.Module | Sequence[ArrayLike]
) -> list[NDArray[np.float64]]:
    """Return after minus before for every layer, (n_pre, n_post).

    Parameters
    ----------
    before, after
        Models, or lists of their weights as of `layer_weights`.

    Raises
    ------
    InputError
        If the two do not have layers of the same shapes.
    """
    return [new - old for old, new in _pairs(before, after)]


def cosine_similarity(one: nn.Module | Sequence[ArrayLike], other: nn.Module | Sequence[ArrayLike]) -> list[float]:
    """Return the cosine between the weights of two networks, layer by layer: ``sum(a b) / (|a| |b|)``.

    Tadros et al. 2022 (Supplementary Information, section 1) compare a network trained on two tasks with one trained
    on the first alone. nan where all weights of a layer are 0.

    Raises
    ------
    InputError
        If the two do not have layers of the same shapes.
    """
    similarities = []
    for a, b in _pairs(one, other):
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        similarities.append(float((a * b).sum()) / lengths if lengths else float("nan"))
    return similarities


def block_means(
    weights: ArrayLike, pre_groups: Sequence[ArrayLike], post_groups: Sequence[ArrayLike]
) -> NDArray[np.float64]:
    """Return the mean of each block of a matrix of weights, or of their changes.

    Parameters
    ----------
    weights
        (n_pre, n_post).
    pre_groups, post_groups
        Indices of the neurons of each group; a group may be empty.

    Returns
    -------
    (pre groups, post groups) float64; nan for a block without weights.

    Raises
    ------
    InputError
        If `weights` is not a matrix, or an index is not in it.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 2:
        raise InputError(f"weights must be (n_pre, n_post), got shape {w.shape}")
    pre, post = _checked(pre_groups, w.shape[0], "presynaptic"), _checked(post_groups, w.shape[1], "postsynaptic")
    blocks = [[w[np.ix_(rows, columns)] for columns in post] for rows in pre]
    means = [[float(block.mean()) if block.size else np.nan for block in row] for row in blocks]
    return np.array(means, dtype=np.float64).reshape(len(pre), len(post))


def histogram(values: ArrayLike, low: float, high: float, bins: int = 40) -> dict[str, Any]:
    """Return a histogram as plain numbers: counts (bins), from, to. Values outside count to the first or last bin.

    Raises
    ------
    InputError
        If not low < high, or there is no bin.
    """
    if not low < high or bins < 1:
        raise InputError(f"a histogram needs low < high and at least one bin, got {low}, {high} and {bins}")
    counts, _ = np.histogram(np.clip(np.asarray(values, dtype=np.float64), low, high), bins, (low, high))
    return {"counts": counts.tolist(), "from": low, "to": high}


def weight_histograms(model: nn.Module, bins: int = 100) -> list[dict[str, Any]]:
    """Return a histogram of each layer's weights as plain numbers: layer, counts (bins), from, to."""
    histograms = []
    for name, weight in own_weights(model).items():
        counts, edges = np.histogram(weight.detach().cpu().numpy(), bins=bins)
        histograms.append({"layer": name, "counts": counts.tolist(), "from": float(edges[0]), "to": float(edges[-1])})
    return histograms


def _pairs(
    one: nn.Module | Sequence[ArrayLike], other: nn.Module | Sequence[ArrayLike]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    first, second = (
        layer_weights(x) if isinstance(x, nn.Module) else [np.asarray(w, dtype=np.float64) for w in x]
        for x in (one, other)
    )
    shapes = [w.shape for w in first], [w.shape for w in second]
    if shapes[0] != shapes[1]:
        raise InputError(f"both networks must have layers of the same shapes, got {shapes[0]} and {shapes[1]}")
    return list(zip(first, second, strict=True))


def _checked(groups: Sequence[ArrayLike], size: int, side: str) -> list[NDArray[np.int64]]:
    indices = [np.asarray(group, dtype=np.int64) for group in groups]
    for index in indices:
        if index.ndim != 1 or (index < 0).any() or (index >= size).any():
            raise InputError(f"{side} groups must hold indices from 0 to {size - 1}")
    return indices
