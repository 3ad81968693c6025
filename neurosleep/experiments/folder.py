"""The folder of an experiment: what is in it, written whole or not at all, and read back with clear errors.

``experiment.toml``, ``runs/CONDITION/condition.toml``, ``seed-N.json`` (a finished run), ``seed-N.h5`` (its spikes),
``seed-N.error.txt`` (the story of a failed one), ``seed-N.unfinished/`` (what one that is under way goes on from),
``seed-N.pt`` (its network, if it is kept), ``first-tasks/`` (what runs to come have in common), and what is made from
these: ``results.nc``, ``results.csv``,
``report.html``, ``figures/``.
"""

import os
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
import tomli_w

from neurosleep.experiments.description import to_plain
from neurosleep.experiments.loading import AnyExperiment, load
from neurosleep.experiments.record import Record, RunId
from neurosleep.experiments.record_schema import check_record
from neurosleep.files import write_json, write_text
from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock
from neurosleep.sims.places import to_read, to_write
from neurosleep.sims.whole import sweep, whole

CONDITION = "condition.toml"
FILES = ("experiment.toml", ".lock", "results.nc", "results.csv", "report.html")
State = Literal["finished", "failed", "damaged", "missing"]


class ExperimentFolder:
    """Reads and writes one folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.toml = self.path / "experiment.toml"

    def open(self, experiment: AnyExperiment) -> None:
        """Make the folder for an experiment, or go on in one that holds the same.

        Seeds and conditions may be added to an experiment, or left out: that is still the same one.

        Raises
        ------
        InputError
            If there is something else at this path, which stays as it is, or the folder cannot be made.
        """
        try:
            self._check_places(links=False)
            if self.toml.exists():
                _check_same(self.path, self.read_experiment(), experiment)
            elif (self.path / "config.toml").exists():
                raise InputError(
                    f"{self.path} holds a run of an earlier version, which stays as it is: "
                    "give another folder with --out, and it is run again there"
                )
            # Hidden files do not count: they are what a killed process leaves of a file it was about to write.
            elif self.path.exists() and (not self.path.is_dir() or any(self.path.glob("[!.]*"))):
                raise InputError(f"{self.path} exists and does not hold an experiment: give another folder")
            described = {name: to_plain(condition) for name, condition in experiment.conditions.items()}
            for name, table in described.items():
                self._check_runs(name, table)
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.toml.exists() or self.toml.read_text(encoding="utf-8") != experiment.to_toml():
                write_text(self.toml, experiment.to_toml())
            for name, table in described.items():
                self._of(name).mkdir(parents=True, exist_ok=True)
                write_text(self._of(name) / CONDITION, tomli_w.dumps(table))
        except OSError as error:
            raise InputError(f"{self.path} cannot take an experiment: {error}; give another folder") from error

    def _check_places(self, *, links: bool) -> None:
        """Raise `InputError` if there is something else than a file where one is read, or a link where one is written.

        Folders may be links.
        """
        found = [self.path / name for name in FILES]
        for folder in ("runs", "figures", "first-tasks"):
            found += (self.path / folder).rglob("*")
        for path in found:
            if not path.is_dir():
                (to_read if links else to_write)(path)

    def _check_runs(self, name: str, table: dict[str, Any]) -> None:
        """Raise if there are runs of a condition of this name that was another, and was left out since."""
        there = self._of(name) / CONDITION
        if there.exists() and _read(there) != table and any(there.parent.glob("seed-*")):
            raise InputError(
                f"{there.parent} holds runs of another condition {name!r}, see {CONDITION} there: "
                "give this one another name, or the experiment another folder"
            )

    def read_experiment(self) -> AnyExperiment:
        """Return the experiment whose folder this is.

        Raises
        ------
        InputError
            If this is no such folder, or its file is damaged.
        """
        if not to_read(self.path).is_dir():
            raise InputError(f"{self.path} is not a folder; give the folder of an experiment")
        self._check_places(links=True)
        if not self.toml.exists() and (self.path / "config.toml").exists():
            raise InputError(
                f"{self.path} holds a run of an earlier version: run it again into another folder (neurosleep run NAME)"
            )
        if not self.toml.exists():
            raise InputError(f"{self.path} does not hold an experiment: there is no experiment.toml in it")
        if not self.toml.is_file():
            raise InputError(f"{self.toml} cannot be read: it is not a file")
        return load(self.toml)

    def _of(self, condition: str) -> Path:
        name = quote(condition, safe="+").replace("~", "%7E")
        return self.path / "runs" / (name if name.strip(".") else name.replace(".", "%2E"))

    def run_file(self, run: RunId) -> Path:
        """Where a finished run is kept."""
        return self._of(run.condition) / f"seed-{run.seed}.json"

    def spikes(self, run: RunId) -> Path:
        """Where the spikes of a run are kept."""
        return self.run_file(run).with_suffix(".h5")

    def unfinished(self, run: RunId) -> Path:
        """Folder for what a run goes on from after it was stopped."""
        return self.run_file(run).with_suffix(".unfinished")

    @property
    def first_tasks(self) -> Path:
        """Folder for what was trained of first tasks that runs share."""
        return self.path / "first-tasks"

    def _error_file(self, run: RunId) -> Path:
        return self.run_file(run).with_suffix(".error.txt")

    def write_run(self, run: RunId, record: Record, log: Path | None = None) -> None:
        """Keep a finished run, and its spikes and network, which are moved here first; its unfinished files go."""
        network = self.unfinished(run) / "network.pt"
        if network.exists():
            network.replace(self.run_file(run).with_suffix(".pt"))
        if log is not None:
            with whole(self.spikes(run)) as half:
                shutil.move(log, half)  # from another disk, perhaps: then it is a copy, which takes time
        write_json(self.run_file(run), record)
        self._error_file(run).unlink(missing_ok=True)
        shutil.rmtree(self.unfinished(run), ignore_errors=True)

    def write_error(self, run: RunId, story: str) -> None:
        """Keep the whole story of a failed run."""
        write_text(self._error_file(run), story)

    def read_run(self, run: RunId) -> Record:
        """Return a finished run.

        Raises
        ------
        InputError
            If its file cannot be read, or holds something else.
        """
        file = self.run_file(run)
        if not file.is_file():
            raise InputError(f"{file} cannot be read (it is not a file)")
        try:
            record = msgspec.json.decode(file.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError) as error:
            raise InputError(f"{file} cannot be read ({error})") from error
        try:
            check_record(record)
        except InputError as error:
            raise InputError(f"{file} is damaged: {error}") from error
        there = RunId(record["condition"], record["seed"])
        if there != run:
            raise InputError(f"{file} is damaged: it holds {there}")
        if record["log"] and not self.spikes(run).exists():
            raise InputError(f"{self.spikes(run)} is missing, the spikes of a finished run")
        return record

    def check_data(self, runs: Iterable[RunId], data: str) -> None:
        """Raise `InputError` if finished runs are of other data than this digest is of."""
        for run in runs:
            if (own := self.read_run(run).get("data", data)) != data:
                raise InputError(
                    f"{self.run_file(run)} is of other data (digest {own}) than the data set now has ({data}): "
                    "give another folder, or put the old data back"
                )

    def check_code(self, runs: Iterable[RunId], code: Mapping[str, str]) -> None:
        """Raise `InputError` if the user's classes had other code in finished runs than these digests are of."""
        for run in runs:
            if self.read_run(run).get("code", "") != code[run.condition]:
                raise InputError(
                    f"{self.run_file(run)} was done with other code of your classes than your modules now have: give "
                    "another folder, or put the old code back"
                )

    def state(self, experiment: AnyExperiment) -> dict[RunId, tuple[State, str]]:
        """Return what there is of each run of an experiment, and why it is not finished."""
        return {run: self._state(run) for run in experiment.runs}

    def _state(self, run: RunId) -> tuple[State, str]:
        if self.run_file(run).exists():
            try:
                self.read_run(run)
            except InputError as error:
                return "damaged", str(error)
            return "finished", ""
        if self._error_file(run).is_file():
            story = self._error_file(run).read_text(encoding="utf-8", errors="replace").strip()
            return "failed", story.splitlines()[-1] if story else "no story was kept"
        return "missing", ""

    def set_aside(self, run: RunId) -> Path:
        """Give a damaged run's file another name, so that the run can be done again; return that name."""
        aside = self.run_file(run).with_suffix(".damaged")
        self.run_file(run).replace(aside)
        return aside

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else from running an experiment in this folder, which is made; freed when this process ends.

        Raises
        ------
        InputError
            If somebody else runs one already, or the folder cannot be made.
        """
        refusal = f"{self.path} is being worked on by another process: wait until it ends"
        new = not self.path.exists()
        if not new and not self.path.is_dir():
            raise InputError(f"{self.path} exists and does not hold an experiment: give another folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = Lock(self.path / ".lock", refusal)
        except OSError as error:
            raise InputError(f"{self.path} cannot take an experiment: {error}; give another folder") from error
        try:
            yield
        finally:
            lock.close()
            if new:
                with suppress(OSError):  # unless there is something in it by now
                    self.path.rmdir()

    def tidy(self, finished: Iterable[RunId]) -> None:
        """Remove what killed processes left half written, and what these runs need no more."""
        for run in finished:
            self._error_file(run).unlink(missing_ok=True)
            shutil.rmtree(self.unfinished(run), ignore_errors=True)
        for folder, _, _ in os.walk(self.path):
            sweep(Path(folder))


def _read(file: Path) -> dict[str, Any] | None:
    """Return a table that was written, None if it is damaged."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None


def _check_same(path: Path, there: AnyExperiment, asked: AnyExperiment) -> None:
    """Raise if runs of the experiment that is there are not those of the one that is asked for."""
    if type(there) is not type(asked):
        raise InputError(f"{path} holds another experiment, {there.question!r}: give another folder")
    differing = [
        f"{field.name} is {old!r} there and {new!r} here"
        for field in fields(there)
        if field.name not in ("conditions", "seeds", "notes", "source", "cost")
        and _plain(old := getattr(there, field.name)) != _plain(new := getattr(asked, field.name))
    ]
    differing += [
        f"condition {name!r} is {old!r} there and {asked.conditions[name]!r} here"
        for name, old in there.conditions.items()
        if name in asked.conditions and to_plain(old) != to_plain(asked.conditions[name])
    ]
    first, then = there.runs[0].seed, asked.runs[0].seed
    if asked.logs == there.logs == "first" and first != then:
        differing.append(f"the first seed, whose spikes are kept, is {first} there and {then} here")
    if differing:
        raise InputError(f"{path} holds another experiment ({'; '.join(differing)}): give another folder")


def _plain(value: object) -> object:
    return None if value is None else to_plain(value)
