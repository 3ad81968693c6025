"""Percentiles of values that arrive in batches, exactly, without keeping them all."""

import math

import numpy as np

from ..sims.errors import InputError
from ..sims.operators import Floats


class LargestValues:
    """The exact percentile of values that arrive in batches, by keeping those that are at least as large.

    Memory is that share of all values: a thousandth for the percentile 99.9.

    Parameters
    ----------
    count
        How many values will come, in each row, at most.
    percentile
        From 0 to 100; between two values it is interpolated, as by `numpy.percentile`.
    """

    def __init__(self, count: int, percentile: float) -> None:
        self.count, self.share, self.seen = count, percentile / 100, 0
        self.kept = count - math.floor(self.share * (count - 1))
        self.values: Floats | None = None

    def add(self, values: Floats) -> None:
        """Take (rows, n) values.

        Raises
        ------
        InputError
            If more come than were announced.
        """
        self.seen += values.shape[1]
        if self.seen > self.count:
            raise InputError(
                f"more inputs came than there are said to be ({self.seen} values of at most {self.count}); does the "
                "loader give more of them in another pass?"
            )
        seen = values if self.values is None else np.concatenate([self.values, values], axis=1)
        if seen.shape[1] > self.kept:
            seen = np.partition(seen, seen.shape[1] - self.kept, axis=1)[:, -self.kept :]
        self.values = seen.copy()

    def result(self) -> Floats:
        """Return the percentile of each row, (rows,)."""
        if self.values is None:
            raise InputError("no values have come of which to take a percentile")
        position = self.share * (self.seen - 1)
        kept = self.seen - math.floor(position)  # never more than of all that were announced
        lowest = np.sort(self.values, axis=1)[:, -kept:][:, :2].astype(np.float64)
        low, high = lowest[:, 0], lowest[:, -1]
        return np.asarray(low + (high - low) * (position - math.floor(position)))
