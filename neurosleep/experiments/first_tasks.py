"""First tasks that the conditions of an experiment have in common: trained once a seed, and kept in its folder."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurosleep.continual.first_task import Trained
from neurosleep.continual.methods import Method, Rehearsal
from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock, beside
from neurosleep.sims.packed import read_npz
from neurosleep.sims.whole import whole

PLAIN = (Method, Rehearsal)
"""Methods that train a first task as if there were none, and need not see its steps."""


@dataclass(frozen=True)
class FirstTask:
    """The file of one first task; who asks while another process trains it waits.

    Parameters
    ----------
    file
        Its folder is made if it is not there.
    """

    file: Path

    @classmethod
    def of(cls, folder: Path, *depends: Any) -> "FirstTask":
        """Return that which depends on these plain values, and on the version of torch."""
        told = json.dumps([*depends, torch.__version__], sort_keys=True)
        return cls(folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npz")

    def get(self, train: Callable[[], Trained]) -> Trained | None:
        """Return the state that is kept; else let the task be trained, keep its state, and return None."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with Lock(beside(self.file), "", patience=math.inf):
            if self.file.is_file():
                try:
                    return _read(self.file)
                except InputError:  # damaged: it is made again
                    pass
            state = train()
            with whole(self.file) as half, half.open("wb") as file:
                arrays: dict[str, Any] = {name: tensor.detach().cpu().numpy() for name, tensor in _named(state).items()}
                np.savez(file, **arrays)
            return None


def _named(state: Trained) -> dict[str, torch.Tensor]:
    named = {f"weights.{name}": tensor for name, tensor in state.weights.items()}
    named |= {f"momentum.{index}": tensor for index, tensor in state.momentum.items()}
    return named | {"common": state.common} | ({} if state.own is None else {"own": state.own})


def _read(file: Path) -> Trained:
    found = {name: torch.from_numpy(array) for name, array in read_npz(file).items()}
    if "common" not in found:
        raise InputError(f"{file} is no first task")
    weights = {name.removeprefix("weights."): t for name, t in found.items() if name.startswith("weights.")}
    momentum = {int(name[9:]): tensor for name, tensor in found.items() if re.fullmatch(r"momentum\.\d+", name)}
    return Trained(weights, momentum, found["common"], found.get("own"))
