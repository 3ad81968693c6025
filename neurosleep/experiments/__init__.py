"""Experiments: conditions compared over seeds, with an answer and its uncertainty; those of the papers, and yours.

>>> from neurosleep.experiments import Condition, DataStream, Experiment, run
>>> experiment = Experiment("Does sleep help?", {"awake": Condition(), "asleep": Condition([night])})  # doctest: +SKIP
>>> results = run(experiment, "runs/help")  # doctest: +SKIP
>>> print(results.compare("accuracy", "asleep", "awake"))  # doctest: +SKIP
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
