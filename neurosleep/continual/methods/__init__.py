"""Methods of continual learning, one a file.

They are written here because avalanche-lib, the maintained library of such methods, needs torchvision and clients of
logging services, and owns the training loop, so that no night fits between two tasks.

>>> from neurosleep.continual.methods import EWC
>>> history = learn(model, stream, Trainer(), method=EWC(strength=100.0))  # doctest: +SKIP
"""

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.ewc import EWC
from neurosleep.continual.methods.icarl import ICaRL
from neurosleep.continual.methods.lwf import LwF
from neurosleep.continual.methods.owm import OWM
from neurosleep.continual.methods.rehearsal import Rehearsal
from neurosleep.continual.methods.si import SI

METHODS: dict[str, type[Method]] = {
    "sequential": Method,
    "ewc": EWC,
    "si": SI,
    "owm": OWM,
    "lwf": LwF,
    "rehearsal": Rehearsal,
    "icarl": ICaRL,
}
"""Every method by its name on the command line."""

__all__ = ["EWC", "METHODS", "OWM", "SI", "ICaRL", "LwF", "Method", "Rehearsal"]
