"""Questions about sleep: conditions compared over seeds, with an answer and its uncertainty.

>>> from neurosleep.experiments import Condition, DataStream, Experiment
>>> experiment = Experiment("Does sleep help?", {"awake": Condition(), "asleep": Condition([night])})  # doctest: +SKIP
>>> results = experiment.run("runs/help")  # doctest: +SKIP
>>> print(results.compare("accuracy", "asleep", "awake"))  # doctest: +SKIP
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
