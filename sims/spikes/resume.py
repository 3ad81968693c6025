"""Takes a spike log up again where a simulation was checkpointed."""

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..packed import cause
from .content import Content
from .file import DATASETS, IDENTITY, VERSION, open_to_read
from .lock import WriterLock, is_marked, patiently, unmark
from .reader import SpikeReader
from .store import SpikeStore


class Kept(NamedTuple):
    """What is kept of a log; nothing of a new one.

    Attributes
    ----------
    events
        Number of events of each logged layer.
    membranes, weights
        Number of samples.
    epochs, steps
        Their numbers.
    epoch_start
        The step at which the last epoch begins, None if there is none.
    last_sample
        The step of the last sample of each kind, 0 if there is none.
    """

    events: Sequence[int] = ()
    membranes: int = 0
    weights: int = 0
    epochs: int = 0
    steps: int = 0
    epoch_start: int | None = None
    last_sample: Mapping[str, int] = {"membranes": 0, "weights": 0}


class Expected(NamedTuple):
    """Whose log a file must be, to be changed.

    Attributes
    ----------
    identity
        Digest of what is simulated. A file that has none is known by the rest.
    populations, dt, seed
        As of `SpikeLog`.
    epochs
        Name, first step and seed of each epoch that is kept.
    """

    identity: str
    populations: Mapping[str, int]
    dt: float
    seed: int
    epochs: Sequence[tuple[str, int, int]]

    def check(self, reader: SpikeReader) -> None:
        """Raise `InputError` if a file is the log of something else."""
        kept = reader.epochs[: len(self.epochs)]
        found = _identity(reader.path)
        pairs: dict[str, tuple[object, object]] = {
            "what was simulated": (self.identity[:8] if found is None else found[:8], self.identity[:8]),
            "populations": (dict(reader.populations), dict(self.populations)),
            "dt": (reader.dt, self.dt),
            "seed": (reader.seed, self.seed),
            "epochs": ([(epoch.name, epoch.start, epoch.seed) for epoch in kept], list(self.epochs)),
        }
        for what, (there, here) in pairs.items():
            if there != here:
                raise InputError(
                    f"{reader.path} is the log of something else, and stays as it is: {what}: {there} there and "
                    f"{here} here; give its own log, or another path"
                )
        if reader.complete and len(reader.epochs) > len(kept):
            raise InputError(
                f"{reader.path} is complete and holds {len(reader.epochs)} epochs, of which only {len(kept)} would be "
                "kept; give another path"
            )

    def is_finished(self, path: Path, steps: int) -> bool:
        """Whether a log is complete after so many steps, and closed; raise `InputError` if it is of something else."""
        with closing(WriterLock(path)), SpikeReader(path) as reader:
            self.check(reader)
            return reader.complete and reader.n_steps == steps and not is_marked(path)


def is_unfinished(path: Path, identity: str | None) -> bool:
    """Whether a file is a log of this identity that did not come to its end."""
    try:
        with SpikeReader(path) as reader:
            return not reader.complete and identity is not None and _identity(path) == identity
    except InputError:
        return False


def reopen(path: Path, steps: int, expected: Expected | None = None) -> tuple[SpikeStore, Content, Kept]:
    """Open a log for writing, cut after its first `steps` steps; see `SpikeLog.resume`."""
    if not path.is_file():
        raise InputError(f"there is no spike log {path} to resume")
    lock = WriterLock(path)
    try:
        content, kept = _read(path, steps, expected)
        lock.claim(path)
        if is_marked(path):
            unmark(path)
        with ExitStack() as turn:
            store = patiently(partial(_in_turn, path, lock, turn))
            _cut(store, lock, kept)
    except BaseException:
        lock.close()
        raise
    return store, content, kept


def _in_turn(path: Path, lock: WriterLock, turn: ExitStack) -> SpikeStore:
    """Open a file while nobody in this process has a dataset open, or opens one until `turn` ends."""
    with ExitStack() as mine:
        mine.enter_context(DATASETS)
        try:
            store = SpikeStore(path, lock)
        except BlockingIOError:
            raise
        except OSError as error:
            if "already open" in str(error):  # by a reader in this process, which came first
                raise BlockingIOError(errno.EAGAIN, str(error), str(path)) from error
            raise InputError(f"{path} cannot be written, close whatever reads or writes it: {error}") from error
        turn.push(mine.pop_all())
    return store


def _cut(store: SpikeStore, lock: WriterLock, kept: Kept) -> None:
    try:
        lock.claim(store.path)  # readers may have come while HDF5 opened it
        store.cut(kept.events, kept.membranes, kept.weights, kept.epochs, kept.steps)
        lock.hold(store.path)
    except BaseException as error:
        failure = store.give_up(error)
        if failure is error:
            raise
        told = (isinstance(error, OSError) and error.errno) or "errno" in str(error)  # what the system said
        if isinstance(error, OSError | RuntimeError) and not told:
            raise InputError(f"{store.path} is damaged ({cause(error)}): read what can be read of it") from error
        raise failure from error


def _read(path: Path, steps: int, expected: Expected | None) -> tuple[Content, Kept]:
    with SpikeReader(path) as reader:
        if reader.version != VERSION:
            raise InputError(
                f"{path} is of version {reader.version}, which can be read but not resumed; only {VERSION} can"
            )
        if expected is not None:
            expected.check(reader)
        if not 0 <= steps <= reader.n_steps:
            raise InputError(f"cannot resume {path} after {steps} steps: it holds {reader.n_steps}; give at most that")
        epochs = [epoch for epoch in reader.epochs if epoch.start <= steps]
        if expected is not None:
            epochs = epochs[: len(expected.epochs)]
        sampled = {kind: reader.samples_until(kind, steps) for kind in ("membranes", "weights")}
        return reader.content, Kept(
            events=[reader.events_before(layer, steps) for layer in reader.layers],
            membranes=sampled["membranes"][0],
            weights=sampled["weights"][0],
            epochs=len(epochs),
            steps=steps,
            epoch_start=epochs[-1].start if epochs else None,
            last_sample={kind: last for kind, (_, last) in sampled.items()},
        )


def _identity(path: Path) -> str | None:
    """Return the identity that a log has, None if it has none."""
    with open_to_read(path) as file:
        found = file.attrs.get(IDENTITY)
    return None if found is None else str(found)
