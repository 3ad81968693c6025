"""Experiments of the papers, each one command: `neurosleep run NAME`."""

from neurosleep.experiments.base import Experiment
from neurosleep.experiments.patches import PatchesExperiment
from neurosleep.experiments.src_mnist import SrcMnist

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in (PatchesExperiment(), SrcMnist())}
"""Every experiment by its name on the command line."""
