"""How alike neurons fire at night, and whether that changes: pairwise correlations of spike counts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.interchange.source import Log, Spikes, open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.statistics import Effect, of_jackknife

Floats = NDArray[np.float64]
_LARGEST = 1 - 1e-6  # correlations of 1 have no Fisher z


@dataclass(frozen=True, eq=False)
class PairwiseCorrelation:
    """Correlations of the spike counts of all pairs of neurons of a population.

    Attributes
    ----------
    population
        Its name.
    neurons
        (n,) indices of the neurons that were compared.
    silent
        Of these, how many fired alike in every bin (most often never), so that their correlations are not defined.
    matrix
        (n, n) Pearson correlations; nan where not defined.
    bins, bin_seconds
        Number and length of the bins in which spikes were counted.
    mean
        Mean over pairs, with an interval: averaged as Fisher's z and turned back. The interval is that of a jackknife
        over neurons, since pairs that share a neuron are not independent.
    """

    population: str
    neurons: NDArray[np.int64]
    silent: int
    matrix: Floats
    bins: int
    bin_seconds: float
    mean: Effect

    @property
    def n_pairs(self) -> int:
        """Pairs whose correlation is defined."""
        n = len(self.neurons) - self.silent
        return n * (n - 1) // 2

    def table(self) -> list[dict[str, Any]]:
        """Return one row: the mean over pairs with its interval, and what it is of."""
        return [
            {
                "population": self.population,
                "neurons": len(self.neurons),
                "silent": self.silent,
                "pairs": self.n_pairs,
                "bins": self.bins,
                "bin": self.bin_seconds,
                "correlation": self.mean.value,
                "low": self.mean.low,
                "high": self.mean.high,
            }
        ]

    def __str__(self) -> str:
        return (
            f"{self.population}: mean correlation {self.mean} of {self.n_pairs} pairs "
            f"({self.silent} of {len(self.neurons)} neurons silent), {self.bins} bins of {1000 * self.bin_seconds:g} ms"
        )


@dataclass(frozen=True, eq=False)
class CorrelationChange:
    """Pairwise correlations of the same neurons at two times.

    Attributes
    ----------
    first, last
        Of each time.
    n_pairs
        Pairs whose correlation is defined at both times.
    change
        Mean over these pairs of last minus first, as Fisher's z, with the interval of a jackknife over neurons.
    """

    first: PairwiseCorrelation
    last: PairwiseCorrelation
    n_pairs: int
    change: Effect

    def table(self) -> list[dict[str, Any]]:
        """Return one row a time."""
        return [{"time": time, **of.table()[0]} for time, of in (("first", self.first), ("last", self.last))]

    def __str__(self) -> str:
        return (
            f"{self.first.population}: mean correlation {self.first.mean} first, {self.last.mean} last; "
            f"change of z {self.change} over {self.n_pairs} pairs"
        )


def pairwise_correlation(
    log: Log, population: str, *, neurons: ArrayLike | None = None, bin_steps: int = 50, night: int = -1
) -> PairwiseCorrelation:
    """Correlate the spike counts of every two neurons of a population over a night.

    Parameters
    ----------
    log, night
        As of `open_spikes`.
    population
        Whose neurons.
    neurons
        Their indices, at least two; None for all.
    bin_steps
        Steps in which spikes are counted together. What is left of the night, or of a window of it that was logged,
        after the last whole bin is left out.

    Raises
    ------
    InputError
        As `open_spikes`, and if there are no such neurons, or fewer than two bins were logged.

    References
    ----------
    Fisher 1921, Metron 1:3, for z. Arvesen 1969, Annals of Mathematical Statistics 40:2076, for the interval.
    """
    with open_spikes(log, [population], night=night) as asleep:
        return _correlated(asleep, neurons, bin_steps)


def correlation_change(
    log: Log,
    population: str,
    *,
    neurons: ArrayLike | None = None,
    bin_steps: int = 50,
    nights: int | tuple[int, int] = -1,
    share: float = 1 / 3,
) -> CorrelationChange:
    """Ask how pairwise correlations change, over one night or from one to another.

    Parameters
    ----------
    log, population, neurons, bin_steps
        As of `pairwise_correlation`.
    nights
        One night, of which the first and last parts are compared, or two nights.
    share
        How much of one night each part is, above 0 and at most 1/2.

    Raises
    ------
    InputError
        As `pairwise_correlation`.
    """
    if isinstance(nights, tuple):
        first, last = (
            pairwise_correlation(log, population, neurons=neurons, bin_steps=bin_steps, night=night) for night in nights
        )
    else:
        if not 0 < share <= 0.5:
            raise InputError(f"share must be above 0 and at most 0.5, got {share}")
        with open_spikes(log, [population], night=nights) as asleep:
            steps = int(share * (asleep.stop - asleep.start))
            first = _correlated(asleep.within(asleep.start, asleep.start + steps), neurons, bin_steps)
            last = _correlated(asleep.within(asleep.stop - steps, asleep.stop), neurons, bin_steps)
    difference = _fisher(last.matrix) - _fisher(first.matrix)
    known = ~np.isnan(difference)
    pairs = (int(known.sum()) - int(np.trace(known))) // 2
    return CorrelationChange(first, last, pairs, _over_pairs(difference))


def _correlated(asleep: Spikes, neurons: ArrayLike | None, bin_steps: int) -> PairwiseCorrelation:
    if bin_steps < 1:
        raise InputError(f"bin_steps must be at least 1, got {bin_steps}")
    (population,), bins = asleep.populations, asleep.whole_bins(bin_steps)
    chosen = _checked_neurons(neurons, asleep.size(population), population)
    if len(bins) < 2:
        raise InputError(
            f"correlations need at least two bins of {bin_steps} logged steps, got {len(bins)} of "
            f"{asleep.reader.path}; make bin_steps smaller"
        )
    matrix = _pearson((counts[:, chosen] for counts in asleep.binned(population, bins)), len(chosen))
    mean = _over_pairs(_fisher(matrix))
    back = Effect(*(float(np.tanh(z)) for z in (mean.value, mean.low, mean.high)))
    silent = int(np.isnan(np.diag(matrix)).sum())
    return PairwiseCorrelation(population, chosen, silent, matrix, len(bins), bin_steps * asleep.dt, back)


def _pearson(counts: Iterable[NDArray[np.int64]], n: int) -> Floats:
    """Correlate the n columns of counts that come in pieces; nan for columns without spread."""
    rows, total, products = 0, np.zeros(n), np.zeros((n, n))
    for piece in counts:
        x = piece.astype(np.float64)  # whole numbers: sums and products are exact
        rows += len(x)
        total += x.sum(0)
        products += x.T @ x
    covariance = rows * products - np.outer(total, total)
    spread = np.sqrt(np.diag(covariance))
    scale = np.outer(spread, spread)
    matrix = np.divide(covariance, scale, out=np.full((n, n), np.nan), where=scale > 0)
    clipped: Floats = np.clip(matrix, -1.0, 1.0)
    return clipped


def _fisher(correlations: Floats) -> Floats:
    """Return Fisher's z; correlations of 1 and -1 count as one millionth less."""
    z: Floats = np.arctanh(np.clip(correlations, -_LARGEST, _LARGEST))
    return z


def _over_pairs(z: Floats) -> Effect:
    """Return the mean of a symmetric matrix beside its diagonal, nan left out, with a jackknife over its rows."""
    z = z.copy()
    np.fill_diagonal(z, np.nan)
    known = ~np.isnan(z)
    used = known.any(1)
    sums, pairs = np.nansum(z, axis=1)[used], known.sum(1)[used]
    total, n_pairs = sums.sum() / 2, pairs.sum() // 2
    if not n_pairs:
        return Effect(np.nan, np.nan, np.nan)
    left = n_pairs - pairs
    without = np.divide(total - sums, left, out=np.full(len(left), np.nan), where=left > 0)
    return of_jackknife(float(total / n_pairs), without)


def _checked_neurons(neurons: ArrayLike | None, size: int, population: str) -> NDArray[np.int64]:
    index = np.arange(size) if neurons is None else np.asarray(neurons)
    whole = index.ndim == 1 and np.issubdtype(index.dtype, np.integer)
    if not whole or len(np.unique(index)) < max(2, index.size) or index.min() < 0 or index.max() >= size:
        raise InputError(f"neurons of {population} must be at least two different indices from 0 to {size - 1}")
    return index.astype(np.int64)
