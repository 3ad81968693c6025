"""How large the currents are that calibration inputs send into a spiking graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...sims.awake.graph import INPUT, Population
from ..batches import Batches
from .operator_algebra import respond_all

EXAMPLES = 32
BATCH_SIZE = 100


@torch.no_grad()
def calibration_notes(populations: Sequence[Population], inputs: Batches) -> dict[str, Any]:
    """Return what an export should know of the inputs (n, *input_shape) that a graph was made for.

    Returns
    -------
    "input_range", the smallest and the largest value; "largest_currents", by population that is fed by the input alone,
    the largest current of all inputs in a step; "examples", up to 32 inputs, those with the largest currents first.
    """
    fed = [p for p in populations if all(projection.source == INPUT for projection in p.projections)]
    largest = dict.fromkeys((p.name for p in fed), -np.inf)
    low, high, scores, examples = np.inf, -np.inf, torch.empty(0, dtype=torch.float64), None
    for x in inputs:
        scores = torch.cat([scores, _highest(fed, x, largest)])
        examples = x if examples is None else torch.cat([examples, x])
        first = scores.argsort(descending=True)[:EXAMPLES]
        scores, examples = scores[first], examples[first]
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    return {
        "input_range": (low, high),
        "largest_currents": largest,
        "examples": np.zeros(0) if examples is None else examples.numpy().copy(),
    }


def _highest(fed: Sequence[Population], x: torch.Tensor, largest: dict[str, float]) -> torch.Tensor:
    """Return the largest current of each input, in thresholds, and keep the largest of all by population."""
    reached = []
    for batch in torch.split(x.to(torch.float64), BATCH_SIZE):
        scores = [torch.full((len(batch),), -np.inf, dtype=torch.float64)]
        for p in fed:
            current = torch.as_tensor(0.0 if p.bias is None else p.bias, dtype=torch.float64)[None]
            for projection in p.projections:
                current = current + respond_all(projection.operators, batch).reshape(len(batch), *p.shape)
            highest = current.flatten(1).amax(1)
            largest[p.name] = max(largest[p.name], float(highest.max()))
            scores.append(highest / float(np.min(p.threshold)))
        reached.append(torch.stack(scores).amax(0))
    return torch.cat(reached)
