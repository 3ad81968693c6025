"""The folder of a run: what is in it, written whole or not at all, and read back with clear errors.

``config.toml`` (name, parameters), ``runs/seed-N.json`` (one finished run each), ``runs/seed-N.parts/`` (finished parts
of one that is not), ``runs/seed-N.files/`` (further files of a run, such as traces), ``results.json`` (everything
together), figures, and ``spikes.h5`` of the first seed.
"""

import os
import platform
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import msgspec

from neurosleep import __version__
from neurosleep.files import processor, read_bytes, reading, write_json, write_text
from neurosleep.papers import config as configuration
from neurosleep.sims.errors import InputError

FORMAT: Literal[1] = 1
_LIBRARIES = ("torch", "numpy", "numba", "h5py")


class Results(msgspec.Struct, frozen=True):
    """What ``results.json`` holds.

    Attributes
    ----------
    format
        Version of this layout.
    experiment, parameters
        What was run.
    complete
        Whether all runs that were asked for are here.
    seeds
        Seeds of `runs`.
    failed
        Seed to error of the runs that failed.
    versions, machine
        Of the packages, and where `runs` were put together.
    summary
        Rows of the result table, with the same keys; None where there is no value.
    runs
        What `Experiment.run` returned, with its seed.
    """

    format: Literal[1]
    experiment: str
    complete: bool
    seeds: list[int]
    failed: dict[int, str]
    parameters: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, Any]
    summary: list[dict[str, str | int | float | None]]
    runs: list[dict[str, Any]]


class RunFolder:
    """Reads and writes one folder of results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spikes = path / "spikes.h5"
        self.results = path / "results.json"

    def open(self, name: str, config: Any) -> None:
        """Make the folder for an experiment, or go on in one that has the same experiment and configuration.

        Raises
        ------
        InputError
            If there is something else at this path, which stays as it is, or the folder cannot be made.
        """
        text = configuration.to_toml({"experiment": name, "parameters": asdict(config)})
        file = self.path / "config.toml"
        try:
            if file.exists():
                self._check_same(configuration.read(file), configuration.read_text(text))
            else:
                # Hidden files do not count: they are what a killed run leaves of a file it was about to write.
                if self.path.exists() and (not self.path.is_dir() or any(self.path.glob("[!.]*"))):
                    raise InputError(f"{self.path} exists and does not hold neurosleep results: give another --out")
                self.path.mkdir(parents=True, exist_ok=True)
                write_text(file, text)
            (self.path / "runs").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} cannot take results: {error}; give another --out") from error

    def _check_same(self, there: dict[str, Any], wanted: dict[str, Any]) -> None:
        old, new = there.get("parameters"), wanted["parameters"]
        if "experiment" not in there or not isinstance(old, dict):
            raise InputError(f"{self.path / 'config.toml'} is damaged: restore it from a copy, or give another --out")
        differing = {"experiment": (there["experiment"], wanted["experiment"])} | {
            key: (old.get(key), new.get(key)) for key in [*new, *(old.keys() - new.keys())]
        }
        told = ", ".join(f"{key} is {a!r} there and {b!r} here" for key, (a, b) in differing.items() if a != b)
        if told:
            raise InputError(f"{self.path} holds another run ({told}): give another --out, or delete that folder")

    def run_file(self, seed: int) -> Path:
        """Where the run of a seed is kept."""
        return self.path / "runs" / f"seed-{seed}.json"

    def files(self, seed: int) -> Path:
        """Where a run keeps further files."""
        return self.path / "runs" / f"seed-{seed}.files"

    def _error_file(self, seed: int) -> Path:
        return self.path / "runs" / f"seed-{seed}.error.txt"

    def finished(self, seed: int) -> bool:
        """Whether the run of a seed is there."""
        return self.run_file(seed).exists()

    def write_run(self, seed: int, run: dict[str, Any]) -> None:
        """Keep a finished run."""
        write_json(self.run_file(seed), {"seed": seed, **run})
        self._error_file(seed).unlink(missing_ok=True)
        shutil.rmtree(self._parts(seed), ignore_errors=True)

    def _parts(self, seed: int) -> Path:
        return self.path / "runs" / f"seed-{seed}.parts"

    def keep(self, seed: int, name: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a part of a run: from its file if it was done before, else do it and keep it.

        Raises
        ------
        InputError
            If the file is there, but cannot be read.
        """
        file = self._parts(seed) / f"{re.sub(r'[^A-Za-z0-9.+-]', '_', name)}.json"
        if file.exists():
            with reading(file):
                return msgspec.json.decode(read_bytes(file), type=dict[str, Any])
        part = do()
        file.parent.mkdir(exist_ok=True)
        write_json(file, part)
        return part

    def write_error(self, seed: int, story: str) -> None:
        """Keep the whole story of a failed run."""
        write_text(self._error_file(seed), story)

    def read_run(self, seed: int) -> dict[str, Any]:
        """Return a finished run.

        Raises
        ------
        InputError
            If its file cannot be read, or is that of another seed.
        """
        with reading(self.run_file(seed)):
            run: dict[str, Any] = msgspec.json.decode(read_bytes(self.run_file(seed)), type=dict[str, Any])
            if run["seed"] != seed:
                raise ValueError(f"expected seed {seed}, found {run['seed']!r}")
            return run

    def write_results(
        self,
        name: str,
        config: Any,
        seeds: Sequence[int],
        runs: list[dict[str, Any]],
        summary: list[dict[str, Any]],
        failed: dict[int, str],
    ) -> None:
        """Write ``results.json`` with the finished runs among those of the wanted seeds."""
        results = Results(
            format=FORMAT,
            experiment=name,
            complete=len(runs) == len(seeds),
            seeds=[run["seed"] for run in runs],
            failed=failed,
            parameters=asdict(config),
            versions={"neurosleep": __version__, **{library: metadata.version(library) for library in _LIBRARIES}},
            machine={
                "python": platform.python_version(),
                "system": platform.platform(),
                "processor": processor(),
                "cores": os.cpu_count(),
            },
            summary=summary,
            runs=runs,
        )
        write_json(self.results, results)

    def read_results(self) -> Results:
        """Read ``results.json``.

        Raises
        ------
        InputError
            If it is not there (and what is), or damaged.
        """
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder; give the --out folder of a run")
        if not self.results.exists():
            n = len(list(self.path.glob("runs/seed-*.json")))
            state = f"{n} finished runs: start the same command again to finish it" if n else "no finished run"
            raise InputError(f"{self.results} is missing; the folder holds {state}")
        with reading(self.results):
            return msgspec.json.decode(read_bytes(self.results), type=Results)
