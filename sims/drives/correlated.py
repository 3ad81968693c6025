"""`CorrelatedNoise`: noise whose events come together in patches of an image."""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fields import check_ranges, settle
from ..random import COPY, RHYTHM_STREAMS, UNSEEDED, NightNumbers, random_table
from .sum import Summable

_NOISE = RHYTHM_STREAMS + 3 * 2**16
_SCALE = 4096
"""What values and kernels are multiplied by and rounded: sums of whole numbers below 2**53 have no order."""


@dataclass(frozen=True)
class CorrelatedNoise(Summable):
    """Spatially correlated noise: all pixels have one rate, and near ones tend to have their events together.

    A dichotomised Gaussian (Macke, Berens, Ecker, Tolias & Bethge 2009, Neural Comput. 21:397). In each step a fresh
    Gaussian field z of mean 0, variance 1 and covariance ``exp(-d**2 / (2 length**2))`` of pixels d apart is drawn, and
    a pixel has an event where ``z > Phi^-1(1 - rate dt)``. So the rate is exact, pairs of events are as frequent as
    the bivariate normal distribution says, and steps are independent. A field of 28 x 28 pixels takes some
    70 us to draw.

    Parameters
    ----------
    rate
        Events of a pixel a second, in Hz; ``rate * dt`` must be below 1.
    length
        Covariance length in pixels, from 1 to 64; for independent pixels there is `UniformNoise`.
    image_shape
        Height and width of the image whose pixels, row by row, are the neurons.
    rhythm
        Number from 0 to 65535. Drives of one number and shape draw the same field in one night.
    """

    rate: float
    length: float = 3.0
    image_shape: tuple[int, int] = (28, 28)
    rhythm: int = 0

    def __post_init__(self) -> None:
        settle(self)
        check_ranges(self, rate="(0, inf)", length="[1, 64]", image_shape="[1, inf)", rhythm="[0, 65535]")

    def probability(
        self,
        steps: NDArray[np.int64],
        n: int,
        dt: float,
        mean_input: NDArray[np.float64] | None,
        random: NightNumbers = UNSEEDED,
    ) -> NDArray[np.float64]:
        """Return 1 where the field is above its threshold, else 0; `mean_input` is not used."""
        height, width = self.image_shape
        if height * width != n:
            raise InputError(
                f"image_shape {self.image_shape} has {height * width} pixels, but the population has {n} neurons"
            )
        if not self.rate * dt < 1:
            raise InputError(f"rate must be below {1 / dt:g} Hz with steps of {dt:g} s, got {self.rate:g}")
        taps = _taps(self.length)
        high, wide = height + len(taps) - 1, width + len(taps) - 1
        words = random_table(random.seed, _NOISE + self.rhythm, steps + random.copy * COPY, (high * wide + 1) // 2)
        values = _quantiles()[words.astype("<u4", copy=False).view("<u2")[:, : high * wide]].reshape(
            len(steps), high, wide
        )
        field = _band(taps, height) @ values @ _band(taps, width).T
        deviation = float((taps**2).sum()) * float(np.sqrt((_quantiles() ** 2).mean()))
        above = field > NormalDist(sigma=deviation).inv_cdf(1 - self.rate * dt)
        return np.asarray(above.reshape(len(steps), n), dtype=np.float64)


def _taps(length: float) -> NDArray[np.float64]:
    """Return a kernel that makes of white noise a field of this covariance length, in whole numbers."""
    reach = int(np.ceil(3 * length))
    return np.asarray(np.rint(_SCALE * np.exp(-((np.arange(-reach, reach + 1) / length) ** 2))))


def _band(taps: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the matrix that lays a kernel on each of `size` places, (size, size + taps - 1)."""
    band = np.zeros((size, size + len(taps) - 1))
    for k in range(size):
        band[k, k : k + len(taps)] = taps
    return band


@cache
def _quantiles() -> NDArray[np.float64]:
    """Return the values of a normal variable at the middle of 2**16 shares, in whole numbers."""
    return np.rint([_SCALE * NormalDist().inv_cdf((k + 0.5) / 2**16) for k in range(2**16)])
