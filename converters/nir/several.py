"""How many spikes at once a neuron can send that sends one for each threshold that its potential reaches."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ...sims.awake.graph import INPUT, SpikingGraph
from ...sims.awake.present import present
from ...sims.operators import Floats
from ..graph.layer_report import multiply_accumulates
from ..graph.operator_algebra import bounds

STEPS = 100
ADDITIONS = 2e10  # at most, in all steps and inputs
SPIKES = 2e7  # kept at most at a time
ROUNDING = 1e-6  # of a threshold

_measured: WeakKeyDictionary[SpikingGraph, tuple[dict[str, int], int, int]] = WeakKeyDictionary()


def several_spikes(graph: SpikingGraph, name: str) -> str | None:
    """Say how many spikes at once a population's neurons send, or return None if it cannot be more than one.

    That it cannot be more follows from what can come in within one step: what is left after spikes is below the
    threshold. The number is measured where the graph knows inputs of its calibration, since bounds of deep populations
    multiply.
    """
    bound = most_spikes(graph)[name]
    if bound == 1:
        return None
    known = _calibration(graph)
    if "examples" not in known:
        return f"up to {bound}, for {range_of_inputs(graph)}"
    if name in known["largest_currents"]:
        return f"up to {bound}, by the largest current of all inputs of the calibration"
    most, inputs, steps = _measure(graph, known["examples"])
    where = f"measured with {inputs} inputs of the calibration over {steps} steps"
    return f"up to {most[name]}, {where}" if most[name] > 1 else f"perhaps several, though at most one {where}"


def range_of_inputs(graph: SpikingGraph) -> str:
    """Say for which inputs numbers of spikes hold."""
    if "input_range" in _calibration(graph):
        return "inputs as those of the calibration, sent as currents"
    return "inputs from 0 to 1"


def most_spikes(graph: SpikingGraph) -> dict[str, int]:
    """Return upper bounds, by population: for inputs as those of the calibration, or from 0 to 1 if there was none."""
    known = _calibration(graph)
    low, high = known.get("input_range", (0.0, 1.0))
    measured: Mapping[str, float] = known.get("largest_currents", {})
    shapes, most = graph.shapes, dict[str, int]()
    for p in graph.populations:
        threshold = np.asarray(p.threshold, np.float64)
        if p.name in measured and all(projection.source == INPUT for projection in p.projections):
            reached = measured[p.name] / threshold.min() - ROUNDING
        else:
            current = torch.as_tensor(0.0 if p.bias is None else p.bias, dtype=torch.float64)[None]
            for projection in p.projections:
                lowest, highest = (low, high) if projection.source == INPUT else (0, most[projection.source])
                low_in = torch.full((1, *shapes[projection.source]), lowest, dtype=torch.float64)
                high_in = torch.full_like(low_in, highest)
                for operator in projection.operators:
                    low_in, high_in = bounds(operator, low_in, high_in)
                current = current + high_in.reshape(1, *p.shape)
            reached = (current / torch.as_tensor(threshold)).max().item() - ROUNDING
        most[p.name] = max(1, math.ceil(reached))
    return most


def _measure(graph: SpikingGraph, inputs: Floats) -> tuple[dict[str, int], int, int]:
    """Return the most spikes at once, by population, and with how many inputs and steps; remembered for each graph."""
    if graph not in _measured:
        neurons, additions = sum(p.size for p in graph.populations), sum(multiply_accumulates(graph))
        steps = int(np.clip(SPIKES // neurons, 10, STEPS))
        n = int(np.clip(ADDITIONS // (steps * max(1, additions)), 1, len(inputs)))
        size = max(1, int(SPIKES // (steps * neurons)))
        free = replace(graph, populations=tuple(replace(p, several_spikes=True) for p in graph.populations))
        most = {p.name: 0 for p in graph.populations}
        for first in range(0, n, size):
            shown = present(free, inputs[first : min(first + size, n)], steps, raster=True)
            for name, raster in (shown.rasters or {}).items():
                most[name] = max(most[name], int(raster.max()))
        _measured[graph] = most, n, steps
    return _measured[graph]


def _calibration(graph: SpikingGraph) -> Mapping[str, Any]:
    known: Mapping[str, Any] = graph.notes.get("calibration", {})
    return known
