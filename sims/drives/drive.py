"""What makes neurons fire during sleep: the two kinds of drives.

A drive of *steady rates* turns what is remembered of the input into an `InputSchedule`: plain arrays from which any
backend draws the same input spikes. A drive of *one's own* says for each step how likely an event is; the package
draws the events (`spans.py`). Firing is Bernoulli in each step, the released code's form of a Poisson process.
"""

from inspect import signature
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .schedule import InputSchedule


class Factors(NamedTuple):
    """A probability that is a product: of what each step has, and of what each neuron has.

    Attributes
    ----------
    by_step
        (len(steps),), such as an envelope.
    by_neuron
        (n,), such as rates; or (len(steps), n).
    """

    by_step: NDArray[np.float64]
    by_neuron: NDArray[np.float64]


class SteadyDrive(Protocol):
    """A drive that can say all of a night at once."""

    def schedule(self, n_inputs: int, dt: float, mean_input: NDArray[np.float64] | None) -> InputSchedule | None:
        """Return the schedule for `n_inputs` neurons, steps of `dt` seconds and a mean input (n_inputs,).

        None says that only `probability` can tell.
        """
        ...


class OwnDrive(Protocol):
    """A drive that says how likely an event is in each step: the protocol of a drive of one's own."""

    def probability(
        self, steps: NDArray[np.int64], n: int, dt: float, mean_input: NDArray[np.float64] | None
    ) -> ArrayLike | Factors:
        """Return the probability of an event in each of these steps, from 0 to 1.

        It must be a function of its arguments alone. It is asked for blocks of 256 steps, always the same ones, of
        which the last may reach beyond the night. A method with a fifth parameter, named `random`, gets the random
        numbers of the night there, a `neurosleep.sims.random.NightNumbers`.

        Parameters
        ----------
        steps
            Steps since the night began, ascending.
        n
            Neurons of the population.
        dt
            Seconds a step.
        mean_input
            (n,) mean input, for the input population of a night that has one; else None.

        Returns
        -------
        What broadcasts to (len(steps), n), or `Factors`. The smaller, the faster: (n,) if it is the same in all steps,
        (len(steps), 1) if it is the same for all neurons.
        """
        ...


Drive = SteadyDrive | OwnDrive


def check_drive(drive: Any, what: str = "drive") -> None:
    """Raise `InputError` if this is no drive."""
    own = getattr(drive, "probability", None)
    if isinstance(drive, type) or not (callable(own) or callable(getattr(drive, "schedule", None))):
        raise InputError(
            f"{what} must be a drive, such as MeanRate(200.0), or an object with a method probability(steps, n, dt, "
            f"mean_input), got {drive!r}"
        )
    if own is not None:
        try:
            taken = signature(own)
            taken.bind(0, 0, 0, 0, **({"random": 0} if "random" in taken.parameters else {}))
        except (TypeError, ValueError):
            raise InputError(
                f"{what}: {type(drive).__name__}.probability must take (steps, n, dt, mean_input), and random if it "
                f"needs random numbers; it takes {signature(own)}"
            ) from None
