"""A chain that sleeps becomes a graph that is shown inputs and exported."""

from dataclasses import replace

import numpy as np

from ...sims.awake.graph import INPUT, Population, Projection, SpikingGraph
from ...sims.errors import InputError
from ...sims.network import SpikingLayer, SpikingNetwork
from ..errors import ConversionError


def as_graph(network: SpikingNetwork) -> SpikingGraph:
    """Return a sleeping network as a graph: what it does awake, without plasticity.

    Neurons fire at their threshold and are reset to 0, as asleep. A layer's gain goes into its weights, which changes
    rounding alone (nothing, where it is a power of two). Populations bear the names of their layers; if a layer has
    none, or two have the same one, they are hidden1, hidden2, ..., output.

    Raises
    ------
    ConversionError
        If a layer has inhibition, which a graph cannot express.
    """
    names = [layer.name for layer in network.layers]
    if "" in names or INPUT in names or len(set(names)) < len(names):
        names = list(network.populations)[1:]
    sources = [INPUT, *names]
    return SpikingGraph(
        network.layers[0].input_shape,
        tuple(_population(*triple) for triple in zip(network.layers, names, sources, strict=False)),
        network.dt,
        notes={"source": "SpikingNetwork", "gains": dict(zip(names, (x.gain for x in network.layers), strict=True))},
    )


def as_spiking_graph(network: SpikingGraph | SpikingNetwork) -> SpikingGraph:
    """Return a graph as it is, and a network that sleeps as a graph."""
    if isinstance(network, SpikingGraph):
        return network
    if isinstance(network, SpikingNetwork):
        return as_graph(network)
    raise InputError(f"expected a SpikingGraph or a SpikingNetwork, got {type(network).__name__}")


def _population(layer: SpikingLayer, name: str, source: str) -> Population:
    if layer.inhibition:
        raise ConversionError(
            f"layer {name!r} has inhibition {layer.inhibition:g}, which a graph cannot express (the mean input of "
            "all neurons is taken from each); convert with inhibition=0"
        )
    bias = layer.bias
    if bias is not None:  # one a channel
        bias = np.repeat(bias, layer.n_post // bias.size).reshape(layer.output_shape)
    scaled = replace(layer, weights=layer.weights * layer.weights.dtype.type(layer.gain))
    return Population(
        name,
        layer.output_shape,
        (Projection(source, scaled.operators),),
        bias=bias,
        threshold=layer.threshold,
        decay=layer.decay,
        reset="zero",
        tie="at",
    )
