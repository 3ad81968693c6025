"""Tripartite sleep: NREM, REM and synaptic downscaling (Robinson et al. 2022, arXiv 2209.05245)."""

from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.network import Architecture, ReplayNetwork
from neurosleep.tripartite.stages import NREM, REM, Interleaved, Night, Settings, StageRecord
from neurosleep.tripartite.state import State

__all__ = [
    "NREM",
    "REM",
    "Architecture",
    "Interleaved",
    "Learner",
    "Night",
    "ReplayNetwork",
    "Settings",
    "StageRecord",
    "State",
]
