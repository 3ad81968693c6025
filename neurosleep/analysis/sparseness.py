"""How few units carry a layer's activity, and how much two groups of classes share them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.analysis.correlations import checked_activations, mean_of_known
from neurosleep.sims.errors import InputError


@dataclass(frozen=True, eq=False)
class Sparseness:
    """Sparseness of one layer, from 0 (all equally active) to 1 (one alone).

    Attributes
    ----------
    population
        (n,) over the units, for each input; nan where no unit is active.
    lifetime
        (n_units,) over the inputs, for each unit; nan where the unit is never active.
    active
        (n,) share of units with an activation above 0, for each input.
    """

    population: NDArray[np.float64]
    lifetime: NDArray[np.float64]
    active: NDArray[np.float64]

    def summary(self) -> dict[str, float]:
        """Return means (silent inputs and units left out of their mean), and the shares that were silent."""
        return {
            "population": mean_of_known(self.population),
            "lifetime": mean_of_known(self.lifetime),
            "active": float(self.active.mean()),
            "silent inputs": float(np.isnan(self.population).mean()),
            "silent units": float(np.isnan(self.lifetime).mean()),
        }


def sparseness(activations: ArrayLike) -> Sparseness:
    """Measure the sparseness of a layer's activity over inputs and over units.

    With ``a = mean(r)**2 / mean(r**2)`` (Treves & Rolls 1991), which is 1 where all ``m`` values ``r`` are equal and
    ``1 / m`` where only one is not 0, sparseness is ``(1 - a) / (1 - 1 / m)`` (Vinje & Gallant 2000). Over units it is
    population sparseness, over inputs lifetime sparseness (Willmore & Tolhurst 2001).

    Parameters
    ----------
    activations
        (n, n_units) of one layer, none negative; at least two inputs and two units.

    Raises
    ------
    InputError
        For another shape, or values that are negative or not finite.

    References
    ----------
    Treves & Rolls 1991, Network 2:371. Vinje & Gallant 2000, Science 287:1273. Willmore & Tolhurst 2001, Network
    12:255. Tadros et al. 2022, Nature Communications 13:7742, report increased sparseness after sleep (Fig. 4).
    """
    a = np.asarray(activations, dtype=np.float64)
    if a.ndim != 2 or min(a.shape) < 2:
        raise InputError(f"sparseness needs activations (n, n_units) with at least two of each, got shape {a.shape}")
    if not np.isfinite(a).all() or (a < 0).any():
        raise InputError(
            f"sparseness is defined for finite activations of at least 0; {np.count_nonzero(~(a >= 0))} are negative "
            f"or not numbers, {np.count_nonzero(np.isinf(a))} are infinite: pass what a layer sends on, after its ReLU"
        )
    return Sparseness(_vinje_gallant(a), _vinje_gallant(a.T), (a > 0).mean(1))


@dataclass(frozen=True, eq=False)
class Overlap:
    """How much the representations of groups of classes share.

    Attributes
    ----------
    cosine
        (groups, groups) cosine of the groups' mean activity vectors; nan where a group leaves the layer silent.
    jaccard
        (groups, groups) shared among all of the units most active for either group, from 0 (disjoint) to 1.
    top
        How many units of each group count as most active.
    """

    cosine: NDArray[np.float64]
    jaccard: NDArray[np.float64]
    top: int


def representational_overlap(
    activations: ArrayLike, labels: ArrayLike, groups: Sequence[Sequence[int]], *, top: int = 100
) -> Overlap:
    """Compare the mean activity that groups of classes, such as two tasks, evoke in one layer.

    That shared units are where forgetting comes from, and how to count them, is French 1992; two forms are given here.
    The cosine looks at mean activity in all units; the Jaccard index (``|A and B| / |A or B|``) at which units are
    among the `top` most active. A group's mean is that of its classes' means, so that each class counts the same.

    Parameters
    ----------
    activations, labels
        (n, n_units) of one layer, and (n,).
    groups
        Classes of each group; every class must occur in `labels`.
    top
        At least 1. Units with a mean activity of 0 are never among the most active; of equal ones the first come first.

    Raises
    ------
    InputError
        If shapes do not fit, a group is empty or has a class of which there is no input.

    References
    ----------
    French 1992, Connection Science 4:365. Jaccard 1912, New Phytologist 11:37.
    """
    a, y = checked_activations(activations, labels)
    if top < 1:
        raise InputError(f"top must be at least 1, got {top}")
    means = []
    for group in groups:
        missing = sorted(set(group) - set(y.tolist()))
        if not group or missing:
            raise InputError(f"every group needs classes that occur in labels, got {list(group)}, missing {missing}")
        means.append(np.mean([a[y == c].mean(0) for c in group], axis=0))
    mean = np.array(means).reshape(len(groups), a.shape[1])
    length = np.linalg.norm(mean, axis=1)
    lengths = np.outer(length, length)
    cosine = np.divide(mean @ mean.T, lengths, out=np.full_like(lengths, np.nan), where=lengths > 0)
    sets = [set(most_active(row, top).tolist()) for row in mean]
    jaccard = np.array([[_jaccard(one, other) for other in sets] for one in sets])
    return Overlap(cosine, jaccard, top)


def most_active(values: NDArray[np.float64], top: int) -> NDArray[np.int64]:
    """Return the indices of the `top` largest values above 0, largest first; of equal ones the first come first."""
    order = np.argsort(-values, kind="stable")[:top]
    return order[values[order] > 0]


def _vinje_gallant(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    m = rows.shape[1]
    largest = rows.max(1, keepdims=True)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)  # tiny values must not underflow
    square = (scaled**2).mean(1)
    a = np.divide(scaled.mean(1) ** 2, square, out=np.full(len(rows), np.nan), where=square > 0)
    sparse: NDArray[np.float64] = (1 - a) / (1 - 1 / m)
    return sparse


def _jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other) if one | other else float("nan")
