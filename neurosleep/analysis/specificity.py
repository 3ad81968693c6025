"""Which neurons answer to which class, and how their input changes in sleep (Tadros et al. 2022, Figs 5 and 6).

Their "Analysis of replay": inputs of each class are shown to the converted network for 25 forward passes, each hidden
neuron's spikes are counted, and the 100 neurons with the most spikes for a class are its specific neurons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from neurosleep.analysis.activations import layer_inputs
from neurosleep.analysis.correlations import checked_labels
from neurosleep.analysis.sparseness import most_active
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork

Selection = Literal["preferred", "most-active"]
_BATCH = 500  # inputs shown at a time; fixed, since the random input depends on it


@dataclass(frozen=True, eq=False)
class ClassResponses:
    """Spikes that inputs of each class evoke.

    Attributes
    ----------
    classes
        The classes, ascending.
    counts
        One array (classes, n_units) a hidden layer, from below: mean spikes an input over the steps it was shown.
    steps
        Steps each input was shown.
    """

    classes: tuple[int, ...]
    counts: list[NDArray[np.float64]]
    steps: int


def class_responses(
    network: SpikingNetwork, inputs: ArrayLike, labels: ArrayLike, *, steps: int = 25, seed: int = 0
) -> ClassResponses:
    """Show every input to the converted network from rest, without plasticity, and count spikes by class.

    In each step input neuron i fires with a probability of its value: Bernoulli, the released code's form of a
    Poisson process.

    Parameters
    ----------
    network
        A model after `to_spiking`, before it sleeps.
    inputs
        (n, n_inputs) in [0, 1].
    labels
        (n,) whole numbers.
    steps
        At least 1.
    seed
        Fixes the input spikes.

    Raises
    ------
    InputError
        If shapes do not fit or inputs are not in [0, 1].
    """
    x = np.asarray(inputs, dtype=np.float32)
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != network.sizes[0]:
        raise InputError(f"inputs must be (n, {network.sizes[0]}) with n at least 1, got shape {x.shape}")
    y = checked_labels(labels, len(x))
    if not ((x >= 0) & (x <= 1)).all():
        raise InputError(f"inputs must lie in [0, 1], got values from {x.min()} to {x.max()}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    classes = np.unique(y)
    sums = [np.zeros((len(classes), size)) for size in network.sizes[1:-1]]
    rng = np.random.default_rng(seed)
    for first in range(0, len(x), _BATCH):
        shown, of = x[first : first + _BATCH], np.searchsorted(classes, y[first : first + _BATCH])
        trains = rng.random((steps, *shown.shape), dtype=np.float32) < shown
        for total, counts in zip(sums, count_spikes(network, trains), strict=False):
            np.add.at(total, of, counts)
    n = np.array([np.count_nonzero(y == c) for c in classes])
    return ClassResponses(tuple(classes.tolist()), [total / n[:, np.newaxis] for total in sums], steps)


def count_spikes(network: SpikingNetwork, trains: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Propagate input spikes of many inputs at once, each from rest and for itself, without plasticity.

    The equations are those of `neurosleep.sims.network.SpikingLayer`.

    Parameters
    ----------
    network
        Runs in the precision of its weights.
    trains
        (steps, n, n_inputs) bool.

    Returns
    -------
    Spikes of every neuron: one (n, n_post) array a layer, the output layer last.
    """
    if trains.ndim != 3 or trains.shape[2] != network.sizes[0]:
        raise InputError(f"input spikes must be (steps, n, {network.sizes[0]}), got shape {trains.shape}")
    if shared := [layer.name for layer in network.layers if layer.kernels is not None]:
        raise InputError(
            f"spikes are counted in chains of dense layers, got convolutions ({', '.join(map(repr, shared))}): "
            "give the dense layers behind them as a network of their own"
        )
    n, real = trains.shape[1], network.dtype.type
    membranes = [np.zeros((n, layer.n_post), dtype=network.dtype) for layer in network.layers]
    counts = [np.zeros((n, layer.n_post), dtype=np.int64) for layer in network.layers]
    for spikes in trains:
        pre = spikes.astype(network.dtype)
        for layer, v, count in zip(network.layers, membranes, counts, strict=True):
            impulse = real(layer.gain) * (pre @ layer.weights)
            if layer.inhibition:
                impulse -= real(layer.inhibition) * impulse.mean(1, keepdims=True)
            v *= real(layer.decay)
            v += impulse
            if layer.bias is not None:
                v += layer.bias
            post = v >= real(layer.threshold)
            v[post] = 0
            count += post
            pre = post.astype(network.dtype)
    return counts


def specific_neurons(
    responses: ClassResponses, *, top: int = 100, selection: Selection = "preferred"
) -> list[list[NDArray[np.int64]]]:
    """Select the neurons specific to each class, in every hidden layer.

    The paper sorts neurons "based on which input class maximally activated" them and takes the top 100 of each class,
    which can be read in two ways.

    Parameters
    ----------
    responses
        Of `class_responses`.
    top
        At most so many for each class; at least 1.
    selection
        "preferred": only neurons that spike more for this class than for any other (of equal classes the first), so
        that no neuron is specific to two. "most-active": those that spike most for this class, whatever else they
        do.

    Returns
    -------
    For each hidden layer one array of indices a class, in the order of `responses.classes`, most spikes first. Neurons
    silent for a class are never specific to it, so there can be fewer than `top`.
    """
    if top < 1:
        raise InputError(f"top must be at least 1, got {top}")
    if selection not in ("preferred", "most-active"):
        raise InputError(f"selection must be 'preferred' or 'most-active', got {selection!r}")
    chosen = []
    for counts in responses.counts:
        if selection == "preferred":
            counts = np.where(np.arange(len(counts))[:, np.newaxis] == counts.argmax(0), counts, 0)
        chosen.append([most_active(row, top) for row in counts])
    return chosen


@dataclass(frozen=True, eq=False)
class InputChange:
    """Mean input, before rectification, to some neurons of one layer: (neurons,) float64 before and after sleep."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @property
    def change(self) -> NDArray[np.float64]:
        """After minus before, for each neuron."""
        return self.after - self.before


def input_change(
    before: nn.Module, after: nn.Module, neurons: Sequence[ArrayLike], inputs: torch.Tensor | ArrayLike
) -> list[InputChange]:
    """Compare the input that neurons get when shown `inputs`, before and after sleep (Fig. 5).

    Parameters
    ----------
    before, after
        The same network at two times.
    neurons
        For each hidden layer, from below, the indices of neurons.
    inputs
        (n, ...), for example the inputs of the class to which the neurons are specific.

    Raises
    ------
    InputError
        If there are more lists of neurons than hidden layers, or an index is not in its layer.
    """
    received = [layer_inputs(model, inputs) for model in (before, after)]
    if len(neurons) > len(received[0]) or len(received[0]) != len(received[1]):
        raise InputError(
            f"neurons of {len(neurons)} layers were given for networks of {len(received[0])} and {len(received[1])}"
        )
    changes = []
    for layer, indices in enumerate(neurons):
        index = np.asarray(indices, dtype=np.int64)
        size = min(received[0][layer].shape[1], received[1][layer].shape[1])
        if index.ndim != 1 or (index < 0).any() or (index >= size).any():
            raise InputError(f"neurons of layer {layer + 1} must be a list of indices from 0 to {size - 1}")
        changes.append(InputChange(*(z[layer][:, index].mean(0, dtype=np.float64) for z in received)))
    return changes
