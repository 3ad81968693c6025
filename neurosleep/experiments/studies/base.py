"""What a study is: parameters, one run a seed, and a table and figures of all runs together."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

OnProgress = Callable[[float], None]


class Study(ABC):
    """A frozen dataclass of parameters, whose defaults are the published values.

    Attributes
    ----------
    captions
        What each figure shows, by the name of its file without ``.png``.
    """

    captions: ClassVar[Mapping[str, str]]

    @abstractmethod
    def amount(self) -> float:
        """Return how much work one run is, in any unit."""

    @abstractmethod
    def check(self, data_dir: str | None = None) -> None:
        """Check that a run can start: the data is there, and the values fit together. Called once, before all runs.

        Raises
        ------
        InputError
            If not.
        """

    @abstractmethod
    def run(
        self,
        seed: int,
        *,
        device: str = "cpu",
        data_dir: str | None = None,
        log: Path | None = None,
        on_progress: OnProgress = lambda amount: None,
    ) -> dict[str, Any]:
        """Do one run, a pure function of the parameters and the seed.

        Parameters
        ----------
        seed
            Fixes every random number of the run.
        device
            Where torch trains, "cpu" or "cuda".
        data_dir
            Folder of data sets; `NEUROSLEEP_DATA` or the user's cache if None.
        log
            File for the run's spikes, or None.
        on_progress
            Called with the amount of work just done, in the units of `amount`.

        Returns
        -------
        Values for JSON; under ``seconds``, ``sleep`` the time that sleep took.
        """

    @abstractmethod
    def rows(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows of the result table over the records of all runs, each a flat dict with the same keys."""

    @abstractmethod
    def draw(self, records: Sequence[dict[str, Any]], folder: Path, log: Path | None = None) -> list[Path]:
        """Draw the figures into `folder`, from the records and the spikes of one run; return their files."""


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n - 1; nan for one value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
