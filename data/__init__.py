"""Data sets: a small real MNIST that ships, loaders for the full sets, and the Patches toy task.

Nothing is downloaded on import; `load` does so only for the full sets, and only when it finds no copy.

>>> from neurosleep.data import load, patches
>>> digits = load("mnist-small", "train")
>>> digits.vectors().shape
(10000, 784)
>>> patches(overlap=12).pixels.shape
(4, 100)
"""

from neurosleep.data.idx import DataError
from neurosleep.data.images import Images, load
from neurosleep.data.patches import Patches, patches

__all__ = ["DataError", "Images", "Patches", "load", "patches"]
