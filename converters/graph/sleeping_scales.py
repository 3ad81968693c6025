"""What activations of a graph's units are divided by when it falls asleep."""

import math

import numpy as np
import torch

from ...sims.errors import InputError
from ..batches import Batches
from ..largest_values import LargestValues
from ..normalization import Calibration, NoNormalization, Normalization, OutputActivation, check_percentile
from .operator_algebra import Kept, KeptConvolution
from .relu_graph import ReluGraph, ReluUnit, twin


def unit_scales_of(
    graph: ReluGraph, batches: Batches, percentile: float, output: OutputActivation
) -> tuple[float, ...]:
    """Return a percentile of each unit's activations over batches of inputs, of the last behind its output activation.

    A percentile below the maximum asks `batches` for its count.
    """
    check_percentile(percentile)
    if output not in ("relu", "softmax"):
        raise InputError(f"output must be 'relu' or 'softmax', got {output!r}")
    largest = dict.fromkeys((unit.name for unit in graph.units), 0.0)  # nothing that is sent is below 0
    seen: dict[str, LargestValues] = {}
    if percentile < 100:
        seen = {unit.name: LargestValues(batches.count * math.prod(unit.shape), percentile) for unit in graph.units}
    for activations in graph.batches(batches):
        for name, sent in activations.items():
            values = sent
            if name == graph.output.name:
                answer = torch.from_numpy(sent)
                values = (answer.softmax(1) if output == "softmax" else answer.relu()).numpy()
            if seen:
                seen[name].add(values.reshape(1, -1))
            largest[name] = max(largest[name], float(values.max()))
    return tuple(float(seen[name].result()[0]) if seen else largest[name] for name in largest)


def sleeping_scales(graph: ReluGraph, calibration: Calibration, rule: Normalization) -> dict[str, float]:
    """Return the scale of each unit by a rule of normalisation, at most its ceiling.

    Raises
    ------
    InputError
        If the calibration is not of this graph, or not what the rule needs, or a unit was silent.
    """
    names = [unit.name for unit in graph.units]
    scale_of = getattr(rule, "scale", None)
    if scale_of is None:
        raise InputError(
            f"the normalization {type(rule).__name__} knows only chains of layers; give it a method "
            "scale(largest_weight, activation), or use one that ships"
        )
    if isinstance(rule, NoNormalization):
        return dict.fromkeys(names, 1.0)
    if len(calibration.scales) != len(names) or calibration.names not in (None, tuple(names)):
        of = calibration.names or [f"{len(calibration.scales)} layers"]
        raise InputError(
            f"the calibration is of {', '.join(of)}, but the network has the units {', '.join(names)}: calibrate (or "
            "observe) with this network"
        )
    if calibration.percentile != rule.percentile:
        raise InputError(
            f"the calibration measured percentile {calibration.percentile}, but the normalization needs "
            f"{rule.percentile}: calibrate (or remember) with percentile={rule.percentile}"
        )
    measured = dict(zip(names, calibration.scales, strict=True))
    scales = {}
    for unit in graph.units:
        own = measured[unit.name]
        if own == 0:  # of the two units of a LeakyReLU one may be silent
            own = measured.get(twin(unit.name), 0.0)
        if not (np.isfinite(own) and own > 0):
            raise InputError(
                f"unit {unit.name!r} has activation scale {own} over the calibration data: a silent unit cannot be "
                "normalised; calibrate with more data, a higher percentile, or train the network first"
            )
        scale = scale_of(_largest_weight(unit), own)
        scales[unit.name] = scale if unit.ceiling is None else min(scale, unit.ceiling)
    return scales


def _largest_weight(unit: ReluUnit) -> float:
    own = [[o for o in projection.operators if isinstance(o, Kept)][-1:] for projection in unit.projections]
    weights = [o.kernels if isinstance(o, KeptConvolution) else o.weights for last in own for o in last]
    return max((float(w.max()) for w in weights), default=0.0)
