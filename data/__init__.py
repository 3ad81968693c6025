"""Data sets: a small real MNIST that ships, loaders for the full sets and for embeddings, and the Patches toy task.

Nothing is downloaded on import; `load` and `load_cifar` do so only for full sets, and only when they find no copy.

>>> from neurosleep.data import load, patches
>>> digits = load("mnist-small", "train")
>>> digits.vectors().shape
(10000, 784)
>>> patches(overlap=12).pixels.shape
(4, 100)
"""

from .cifar import ColourImages, load_cifar
from .embeddings import Embeddings, load_embeddings, permuted_digits
from .idx import DataError
from .images import Images, load
from .patches import Patches, patches

__all__ = [
    "ColourImages",
    "DataError",
    "Embeddings",
    "Images",
    "Patches",
    "load",
    "load_cifar",
    "load_embeddings",
    "patches",
    "permuted_digits",
]
