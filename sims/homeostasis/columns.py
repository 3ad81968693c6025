"""Weights as homeostasis sees them: the incoming ones of a neuron, or of a channel, in a column, and their rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..operators import AveragePool, Flatten, Floats, Scale
from ..plastic_graph import Pathway, PlasticGraph, Weights
from ..sleeping import SleepingNetwork
from .rule import Values


def n_columns(weights: Floats) -> int:
    """Return how many neurons, or channels of neurons, weights lead to."""
    return int(weights.shape[1] if weights.ndim == 2 else weights.shape[0])


@dataclass(frozen=True, eq=False)
class Columns:
    """How weights of a network become columns, and come back.

    Attributes
    ----------
    name
        Where they come from.
    plastic
        Whether sleep changes them.
    layers
        Numbers of the layers they lead to; each has as many neurons for every column.
    signs
        (columns,) 1, or -1 where their neurons feel them with the sign turned.
    """

    name: str
    plastic: bool
    layers: tuple[int, ...]
    signs: Values

    def of(self, weights: Floats) -> Values:
        """Return a copy of weights as float64, as their neurons feel them, (weights, columns)."""
        matrix = weights if weights.ndim == 2 else weights.reshape(len(weights), -1).T
        return np.array(matrix, dtype=np.float64, order="C") * self.signs

    def back(self, columns: Values, like: Floats) -> Floats:
        """Return columns as weights again, in their shape and precision."""
        with np.errstate(over="ignore"):  # beyond the largest float32 there is infinity, which is refused
            rounded = (columns * self.signs).astype(like.dtype)
        return rounded if like.ndim == 2 else np.ascontiguousarray(rounded.T).reshape(like.shape)

    def rates(self, of_layers: Sequence[Values]) -> Values:
        """Return the mean rate of the neurons of each column, given the rates of all layers."""
        n = len(self.signs)
        mean: Values = np.concatenate([of_layers[i].reshape(n, -1) for i in self.layers], axis=1).mean(axis=1)
        return mean


def columns_of(network: SleepingNetwork) -> list[Columns]:
    """Return all weights of a network, in their order.

    Raises
    ------
    InputError
        If it is a graph, and columns of weights that may change are no neurons of their own.
    """
    if isinstance(network, PlasticGraph):
        return [_of_graph(network, weights) for weights in network.parameters]
    names = [layer.name or f"number {index + 1}" for index, layer in enumerate(network.layers)]
    each = zip(names, network.plastic, network.weights, strict=True)
    return [Columns(name, plastic, (i,), np.ones(n_columns(w))) for i, (name, plastic, w) in enumerate(each)]


def _of_graph(network: PlasticGraph, weights: Weights) -> Columns:
    n = n_columns(weights.values)
    uses = [(i, p) for i, layer in enumerate(network.layers) for p in layer.pathways if p.weights == weights.name]
    signs: list[NDArray[np.bool_]] = [np.broadcast_to(np.signbit(pathway.gain), n) for _, pathway in uses]
    if weights.plastic:
        if not all(_keeps_channels(pathway) for _, pathway in uses):
            raise InputError(
                f"homeostasis of the weights {weights.name!r} has no meaning: what they give is rearranged before it "
                "comes to neurons; freeze them, or take IntrinsicExcitability or downscaling"
            )
        if any((sign != signs[0]).any() for sign in signs):
            raise InputError(
                f"homeostasis of the weights {weights.name!r} has no meaning: some pathways turn their sign and others "
                "do not; freeze them, or take IntrinsicExcitability or downscaling"
            )
    return Columns(weights.name, weights.plastic, tuple(i for i, _ in uses), np.where(signs[0], -1.0, 1.0))


def _keeps_channels(pathway: Pathway) -> bool:
    return all(isinstance(operator, AveragePool | Scale | Flatten) for operator in pathway.after)
