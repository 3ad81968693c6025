"""How large the currents are that calibration inputs send into a spiking graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...sims.awake.graph import INPUT, Population
from .operator_algebra import respond_all

EXAMPLES = 32
BATCH_SIZE = 100


@torch.no_grad()
def calibration_notes(populations: Sequence[Population], inputs: torch.Tensor) -> dict[str, Any]:
    """Return what an export should know of the inputs (n, *input_shape) that a graph was made for.

    Returns
    -------
    "input_range", the smallest and the largest value; "largest_currents", by population that is fed by the input alone,
    the largest current of all inputs in a step; "examples", up to 32 inputs, those with the largest currents first.
    """
    fed = [p for p in populations if all(projection.source == INPUT for projection in p.projections)]
    largest = dict.fromkeys((p.name for p in fed), -np.inf)
    reached: list[torch.Tensor] = []
    for batch in torch.split(inputs.to(torch.float64), BATCH_SIZE):
        scores = [torch.full((len(batch),), -np.inf, dtype=torch.float64)]
        for p in fed:
            current = torch.as_tensor(0.0 if p.bias is None else p.bias, dtype=torch.float64)[None]
            for projection in p.projections:
                current = current + respond_all(projection.operators, batch).reshape(len(batch), *p.shape)
            highest = current.flatten(1).amax(1)
            largest[p.name] = max(largest[p.name], float(highest.max()))
            scores.append(highest / float(np.min(p.threshold)))
        reached.append(torch.stack(scores).amax(0))
    first = torch.cat(reached).argsort(descending=True)[:EXAMPLES]
    return {
        "input_range": (float(inputs.min()), float(inputs.max())),
        "largest_currents": largest,
        "examples": inputs[first].numpy().copy(),
    }
