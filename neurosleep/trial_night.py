"""A night without steps on a copy of a network: whatever cannot work raises before anything is trained."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from neurosleep.examples import Data
from neurosleep.memory import Memory
from neurosleep.night import Stage, fall_asleep, sleep
from neurosleep.sims.ensemble import Backend
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.spontaneous_replay import SpontaneousReplay

_FEW = 100  # inputs of a data set that is read on the way


def try_night(
    model: nn.Module,
    memory: Memory,
    inputs: Data,
    stages: Sequence[Any],
    *,
    backend: Backend = "cpu",
    log: SpikeLog | None = None,
) -> None:
    """Let copies of a network and its memory sleep for no steps, as if the network were trained.

    Raises
    ------
    InputError
        If the network cannot sleep, or memory, inputs, log and stages do not fit it. That layers of an untrained
        network are silent is no reason.
    """
    for stage in stages:
        if not isinstance(stage, Stage):
            raise InputError(f"a night is made of stages of sleep, such as SpontaneousReplay(...), got {stage!r}")
    if not stages:
        return
    with torch.random.fork_rng():
        copy, trial = deepcopy(model), deepcopy(memory)
        if any(isinstance(stage, SpontaneousReplay) for stage in stages):
            trial.observe(copy, inputs if isinstance(inputs, torch.Tensor) else inputs[:_FEW])
        if trial.calibration is not None:
            trial.calibration = replace(trial.calibration, scales=(1.0,) * len(trial.calibration.scales))
        for stage in stages:
            short = replace(stage, steps=0) if isinstance(stage, SpontaneousReplay) else stage
            if isinstance(short, SpontaneousReplay) and log is not None:
                _check_log(log, fall_asleep(copy, trial, short).network.populations)
            sleep(copy, trial, short, backend=backend)


def _check_log(log: SpikeLog, populations: Mapping[str, int]) -> None:
    if dict(log.populations) != dict(populations):
        raise InputError(
            f"the log is of populations {dict(log.populations)}, but the network has {dict(populations)}: "
            "open a log for this network"
        )
