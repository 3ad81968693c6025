"""The two forms of the engine, event-driven and dense, and its choice between them, from few to all neurons firing."""

import time
from typing import Any
from unittest import mock

import numpy as np

from ..sims.drives.recorded import RecordedSpikes
from ..sims.engines import compiled_base
from ..sims.engines.contract import Sleeper
from ..sims.engines.cpu import CpuEngine
from ..sims.network import SpikingLayer, SpikingNetwork
from ..sims.rules.hebbian import GatedHebbian, Hebbian, PlasticityRule
from ..sims.state import SimulationState

SHARES = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.95)
PRE = 0.1
"""Share of the presynaptic neurons that fire in a step."""
FORMS = {"event-driven": 2.0, "dense": -1.0, "chosen": None}
RULES: dict[str, PlasticityRule] = {"gated": GatedHebbian(1e-9, 1e-9), "constant": Hebbian(1e-9, 1e-9)}
"""Changes so small that a network goes on firing as it began."""


def forms(width: int, steps: int, rounds: int) -> list[dict[str, Any]]:
    """Time one layer whose neurons fire in a given share of steps, in both forms and as the engine chooses."""
    rng = np.random.default_rng(0)
    raster = rng.random((steps, width)) < PRE
    weights = rng.normal(0, 0.006, (width, width)).astype(np.float32)
    impulses = raster @ weights
    rows = []
    for name, rule in RULES.items():
        for share in SHARES:
            bias = np.full(width, 1 - np.quantile(impulses, 1 - share), dtype=np.float32)
            layer = SpikingLayer(weights, threshold=1.0, decay=1e-6, bias=bias)
            network, drive = SpikingNetwork((layer,)), RecordedSpikes(raster)
            milliseconds: dict[str, list[float]] = {form: [] for form in FORMS}
            for _ in range(rounds):
                for form, at in FORMS.items():
                    shares = (at, at) if at is not None else (compiled_base.DENSE_GATED, compiled_base.DENSE_CONSTANT)
                    with mock.patch.multiple(compiled_base, DENSE_GATED=shares[0], DENSE_CONSTANT=shares[1]):
                        milliseconds[form].append(_per_step(network, drive, rule, steps))
            rows.append(
                {"rule": name, "share": share, **{form: float(np.median(t)) for form, t in milliseconds.items()}}
            )
    return rows


def _per_step(network: SpikingNetwork, drive: RecordedSpikes, rule: PlasticityRule, steps: int) -> float:
    schedule = drive.schedule(network.sizes[0], network.dt, None)
    engine = CpuEngine(Sleeper(network, schedule, rule, 0, SimulationState.asleep(network)))
    begin = time.perf_counter()
    engine.advance(steps, [(False, False)])
    engine.weights(0)
    return 1e3 * (time.perf_counter() - begin) / steps
