"""The runs of an experiment on a Dask cluster; no disk needs to be shared, since results come back as values."""

import re
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from neurosleep import __version__
from neurosleep.experiments.job import Done, Failure, Job
from neurosleep.experiments.own_classes import classes_in
from neurosleep.experiments.perform import amount, log_path
from neurosleep.experiments.record import Record, RunId
from neurosleep.files import need
from neurosleep.pool import Lost, Progress
from neurosleep.sims.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 30.0
"""Seconds to wait for a scheduler, and for its first worker."""
_one_at_a_time = threading.Lock()  # torch's global random numbers are a process's, whatever threads it has


def on_cluster(jobs: Sequence[Job], scheduler: "str | Client", on_progress: Progress) -> Done:
    """Do jobs on a cluster; those of a worker that dies are done by another.

    Parameters
    ----------
    jobs
        What is to be done; its logs end up in each job's scratch folder, here.
    scheduler
        Its address, or a client, which is left open.
    on_progress
        Called when a job is done.

    Raises
    ------
    InputError
        If distributed is not installed, the scheduler cannot be reached or has no workers, or theirs is another version
        of neurosleep.
    """
    distributed = need("distributed", "dask")
    client: Any = _connected(distributed, scheduler) if isinstance(scheduler, str) else scheduler
    try:
        _check_workers(client, sorted({cls.__module__ for job in jobs for cls in classes_in(job.experiment)}))
        name = uuid4().hex
        futures = {
            client.submit(
                _remote, replace(job, scratch=None, out=None), key=f"neurosleep-{name}-{number}", pure=False
            ): number
            for number, job in enumerate(jobs)
        }
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                number = futures[future]
                try:
                    outcomes = future.result()
                except distributed.KilledWorker:
                    yield number, Lost()
                    continue
                for run, _, log in outcomes:
                    if log is not None and (scratch := jobs[number].scratch) is not None:
                        log_path(scratch, run).write_bytes(log)
                yield number, [(run, result) for run, result, _ in outcomes]
                on_progress(sum(amount(jobs[number].experiment, run.condition) for run in jobs[number].runs))
        finally:
            client.cancel(list(futures))
    finally:
        if client is not scheduler:
            client.close()


def check_address(address: str) -> None:
    """Raise `InputError` if this cannot be the address of a scheduler, or nothing here can talk to one."""
    found = re.fullmatch(
        r"(?:(?:tcp|tls|ws|wss|ucx)://)?(?:[\w.-]+|\[[0-9a-fA-F:.%\w]+\]):(\d{1,5})", address, re.ASCII
    )
    if not (found and 0 < int(found[1]) < 2**16) and not re.fullmatch(r"inproc://[\w./-]+", address, re.ASCII):
        raise InputError(f"{address!r} is no address of a scheduler; give it as tcp://host:8786")
    need("distributed", "dask")


def _connected(distributed: Any, address: str) -> "Client":
    try:
        client: Client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"no scheduler answers at {address!r} ({reason}); give its address as tcp://host:8786"
        ) from error
    return client


def _check_workers(client: "Client", modules: Sequence[str]) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise InputError(
            f"the scheduler has had no workers for {PATIENCE:g} s: start some, as dask worker ADDRESS"
        ) from error
    for worker, version in client.run(_version).items():
        if version != __version__:
            raise InputError(
                f"worker {worker} has neurosleep {version}, and this process {__version__}: install the same"
            )
    for worker, module in client.run(_missing, modules).items():
        if module:
            raise InputError(f"worker {worker} has no module {module}, of which the experiment has classes: install it")


def _version() -> str:
    return __version__


def _missing(modules: Sequence[str]) -> str:
    """Return the first module that cannot be found here; nothing if all can."""
    return next((module for module in modules if find_spec(module.partition(".")[0]) is None), "")


def _remote(job: Job) -> list[tuple[RunId, Record | Failure, bytes | None]]:
    """Do a job on a worker; return also what its logs hold."""
    with _one_at_a_time, tempfile.TemporaryDirectory() as scratch:
        done = replace(job, scratch=Path(scratch)).do(lambda amount: None)
        return [(run, result, _log_of(run, result, Path(scratch))) for run, result in done]


def _log_of(run: RunId, result: Record | Failure, scratch: Path) -> bytes | None:
    if isinstance(result, Failure) or not result["log"]:
        return None
    return log_path(scratch, run).read_bytes()
