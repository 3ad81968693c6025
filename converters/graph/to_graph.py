"""A trained ReLU network of any feed-forward shape becomes a graph of spiking populations."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from ...sims.awake.graph import INPUT, Population, Projection, Reset, SpikingGraph, Tie
from ...sims.errors import InputError
from ...sims.operators import Floats
from ..batches import Batches, Inputs
from ..errors import ConversionError
from .currents import calibration_notes
from .normalization import GraphNormalization, Per, unit_scales
from .operator_algebra import by_channel, in_precision, scaled, scaled_input
from .reader import MaxPoolOption
from .relu_graph import ReluGraph, ReluUnit, relu_graph

Readout = Literal["potential", "spikes"]


def to_spiking_graph(
    model: nn.Module,
    calibration: Inputs,
    *,
    normalization: GraphNormalization = "percentile",
    percentile: float = 99.9,
    per: Per = "layer",
    reset: Reset = "subtract",
    tie: Tie = "at",
    decay: float = 1.0,
    initial: float = 0.0,
    threshold: float | Mapping[str, float] = 1.0,
    max_pool: MaxPoolOption = "refuse",
    readout: Readout = "potential",
    dt: float = 0.001,
    floor: float | None = None,
    several_spikes: bool = False,
) -> SpikingGraph:
    """Convert a trained ReLU network to a graph of integrate-and-fire neurons, one population a ReLU.

    A neuron's rate, in spikes a step, is its activation divided by the scale of its layer or channel (Rueckauer et al.
    2017, Frontiers in Neuroscience 11:682, section 2.2), as long as that is at most 1. Weights are copied, and take up
    normalisation, batch normalisation and thresholds.

    Parameters
    ----------
    model
        A module whose forward, in evaluation, is made of Linear, Conv1d/2d, BatchNorm1d/2d, average and maximum
        pooling, Dropout, Identity, ReLU, ReLU6 and clamp(0, c), LeakyReLU, PReLU, sums, joins (cat), slices, padding,
        views and permutations, and arithmetic with constants, as modules, functions or methods, without control flow;
        see `relu_graph`. Layers may be shared. Where activations are cut off above, the scale is at most that, so that
        neurons that send one spike a step are cut off there themselves (not with the normalization "none"); LeakyReLU
        and PReLU become two populations, the second of which, "path#below", sends what is below 0.
    calibration
        (n, ...) inputs as the network takes them, or a Dataset, a DataLoader or another iterable of batches, of which
        one is held at a time. They are analogue currents in units of their own, and may be negative.
    normalization
        "max" or "percentile" of the activations over the calibration data, "model" from the weights alone
        (`model_scales`), or "none". All but "none" bring rates near 1 at most; none of them changes the function.
    percentile
        Above 0 and at most 100; for "percentile".
    per
        One scale a "layer", or a "channel" of those that have space.
    reset, tie, decay, initial
        See `Population`; `initial` is a share of the threshold, from 0 to 1. A readout of potentials neither leaks nor
        resets.
    threshold
        Of all populations, or by name, 1 where none is given. Weights are scaled along (balanced), so that rates stay.
    max_pool
        "refuse"; "winner" or "any" as in `neurosleep.sims.operators.MaxPool`; "average" pools averages instead, behind
        the ReLU if there is one right behind the pooling, which changes the network's function.
    readout
        "potential": the output adds up its input, which is the network's output times the number of steps. "spikes":
        it fires; negative outputs are then silent.
    dt
        Length of a step in seconds.
    floor
        Lowest membrane potential as a share of the threshold, at most 0, or None; -1 as in neurons of sinabs that are
        read from NIR. It changes rates where input varies: what is below it is forgotten.
    several_spikes
        Whether a neuron can send several spikes in a step (see `Population`), as in sinabs; activations above the scale
        are then not cut off.

    Returns
    -------
    SpikingGraph in the precision of the model. Populations are named as `ReluUnit` says, the output by the last layer
    with weights, or "output" if pooling or a sum follows the last ReLU. Its notes are the options, and: "scales", by
    population, a number or (channels,), by which rates are multiplied to give activations (for a readout of potentials,
    the potential divided by the number of steps); "silent_channels", those that took their layer's scale;
    "output_relu", whether the network rectifies its output, which potentials are not; "calibration", what
    `calibration_notes` says of the inputs, by which exports tell how many spikes a neuron can send in a step.

    Raises
    ------
    ConversionError
        If something in the module is not supported; the message names it by its path and type.
    InputError
        If calibration data or options do not fit, or a layer is silent over the calibration data.
    """
    if max_pool not in get_args(MaxPoolOption) or readout not in get_args(Readout):
        raise InputError(
            f"max_pool must be one of {', '.join(get_args(MaxPoolOption))}, and readout 'potential' or 'spikes'; "
            f"got {max_pool!r} and {readout!r}"
        )
    if reset not in ("subtract", "zero") or not 0 <= initial <= 1:
        raise InputError(
            "reset must be 'subtract' or 'zero', and initial a share of the threshold from 0 to 1; "
            f"got {reset!r} and {initial!r}"
        )
    if floor is not None and not (isinstance(floor, int | float) and -np.inf < floor <= 0):
        raise InputError(f"floor must be None or a share of the threshold of at most 0, got {floor!r}")
    raw = Batches(calibration, passes=3)
    network = relu_graph(model, raw, max_pool=max_pool)
    if several_spikes and (cut := [unit.name for unit in network.units if unit.ceiling is not None]):
        raise ConversionError(
            f"{', '.join(map(repr, cut))} cuts activations off above (as ReLU6 does), which neurons do that send one "
            "spike a step at most; use several_spikes=False, or train with ReLU"
        )
    inputs = raw.through(network.inputs)
    potential = readout == "potential"
    scales, silent = unit_scales(
        network,
        inputs,
        normalization=normalization,
        percentile=percentile,
        per=per,
        unscaled=[network.output.name] if potential else [],
    )
    thresholds = _thresholds(network, threshold)
    populations = []
    for unit in network.units:
        theta = thresholds[unit.name]
        options: dict[str, Any] = {
            "threshold": theta,
            "decay": decay,
            "reset": reset,
            "tie": tie,
            "initial": initial * theta,
            "floor": None if floor is None else floor * theta,
            "several_spikes": several_spikes,
        }
        if potential and unit is network.output:
            theta, options = 1.0, {"reset": "none"}
        populations.append(_population(network, unit, scales, theta, options))
    notes = {
        "normalization": normalization,
        "percentile": percentile if normalization == "percentile" else None,
        "per": per,
        "max_pool": max_pool,
        "readout": readout,
        "output_relu": network.output.rectified,
        "scales": {name: scale if scale.ndim else float(scale) for name, scale in scales.items()},
        "silent_channels": silent,
        "calibration": calibration_notes(populations, inputs),
    }
    return SpikingGraph(network.input_shape, tuple(populations), dt, notes)


def _population(
    network: ReluGraph, unit: ReluUnit, scales: Mapping[str, Floats], theta: float, options: Mapping[str, Any]
) -> Population:
    """Return a unit's neurons: weights times the scale of their source, by their own scale, times the threshold."""
    dtype: np.dtype[np.floating] = np.dtype(np.float32 if network.dtype == torch.float32 else np.float64)
    factors = np.asarray(theta / scales[unit.name])
    projections = []
    for projection in unit.projections:
        sent = np.asarray(1.0) if projection.source == INPUT else scales[projection.source]
        operators = scaled(scaled_input(projection.operators, sent, network.shapes[projection.source]), factors)
        projections.append(Projection(projection.source, tuple(in_precision(o, dtype) for o in operators)))
    bias = None
    if unit.bias is not None:
        bias = np.ascontiguousarray(unit.bias * by_channel(factors, len(unit.shape)), dtype)
    return Population(unit.name, unit.shape, tuple(projections), bias, **options)


def _thresholds(network: ReluGraph, threshold: float | Mapping[str, float]) -> dict[str, float]:
    names = [unit.name for unit in network.units]
    given = dict(threshold) if isinstance(threshold, Mapping) else dict.fromkeys(names, threshold)
    if unknown := [name for name in given if name not in names]:
        raise InputError(f"thresholds are given for {unknown}, but the populations are {names}")
    for name, value in given.items():
        if not (isinstance(value, int | float) and np.isfinite(value) and value > 0):
            raise InputError(f"the threshold of {name!r} must be a positive number, got {value!r}")
    return {name: float(given.get(name, 1.0)) for name in names}
