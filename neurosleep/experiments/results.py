"""`Results`: what an experiment found, from its folder; whole, half-finished or damaged."""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from neurosleep.experiments.comparison import Comparison, Comparisons, Correction, compare
from neurosleep.experiments.dataset import make_dataset
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.loading import AnyExperiment
from neurosleep.experiments.notices import told
from neurosleep.experiments.record import Record, RunId
from neurosleep.experiments.study import StudyExperiment
from neurosleep.files import write_text
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.sims.whole_hdf5 import whole_hdf5
from neurosleep.statistics import Alternative, Test, of_mean


@dataclass(frozen=True, eq=False)
class Results:
    """What an experiment found.

    Attributes
    ----------
    folder
        Where it is.
    experiment
        What was asked.
    records
        Of every finished run.
    missing, failed, damaged
        Runs that are not there, and those that failed or cannot be read, with why.
    dataset
        All of it as an ``xarray.Dataset``; see `neurosleep.experiments.dataset.make_dataset`. None of a study, which
        has no conditions to compare.
    """

    folder: Path
    experiment: AnyExperiment
    records: Mapping[RunId, Record]
    missing: tuple[RunId, ...]
    failed: Mapping[RunId, str]
    damaged: Mapping[RunId, str]
    dataset: Any = field(repr=False)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "Results":
        """Read the folder of an experiment, in whatever state it is.

        Raises
        ------
        InputError
            If it is no such folder, or its ``experiment.toml`` is damaged.
        """
        files = ExperimentFolder(folder)
        experiment = files.read_experiment()
        records: dict[RunId, Record] = {}
        told: dict[str, dict[RunId, str]] = {"missing": {}, "failed": {}, "damaged": {}}
        for run, (state, why) in files.state(experiment).items():
            if state == "finished":
                records[run] = files.read_run(run)
            else:
                told[state][run] = why
        lacking = {
            "missing": [list(run) for run in told["missing"]],
            **{key: [[*run, why] for run, why in told[key].items()] for key in ("failed", "damaged")},
        }
        dataset = None if isinstance(experiment, StudyExperiment) else make_dataset(experiment, records, lacking)
        return cls(Path(folder), experiment, records, tuple(told["missing"]), told["failed"], told["damaged"], dataset)

    def compare(
        self,
        metric: str,
        first: str | Sequence[str],
        second: str,
        *,
        at: Mapping[str, Any] | None = None,
        test: Test = "t",
        confidence: float = 0.95,
        correction: Correction = "max-t",
        alternative: Alternative = "two-sided",
    ) -> Comparison | Comparisons:
        """Compare conditions over the seeds that both have; runs of one seed are always paired.

        Runs of one seed have the same order of tasks, initial weights and order of inputs, so that their difference is
        that of their conditions.

        Parameters
        ----------
        metric
            A variable of `dataset`, such as "accuracy", "old_accuracy", "forgetting" or "rate".
        first, second
            Names of conditions; of several `first`, each is compared with `second`, and p corrected for their number.
        at
            Where, if the variable is over more than condition and seed: ``{"time": "S2", "task": 0}``.
        test
            "t" (paired, with its interval), "wilcoxon" (signed-rank), or "permutation" (of signs; exact up to 16
            seeds); the last two with a bootstrap interval of the mean (Efron 1987, BCa), which is too narrow for few
            seeds.
        confidence
            Of the interval.
        correction
            "max-t" or "bonferroni", for p and intervals; "holm" (Holm 1979), for p alone, without intervals; or "none".
            See `neurosleep.families.together`.
        alternative
            What is tested for: that the difference is other than 0 ("two-sided"), "greater" or "less".

        Raises
        ------
        InputError
            For a name that is not known, with the nearest that is.
        """
        rows = compare(
            self.dataset,
            metric,
            first,
            second,
            at=at,
            test=test,
            confidence=confidence,
            correction=correction,
            alternative=alternative,
        )
        return rows.rows[0] if isinstance(first, str) else rows

    def compare_all(self, metric: str, baseline: str | None = None, **options: Any) -> Comparisons:
        """Compare every condition with one, the first if None; `options` are those of `compare`."""
        names = list(self.experiment.conditions)
        baseline = names[0] if baseline is None else baseline
        return compare(self.dataset, metric, [name for name in names if name != baseline], baseline, **options)

    def summary(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for each condition: accuracies in %, over its finished seeds.

        "low" and "high" are the 95 % confidence interval of the mean accuracy (Student).
        """
        import pandas  # slow

        rows = []
        for name in self.experiment.conditions:
            own = self.dataset.sel(condition=name)
            percent = 100 * own.accuracy.values[np.isfinite(own.accuracy.values)]
            mean = of_mean(percent)
            sd = float(percent.std(ddof=1)) if len(percent) > 1 else np.nan
            others = {
                title: 100 * float(own[metric].mean())
                for title, metric in (
                    ("first task %", "first_task_accuracy"),
                    ("old tasks %", "old_accuracy"),
                    ("last task %", "new_accuracy"),
                    ("forgetting %", "forgetting"),
                )
            }
            rows.append(
                {"condition": name, "seeds": len(percent), "accuracy %": mean.value, "s.d.": sd}
                | {"low": mean.low, "high": mean.high, **others}
            )
        return pandas.DataFrame(rows).set_index("condition")

    def table(self) -> Any:
        """Return all values as one tidy ``pandas.DataFrame``, a row each.

        Columns: metric, condition, seed, the labels where a metric has them (time, task, stage, population, layer; else
        empty), value, units.
        """
        import pandas  # slow

        if isinstance(self.experiment, StudyExperiment):
            return pandas.DataFrame(self.rows() if self.records else [])
        frames = []
        for name, array in self.dataset.data_vars.items():
            if array.dtype.kind == "f" and array.size:
                frame = array.to_series().dropna().rename("value").reset_index()
                frames.append(frame.assign(metric=name, units=array.attrs["units"]))
        columns = ["metric", "condition", "seed", "time", "task", "stage", "population", "layer", "value", "units"]
        frames = [frame for frame in frames if len(frame)]
        if not frames:
            return pandas.DataFrame(columns=columns)
        return pandas.concat(frames, ignore_index=True).reindex(columns=columns).astype({"task": "Int64"})

    def save(self) -> list[Path]:
        """Write ``results.nc`` (NetCDF 4) and ``results.csv`` into the folder, each whole or not at all."""
        import h5netcdf  # slow
        from xarray.backends import H5NetCDFStore  # slow

        if isinstance(self.experiment, StudyExperiment):
            csv = self.folder / "results.csv"
            write_text(csv, self.table().to_csv(index=False))
            return [csv]
        nc, csv = self.folder / "results.nc", self.folder / "results.csv"
        with whole_hdf5(nc) as new, h5netcdf.File(new, "w") as file:
            self.dataset.dump_to_store(H5NetCDFStore(file))
        write_text(csv, self.table().to_csv(index=False))
        return [nc, csv]

    def spikes(self, condition: str, seed: int | None = None) -> SpikeReader:
        """Open the spikes of a run; of the first seed that has any, if `seed` is None.

        Raises
        ------
        InputError
            If they were not kept.
        """
        if condition not in self.experiment.conditions:
            raise InputError(unknown("condition", condition, list(self.experiment.conditions)))
        logged = [run for run, record in self.records.items() if record["log"]]
        found = [run for run in logged if run.condition == condition and seed in (None, run.seed)]
        if not found:
            kept = "; ".join(map(str, logged)) or "none: give the experiment logs='first' or 'all'"
            wanted = f"condition {condition!r}" + ("" if seed is None else f", seed {seed}")
            raise InputError(f"no spikes of {wanted} were kept; spikes there are of {kept}")
        return SpikeReader(ExperimentFolder(self.folder).spikes(found[0]))

    def spikes_file(self, run: RunId) -> Path:
        """Return where the spikes of a run are kept."""
        return ExperimentFolder(self.folder).spikes(run)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the table of results, each a dict with the same keys."""
        if isinstance(self.experiment, StudyExperiment):
            return self.experiment.study.rows(list(self.records.values()))
        return [{"condition": name, **row} for name, row in self.summary().to_dict("index").items()]

    def answer(self) -> list[str]:
        """Return in words how each condition differs from the first; nothing for a study, which compares none."""
        if isinstance(self.experiment, StudyExperiment) or len(self.experiment.conditions) < 2:
            return []
        return [str(self.compare_all("accuracy"))]

    @property
    def notices(self) -> list[str]:
        """What is noteworthy about the runs before their numbers are believed, in sentences; see `notices.notices`."""
        return told(self.records)

    @property
    def sleep_seconds(self) -> float:
        """Time that sleep took in a run, the median of those that slept; 0 if none did."""
        slept = [record["seconds"]["sleep"] for record in self.records.values() if record["seconds"]["sleep"]]
        return float(statistics.median(slept)) if slept else 0.0

    @property
    def complete(self) -> bool:
        """Whether all runs are finished."""
        return len(self.records) == len(self.experiment.runs)

    def _told(self) -> list[str]:
        """Say what is there and what is not."""
        lines = [f"{len(self.records)} of {len(self.experiment.runs)} runs finished"]
        for what in ("failed", "damaged"):
            if runs := getattr(self, what):
                run, why = next(iter(runs.items()))
                lines.append(f"{len(runs)} {what}, the first: {run} ({why})")
        if self.missing:
            lines.append(f"{len(self.missing)} missing, the first: {self.missing[0]}")
        return lines

    def __repr__(self) -> str:
        """Say what was asked, what is there, and how the conditions did."""
        lines = [self.experiment.question, *self._told()]
        if isinstance(self.experiment, StudyExperiment):
            return "\n".join(lines)
        for name, row in self.summary().iterrows():
            seeds = int(row["seeds"])
            spread = f"s.d. {row['s.d.']:.1f}, " if seeds > 1 else ""
            shown = f"{row['accuracy %']:.1f} % ({spread}{seeds} seed{'' if seeds == 1 else 's'})"
            lines.append(f"  {name}: {shown if seeds else 'no finished run'}")
        return "\n".join([*lines, *(f"note: {notice}" for notice in self.notices)])

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        lines = "".join(f"<br>{escape(line)}" for line in self._told())
        notes = "".join(f"<p>note: {escape(notice)}</p>" for notice in self.notices)
        table = "" if self.dataset is None else self.summary().round(1).to_html(na_rep="-")
        return f"<p><b>{escape(self.experiment.question)}</b>{lines}</p>{table}{notes}"
