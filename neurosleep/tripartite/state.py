"""All that a learner needs to go on, in memory and on disk."""

import os
from dataclasses import asdict
from typing import Any, Self

import torch

from neurosleep.converters import Calibration
from neurosleep.converters.checkpoint import read_tensors
from neurosleep.data.idx import DataError
from neurosleep.files import write_tensors
from neurosleep.memory import FeatureMemory
from neurosleep.night import SleepRecord
from neurosleep.sims.errors import InputError
from neurosleep.sims.packed import DAMAGE, cause
from neurosleep.tripartite.generator import Generator
from neurosleep.tripartite.network import Architecture, ReplayNetwork
from neurosleep.tripartite.rows import Row
from neurosleep.tripartite.saved import check_moments, check_size, check_values, record_of
from neurosleep.tripartite.stages import Settings, StageRecord

FORMAT = 2
_NUMBERS = ("seed", "task", "n_old", "stage", "iteration", "seconds")


class State:
    """A network with all that its learning needs: optimizer, random numbers, generator, and where it is.

    Parameters
    ----------
    network
        On the device where it is to learn; changed in place.
    settings
        How it is trained.
    seed
        Of batches, dreams and noise.

    Attributes
    ----------
    task
        Number of tasks begun.
    seen
        Classes of all tasks begun, in the order in which they came, int64.
    records
        One for each stage that is finished, in order.
    generator
        What dreams; None before the second task.
    memory
        What `SpontaneousReplay` may know of the past.
    optimizer, random
        Adam, and all random numbers but those of spontaneous replay.
    stage, iteration, seconds, totals
        Stages finished in this task's night; of the one that is not, steps done, time taken, sums of the losses.
    n_old
        Classes of the tasks before this one.
    identity
        Digest of what is learned and how, by which a file that it was saved to is known; empty if it has none.
    looks
        What `neurosleep.tripartite.looking` saw along the way, rows of plain numbers, lists and names: "accuracies" and
        "weights" along the iterations, see `neurosleep.tripartite.rows`, and the "ends" of tasks.
    """

    def __init__(self, network: ReplayNetwork, settings: Settings | None = None, seed: int = 0) -> None:
        self.network = network
        self.settings = settings or Settings()
        self.seed = seed
        self.identity = ""
        self.task = 0
        self.device = next(network.parameters()).device
        self.seen = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.records: list[StageRecord | SleepRecord] = []
        self.generator: Generator | None = None
        self.memory = FeatureMemory()
        self.random = torch.Generator(self.device).manual_seed(seed)
        self.optimizer = self.new_optimizer()
        self.n_old = 0
        self.stage = 0  # of the night of this task
        self.iteration = 0  # of this stage
        self.seconds = 0.0  # in this stage
        self.totals = torch.zeros(3, device=self.device)
        self.looks: dict[str, list[Row]] = {"accuracies": [], "weights": [], "ends": []}

    def new_optimizer(self) -> torch.optim.Adam:
        """Return Adam for the network's weights, without moments."""
        fused = True if self.device.type in ("cpu", "cuda") else None
        rate = self.settings.learning_rate
        return torch.optim.Adam(self.network.parameters(), lr=rate, betas=(0.9, 0.999), fused=fused)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of this to a file, whole or not at all."""
        memory = self.memory
        state = {
            "format": FORMAT,
            "architecture": asdict(self.network.architecture),
            "settings": asdict(self.settings),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "generator": None if self.generator is None else self.generator.network.state_dict(),
            "totals": self.totals,
            "seen": self.seen,
            "records": [(type(record).__name__, record.to_dict()) for record in self.records],
            "memory": {
                "count": memory.count,
                "largest": memory.largest,
                "mean_input": None if memory.mean_input is None else torch.from_numpy(memory.mean_input),
                "scales": None if memory.calibration is None else memory.calibration.scales,
            },
            "looks": self.looks,
            "identity": self.identity,
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
        }
        write_tensors(path, state)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Self:
        """Return what `save` wrote; it goes on as the one that was saved would have.

        Raises
        ------
        DataError
            The file is missing, damaged, of an earlier version or something else.
        """
        try:
            state: dict[str, Any] = read_tensors(path, device)
        except (OSError, InputError) as error:
            raise DataError(f"{path}: expected a file that a learner was saved to; {cause(error)}") from error
        found = state.get("format") if isinstance(state, dict) else None
        if isinstance(found, int) and 0 < found < FORMAT:
            raise DataError(
                f"{path}: an earlier version saved this learner (format {found}, this one reads {FORMAT}): "
                "learn again with another file or output folder, or move this one away"
            )
        if found != FORMAT:
            raise DataError(f"{path}: expected a saved learner of format {FORMAT}; found something else")
        try:
            architecture = Architecture(**state["architecture"])
            check_values(state, architecture.classes)
            check_size(architecture, state["network"])
            network = ReplayNetwork(architecture).to(device)
            network.load_state_dict(state["network"])
            learner = cls(network, Settings(**state["settings"]))
            learner._restore(state)
            check_moments(learner.optimizer, learner.new_optimizer())
        except DAMAGE as error:
            raise DataError(
                f"{path}: this saved learner is not whole ({type(error).__name__}: {cause(error)}); move it away to "
                "begin again"
            ) from error
        return learner

    def _restore(self, state: dict[str, Any]) -> None:
        """Take over what `save` wrote beside network and settings."""
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        self.identity = str(state.get("identity", ""))
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"].cpu())
        self.totals, self.seen = state["totals"], state["seen"]
        self.looks = {name: state["looks"][name] for name in self.looks}
        if state["generator"] is not None:
            self.generator = Generator(self.network, self.seen[: self.n_old], self.settings.bfloat16)
            self.generator.network.load_state_dict(state["generator"])
        self.records = [record_of(kind, values) for kind, values in state["records"]]
        memory, stored = self.memory, state["memory"]
        memory.count, memory.largest = stored["count"], stored["largest"]
        memory.mean_input = None if stored["mean_input"] is None else stored["mean_input"].cpu().numpy()
        memory.calibration = None if stored["scales"] is None else Calibration(tuple(stored["scales"]))
