"""Experiments: conditions compared over seeds, with an answer and its uncertainty; those of the papers, and yours.

>>> from neurosleep.experiments import Condition, DataStream, Experiment, run
>>> experiment = Experiment("Does sleep help?", {"awake": Condition(), "asleep": Condition([night])})  # doctest: +SKIP
>>> results = run(experiment, "runs/help")  # doctest: +SKIP
>>> print(results.compare("accuracy", "asleep", "awake"))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurosleep.experiments.comparison import Comparison as Comparison
    from neurosleep.experiments.comparison import Comparisons as Comparisons
    from neurosleep.experiments.conditions import Condition as Condition
    from neurosleep.experiments.data_stream import DataStream as DataStream
    from neurosleep.experiments.experiment import Experiment as Experiment
    from neurosleep.experiments.lesions import BlockedDepression as BlockedDepression
    from neurosleep.experiments.lesions import BlockedPotentiation as BlockedPotentiation
    from neurosleep.experiments.lesions import SilencedNeurons as SilencedNeurons
    from neurosleep.experiments.loading import load as load
    from neurosleep.experiments.networks import ConvolutionalNetwork as ConvolutionalNetwork
    from neurosleep.experiments.networks import GenerativeNetwork as GenerativeNetwork
    from neurosleep.experiments.networks import ReluNetwork as ReluNetwork
    from neurosleep.experiments.networks import SnnNetwork as SnnNetwork
    from neurosleep.experiments.page.report import write_report as write_report
    from neurosleep.experiments.results import Results as Results
    from neurosleep.experiments.running import run as run
    from neurosleep.experiments.study import StudyExperiment as StudyExperiment
    from neurosleep.statistics import seeds_needed as seeds_needed
