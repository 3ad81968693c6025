"""The files of a night, log and checkpoint: opened so that it can go on, and only if they are its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurosleep.sims.checkpoint import Resumable, digest
from neurosleep.sims.ensemble import Member
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.resume import Expected
from neurosleep.spontaneous_replay import SpontaneousReplay

LogPath = str | os.PathLike[str]


@contextmanager
def saved_night(
    member: Member, steps: int, checkpoint: str | os.PathLike[str] | None, log: SpikeLog | LogPath | None
) -> Iterator[Resumable | None]:
    """Give a night as it is saved, if it is to be saved; nothing is made yet.

    Raises
    ------
    InputError
        If the night cannot be saved there, what is there is of another night, or somebody else simulates it.
    """
    if checkpoint is None:
        yield None
        return
    if isinstance(log, SpikeLog):
        raise InputError("a night with a checkpoint needs its log as a path, so that both can go on from one step")
    if log is not None and os.path.realpath(log) == os.path.realpath(checkpoint):
        raise InputError(f"log and checkpoint are both {log}: give each a path of its own")
    with Resumable(member, steps, checkpoint) as saved:
        yield saved


@contextmanager
def night_log(
    log: SpikeLog | LogPath | None, member: Member, steps: int, stage: SpontaneousReplay, saved: Resumable | None
) -> Iterator[SpikeLog | None]:
    """Give the log of a night, with its epoch begun; a log that was opened here is closed here.

    Raises
    ------
    InputError
        If what is there is not the log of this night, or somebody else writes it; it stays as it was.
    """
    starts = [0, *(segment.stop for segment in member.segments)]
    begins = [(x.name, start) for x, start in zip(member.segments, starts, strict=False) if start < steps]
    if isinstance(log, SpikeLog):
        log.begin_epoch(stage.name, seed=member.seed, segments=begins)
        yield log
        log.end_epoch()
        return
    own = None if log is None else _opened(Path(log), member, steps, stage, saved)
    if own is None:
        yield None
        return
    with own:
        if not own.epoch_open:
            own.begin_epoch(stage.name, seed=member.seed, segments=begins)
        yield own
        own.end_epoch()


def _opened(
    path: Path, member: Member, steps: int, stage: SpontaneousReplay, saved: Resumable | None
) -> SpikeLog | None:
    """Return the log, new or where the night goes on; None if all of it is there."""
    network, seed = member.network, member.seed
    if saved is None and path.exists():
        raise InputError(f"spike log {path} already exists: give another path, or delete it")
    if saved is None or saved.done is None:
        return SpikeLog(
            path,
            network.populations,
            dt=network.dt,
            seed=seed,
            config={"stage": repr(stage)},
            overwrite=False if saved is None else "unfinished",
            identity=digest(member, steps) if saved is None else saved.identity,
        )
    if not path.exists():
        raise InputError(
            f"{saved.done} steps are saved in {saved.path}, but their log {path} is not there: put it back, or delete "
            "the checkpoint to begin again"
        )
    night = Expected(saved.identity, network.populations, network.dt, seed, [(stage.name, 0, seed)])
    if saved.done == steps and night.is_finished(path, steps):
        return None
    return SpikeLog.resume(path, saved.done, expected=night)
