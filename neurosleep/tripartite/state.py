"""A `Learner` on disk."""

import os
from dataclasses import asdict
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from neurosleep.converters import Calibration
from neurosleep.data.idx import DataError
from neurosleep.night import SleepRecord, WeightChange
from neurosleep.sims.whole import whole
from neurosleep.tripartite.generator import Generator
from neurosleep.tripartite.network import Architecture, ReplayNetwork

if TYPE_CHECKING:
    from neurosleep.tripartite.learner import Learner

FORMAT = 1
_NUMBERS = ("seed", "task", "n_old", "stage", "iteration", "seconds")


def save(learner: "Learner", path: str | os.PathLike[str]) -> None:
    """Write all of a learner to a file, whole or not at all."""
    memory = learner.memory
    state = {
        "format": FORMAT,
        "architecture": asdict(learner.network.architecture),
        "settings": asdict(learner.settings),
        "network": learner.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "random": learner.random.get_state(),
        "generator": None if learner.generator is None else learner.generator.network.state_dict(),
        "totals": learner.totals,
        "seen": learner.seen,
        "records": [(type(record).__name__, record.to_dict()) for record in learner.records],
        "memory": {
            "count": memory.count,
            "largest": memory.largest,
            "mean_input": None if memory.mean_input is None else torch.from_numpy(memory.mean_input),
            "scales": None if memory.calibration is None else memory.calibration.scales,
        },
        "numbers": {name: getattr(learner, name) for name in _NUMBERS},
    }
    with whole(path) as half:
        torch.save(state, half)


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> "Learner":
    """Return the learner that `save` wrote; it goes on as the one that was saved would have.

    Raises
    ------
    DataError
        The file is missing, damaged or something else.
    """
    from neurosleep.tripartite.learner import Learner, Settings, StageRecord

    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError, LookupError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"{path}: expected a file that a learner was saved to; {first}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: expected a saved learner of format {FORMAT}; found something else")
    try:
        architecture = Architecture(**state["architecture"])
        network = ReplayNetwork(architecture).to(device)
        network.load_state_dict(state["network"])
        learner = Learner(network, Settings(**state["settings"]))
        for name in _NUMBERS:
            setattr(learner, name, state["numbers"][name])
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.random.set_state(state["random"].cpu())
        learner.totals, learner.seen = state["totals"], state["seen"]
        if state["generator"] is not None:
            learner.generator = Generator(network, learner.seen[: learner.n_old], learner.settings.bfloat16)
            learner.generator.network.load_state_dict(state["generator"])
        for kind, values in state["records"]:
            if kind == StageRecord.__name__:
                learner.records.append(StageRecord(**values))
            else:
                changes = [WeightChange(**change) for change in values.pop("weight_changes")]
                learner.records.append(SleepRecord(**values, weight_changes=changes))
        memory, stored = learner.memory, state["memory"]
        memory.count, memory.largest = stored["count"], stored["largest"]
        memory.mean_input = None if stored["mean_input"] is None else stored["mean_input"].cpu().numpy()
        memory.calibration = None if stored["scales"] is None else Calibration(tuple(stored["scales"]))
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: this saved learner is not whole ({type(error).__name__}: {error})") from error
    return learner
