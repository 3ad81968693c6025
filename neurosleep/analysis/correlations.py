"""How alike the activity of a layer is for inputs of one class and of two (Tadros et al. 2022, Fig. 4)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.sims.errors import InputError


@dataclass(frozen=True, eq=False)
class ClassCorrelations:
    """Mean Pearson correlations between the activity vectors of single inputs.

    Attributes
    ----------
    classes
        The classes, ascending.
    matrix
        (classes, classes) float64, symmetric: mean over all pairs of inputs of the two classes. On the diagonal an
        input is not paired with itself. nan where there is no pair.
    used
        (classes,) inputs of each class that entered.
    skipped
        (classes,) inputs of each class left out, since all units were equally active (a silent layer, for example):
        their correlation is not defined.
    """

    classes: tuple[int, ...]
    matrix: NDArray[np.float64]
    used: NDArray[np.int64]
    skipped: NDArray[np.int64]

    @property
    def within(self) -> float:
        """Mean of the diagonal: inputs of the same class; classes without a pair are left out."""
        return mean_of_known(np.diag(self.matrix))

    @property
    def between(self) -> float:
        """Mean of the rest: inputs of different classes."""
        return mean_of_known(self.matrix[~np.eye(len(self.classes), dtype=bool)])


def class_correlations(activations: ArrayLike, labels: ArrayLike) -> ClassCorrelations:
    """Average the correlation of every two inputs' activity, within and between classes.

    Correlations of single inputs are not stored: with ``u`` a vector of mean 0 and length 1 over the units, the
    correlation of two inputs is ``u_a . u_b``, so with ``S_c`` the sum over the ``n_c`` inputs of class c

        between classes c and d: S_c . S_d / (n_c n_d),      within class c: (S_c . S_c - n_c) / (n_c (n_c - 1)).

    Parameters
    ----------
    activations
        (n, n_units) of one layer, at least two units.
    labels
        (n,) class of each input.

    Raises
    ------
    InputError
        If the shapes do not fit, or activations are not finite.

    References
    ----------
    Tadros et al. 2022, Nature Communications 13:7742, Fig. 4 ("average correlation within the hidden layers").
    """
    a, y = checked_activations(activations, labels)
    if a.shape[1] < 2:
        raise InputError(f"correlations need at least two units, got activations of shape {a.shape}")
    varies = a.max(1) > a.min(1)
    u = a[varies] - a[varies].mean(1, keepdims=True)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    classes = np.unique(y)
    sums = np.stack([u[y[varies] == c].sum(0) for c in classes])
    n = np.array([np.count_nonzero(y[varies] == c) for c in classes])
    products, pairs = sums @ sums.T, np.outer(n, n).astype(np.float64)
    diagonal = np.arange(len(classes))
    products[diagonal, diagonal] -= n
    pairs[diagonal, diagonal] -= n
    matrix = np.divide(products, pairs, out=np.full_like(products, np.nan), where=pairs > 0)
    totals = np.array([np.count_nonzero(y == c) for c in classes])
    return ClassCorrelations(tuple(classes.tolist()), matrix, n, totals - n)


def checked_activations(activations: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return activations (n, n_units) in float64 and labels (n,), or raise `InputError`."""
    a = np.asarray(activations, dtype=np.float64)
    if a.ndim != 2 or 0 in a.shape:
        raise InputError(f"activations must be (n, n_units) with at least one of each, got shape {a.shape}")
    y = checked_labels(labels, len(a))
    if not np.isfinite(a).all():
        raise InputError(f"activations contain {np.count_nonzero(~np.isfinite(a))} values that are not finite")
    return a, y


def checked_labels(labels: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return the labels of n inputs, (n,), or raise `InputError`."""
    y = np.asarray(labels)
    if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"labels must be ({n},) whole numbers, one an input, got {y.dtype} of shape {y.shape}")
    return y.astype(np.int64)


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are not nan; nan if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
