"""Questions about sleep: conditions compared over seeds, with an answer and its uncertainty.

>>> from neurosleep.experiments import Condition, DataStream, Experiment
>>> experiment = Experiment("Does sleep help?", {"awake": Condition(), "asleep": Condition([night])})  # doctest: +SKIP
>>> results = experiment.run("runs/help")  # doctest: +SKIP
>>> print(results.compare("accuracy", "asleep", "awake"))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurosleep.experiments.comparison import Comparison as Comparison
    from neurosleep.experiments.comparison import Comparisons as Comparisons
    from neurosleep.experiments.comparison import seeds_needed as seeds_needed
    from neurosleep.experiments.conditions import BlockedDepression as BlockedDepression
    from neurosleep.experiments.conditions import BlockedPotentiation as BlockedPotentiation
    from neurosleep.experiments.conditions import Condition as Condition
    from neurosleep.experiments.conditions import DataStream as DataStream
    from neurosleep.experiments.conditions import GenerativeNetwork as GenerativeNetwork
    from neurosleep.experiments.conditions import ReluNetwork as ReluNetwork
    from neurosleep.experiments.conditions import SilencedNeurons as SilencedNeurons
    from neurosleep.experiments.experiment import Experiment as Experiment
    from neurosleep.experiments.page.report import write_report as write_report
    from neurosleep.experiments.page.section import Section as Section
    from neurosleep.experiments.results import Results as Results

_HOMES = {
    "comparison": ("Comparison", "Comparisons", "seeds_needed"),
    "conditions": (
        "BlockedDepression",
        "BlockedPotentiation",
        "Condition",
        "DataStream",
        "GenerativeNetwork",
        "ReluNetwork",
        "SilencedNeurons",
    ),
    "experiment": ("Experiment",),
    "page.report": ("write_report",),
    "page.section": ("Section",),
    "results": ("Results",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'neurosleep.experiments' has no attribute {name!r}")
    return getattr(import_module(f"neurosleep.experiments.{_HOME_OF[name]}"), name)
