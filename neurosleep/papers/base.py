"""What an experiment is: a checked configuration, one run per seed, and figures of all runs together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neurosleep.analysis.weights import weight_histograms as weight_histograms

Progress = Callable[[float], None]


@dataclass(frozen=True)
class RunContext:
    """Where one run happens.

    Attributes
    ----------
    seed
        Fixes every random number of the run.
    device
        Where torch trains, "cpu" or "cuda".
    data_dir
        Folder of data sets, or None for `NEUROSLEEP_DATA` and the user's cache.
    spikes
        File for the run's spikes, or None.
    on_progress
        Called with the amount of work just done, in the units of `Experiment.amount`.
    keep
        Given the name of a part of the run and a function that does it, returns what the function returns (values for
        JSON), and remembers it: a run that was stopped does not do that part again.
    files
        Folder for further files of this run, which the run makes if it has any; None where nothing is kept.
    """

    seed: int
    device: str
    data_dir: str | None
    spikes: Path | None
    on_progress: Progress
    keep: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]] = lambda name, do: do()
    files: Path | None = None


class Experiment(Protocol):
    """A simulation of a paper as one command: `neurosleep run NAME`."""

    name: str
    summary: str
    config_type: type
    seeds: int
    presets: Mapping[str, Mapping[str, Any]]

    def amount(self, config: Any) -> float:
        """Return how much work one run is; any unit."""
        ...

    def prepare(self, config: Any, data_dir: str | None) -> None:
        """Check that a run can start: data at hand, values that fit together. Called once, before all runs."""
        ...

    def run(self, config: Any, context: RunContext) -> dict[str, Any]:
        """Do one run: a pure function of configuration and seed. Returns what goes into ``results.json``."""
        ...

    def summarize(self, config: Any, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows of the result table, each a flat dict with the same keys."""
        ...

    def draw(self, config: Any, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw the figures into `folder`, from the runs and ``spikes.h5`` where it is there."""
        ...


def mean_and_sd(values: list[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n - 1; nan for one value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
