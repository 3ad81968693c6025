"""Weights and inputs of a network without hidden layer that learned two tasks (Tadros et al. 2022, Fig. 1C and D)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.sims.errors import InputError

GROUPS = ("unique to task 1", "unique to task 2", "overlapping")


@dataclass(frozen=True, eq=False)
class PixelGroups:
    """Input neurons by the tasks in whose images they are on; those on in no image belong to none.

    Attributes
    ----------
    unique1, unique2
        Indices of pixels that are on in images of the first or second task only.
    overlapping
        Indices of pixels that are on in images of both.
    """

    unique1: NDArray[np.int64]
    unique2: NDArray[np.int64]
    overlapping: NDArray[np.int64]

    @property
    def named(self) -> dict[str, NDArray[np.int64]]:
        """The groups by the names in `GROUPS`."""
        return dict(zip(GROUPS, (self.unique1, self.unique2, self.overlapping), strict=True))


def pixel_groups(task1: ArrayLike, task2: ArrayLike) -> PixelGroups:
    """Sort the input neurons by the tasks that use them.

    Parameters
    ----------
    task1, task2
        (n, n_inputs) images of each task; a pixel is on where it is above 0 in any of them.

    Raises
    ------
    InputError
        If these are not images of the same number of pixels.
    """
    images = [np.asarray(task) for task in (task1, task2)]
    if any(x.ndim != 2 or len(x) == 0 for x in images) or images[0].shape[1] != images[1].shape[1]:
        raise InputError(
            f"both tasks need images (n, n_inputs) of as many pixels, got {images[0].shape} and {images[1].shape}"
        )
    on1, on2 = ((x > 0).any(0) for x in images)
    return PixelGroups(np.flatnonzero(on1 & ~on2), np.flatnonzero(on2 & ~on1), np.flatnonzero(on1 & on2))


def group_weights(weights: ArrayLike, groups: PixelGroups, outputs: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return the weights from each group of input neurons to some outputs (Fig. 1D).

    Parameters
    ----------
    weights
        (n_inputs, n_outputs).
    groups
        Of `pixel_groups`.
    outputs
        Indices of the output neurons, for example those of task 1.

    Returns
    -------
    The name of each group of `GROUPS` to its weights, (pixels * outputs,).
    """
    w = _matrix(weights)
    columns = np.asarray(outputs, dtype=np.int64)
    return {name: w[np.ix_(rows, columns)].ravel() for name, rows in groups.named.items()}


def output_inputs(weights: ArrayLike, image: ArrayLike, own: int, rivals: ArrayLike) -> tuple[float, float]:
    """Return what one image sends to its own output, and the most that it sends to any rival (Fig. 1C).

    Parameters
    ----------
    weights
        (n_inputs, n_outputs), without bias.
    image
        (n_inputs,).
    own
        Index of the image's own output neuron.
    rivals
        Indices of the outputs of the other task.

    Returns
    -------
    Input to the own output, and the largest among the rivals, in units of weights times pixels.

    Raises
    ------
    InputError
        If the image does not fit the weights.
    """
    w, x = _matrix(weights), np.asarray(image, dtype=np.float64)
    if x.shape != (len(w),):
        raise InputError(f"image must have {len(w)} values, one an input neuron, got shape {x.shape}")
    z = x @ w
    return float(z[own]), float(z[np.asarray(rivals, dtype=np.int64)].max())


def _matrix(weights: ArrayLike) -> NDArray[np.float64]:
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 2:
        raise InputError(f"weights must be (n_inputs, n_outputs), got shape {w.shape}")
    return w
