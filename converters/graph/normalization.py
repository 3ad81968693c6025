"""How large the activations of every unit of a ReLU graph are: what normalisation divides by.

With ``lam`` the scale of a unit and ``a`` its activations, the spiking neuron's rate is ``a / lam``: weights become
``W * lam_in / lam``, biases ``b / lam``, which keeps the network's function.

Sources: Diehl et al. 2015 (IJCNN, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
balancing"): maximum and model-based; Rueckauer et al. 2017 (Frontiers in Neuroscience 11:682): percentiles and biases;
Kim et al. 2020 (AAAI, "Spiking-YOLO"): one scale for each channel.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch

from ...sims.awake.graph import INPUT
from ...sims.errors import InputError
from ...sims.operators import Floats
from ..batches import Batches
from ..largest_values import LargestValues
from .operator_algebra import bounds, by_channel
from .relu_graph import ReluGraph, ReluUnit, twin

GraphNormalization = Literal["max", "percentile", "model", "none"]
Per = Literal["layer", "channel"]


def activation_scales(
    graph: ReluGraph, inputs: Batches, names: Sequence[str], percentile: float, per: Per
) -> tuple[dict[str, Floats], dict[str, list[int]]]:
    """Return a percentile of units' rectified activations over inputs (n, *input_shape), exactly and in one pass.

    Of inputs that come from a loader, which are counted in a pass of their own if it does not know how many they are,
    one batch is held at a time.

    Returns
    -------
    scales by name, () or (channels,), and the channels that were silent by name.

    Notes
    -----
    With "channel", units of the shape
    (channels, *space) get one scale a channel, and the layer's scale where a channel is silent; units of shape (n,)
    have no channels, and get one scale, as does the output, whose neurons are compared.

    Raises
    ------
    InputError
        If a unit is silent or its activations are not finite.
    """
    shapes = graph.shapes
    count = inputs.count
    layers = {n: LargestValues(count * math.prod(shapes[n]), percentile) for n in names}
    channels = {
        n: LargestValues(count * math.prod(shapes[n][1:]), percentile) for n in names if _has_channels(graph, n, per)
    }
    for batch in graph.batches(inputs):
        for name in names:
            sent = np.maximum(batch[name], 0)
            if not np.isfinite(sent).all():
                raise InputError(f"layer {name!r} has activations that are not finite; look for weights too large")
            layers[name].add(sent.reshape(1, -1))
            if name in channels:
                channels[name].add(np.moveaxis(sent, 1, 0).reshape(sent.shape[1], -1))
    hint = "calibrate with more data, a higher percentile, or train the network first"
    found = {name: seen.result()[0] for name, seen in layers.items()}  # of two that a LeakyReLU has, one may be silent
    whole = {name: _audible(name, scale or found.get(twin(name), 0.0), hint) for name, scale in found.items()}
    return _with_channels(whole, {name: seen.result() for name, seen in channels.items()})


def model_scales(
    graph: ReluGraph, inputs: Batches, names: Sequence[str], per: Per
) -> tuple[dict[str, Floats], dict[str, list[int]]]:
    """Return the largest activations that units' weights allow, if no source exceeds its scale.

    (Diehl et al. 2015, Algorithm 2: the largest sum of positive weights; here with the bias where it is positive, and
    through all operators that lie between two units.) Inputs are taken to lie in [0, 1], or in the range that `inputs`
    have where that is larger. The returns are those of `activation_scales`.
    """
    whole: dict[str, Floats] = {}
    by_channels: dict[str, Floats] = {}
    least, most = 0.0, 1.0
    for x in inputs:
        least, most = min(least, float(x.min())), max(most, float(x.max()))
    limits = {
        INPUT: (
            torch.full((1, *graph.input_shape), least, dtype=torch.float64),
            torch.full((1, *graph.input_shape), most, dtype=torch.float64),
        )
    }
    for unit in graph.units:
        reached = _highest(unit, limits)
        if unit.name in names:
            most = max(0.0, reached.max()) or float(whole.get(twin(unit.name), 0.0))
            whole[unit.name] = _audible(unit.name, most, "its weights cannot excite it; train the network")
            if _has_channels(graph, unit.name, per):
                by_channels[unit.name] = reached.reshape(len(reached), -1).max(axis=1)
            scales, _ = _with_channels(whole, by_channels)
            top = np.broadcast_to(by_channel(scales[unit.name], len(unit.shape)), unit.shape)
            limits[unit.name] = (torch.zeros(1, *unit.shape, dtype=torch.float64), torch.tensor(top.copy())[None])
    return _with_channels(whole, by_channels)


def unit_scales(
    graph: ReluGraph,
    inputs: Batches,
    *,
    normalization: GraphNormalization,
    percentile: float,
    per: Per,
    unscaled: Sequence[str] = (),
) -> tuple[dict[str, Floats], dict[str, list[int]]]:
    """Return every unit's scale by a normalisation, and silent channels by unit.

    Units named in `unscaled` keep the scale 1.
    """
    if normalization not in get_args(GraphNormalization) or per not in get_args(Per):
        raise InputError(
            f"normalization must be one of {', '.join(get_args(GraphNormalization))}, and per 'layer' or 'channel'; "
            f"got {normalization!r} and {per!r}"
        )
    if not 0 < percentile <= 100:
        raise InputError(f"percentile must be above 0 and at most 100, got {percentile!r}")
    scales = {unit.name: np.asarray(1.0) for unit in graph.units}
    silent: dict[str, list[int]] = {}
    names = [unit.name for unit in graph.units if unit.name not in unscaled]
    if normalization == "none":
        return scales, silent
    if normalization == "model":
        found, silent = model_scales(graph, inputs, names, per)
    else:
        found, silent = activation_scales(graph, inputs, names, 100.0 if normalization == "max" else percentile, per)
    return scales | found, silent


def _has_channels(graph: ReluGraph, name: str, per: Per) -> bool:
    return per == "channel" and len(graph.shapes[name]) > 1 and name != graph.output.name


def _highest(unit: ReluUnit, limits: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> Floats:
    """Return how large the sum of all that comes in can get, of the unit's shape."""
    highest: Floats = np.zeros(unit.shape) if unit.bias is None else unit.bias.copy()
    for projection in unit.projections:
        low, high = limits[projection.source]
        for operator in projection.operators:
            low, high = bounds(operator, low, high)
        highest += high.numpy().reshape(unit.shape)
    return highest if unit.ceiling is None else np.minimum(highest, unit.ceiling)


def _audible(name: str, scale: float, hint: str) -> Floats:
    if not scale > 0:
        raise InputError(
            f"layer {name!r} is silent (its activation scale is {scale:g}) and cannot be normalised; {hint}"
        )
    return np.asarray(float(scale))


def _with_channels(
    whole: Mapping[str, Floats], channels: Mapping[str, Floats]
) -> tuple[dict[str, Floats], dict[str, list[int]]]:
    """Return scales of layers, or of channels where there are any; a silent channel takes its layer's."""
    scales = dict(whole) | {name: np.where(found > 0, found, whole[name]) for name, found in channels.items()}
    silent = {name: np.flatnonzero(~(found > 0)).tolist() for name, found in channels.items()}
    return scales, {name: which for name, which in silent.items() if which}
