"""Takes a spike log up again where a simulation was checkpointed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .content import Content
from .file import VERSION
from .lock import WriterLock, is_marked, unmark
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


def reopen(path: Path, steps: int) -> tuple[SpikeStore, Content, Kept]:
    """Open a log for writing, cut after its first `steps` steps; see `SpikeLog.resume`."""
    if not path.is_file():
        raise InputError(f"there is no spike log {path} to resume")
    lock = WriterLock(path)
    try:
        lock.claim()
        content, kept = _read(path, steps)
        if is_marked(path):
            unmark(path)
    except BaseException:
        lock.close()
        raise
    try:
        store = SpikeStore(path, lock)
    except OSError as error:
        raise InputError(f"{path} cannot be written, close whatever reads or writes it: {error}") from error
    try:
        store.cut(kept.events, kept.membranes, kept.weights, kept.epochs, kept.steps)
    except BaseException as error:
        failure = store.give_up(error)
        if failure is error:
            raise
        raise failure from error
    return store, content, kept


def _read(path: Path, steps: int) -> tuple[Content, Kept]:
    with SpikeReader(path) as reader:
        if reader.version != VERSION:
            raise InputError(
                f"{path} is of version {reader.version}, which can be read but not resumed; only {VERSION} can"
            )
        if not 0 <= steps <= reader.n_steps:
            raise InputError(f"cannot resume {path} after {steps} steps: it holds {reader.n_steps}; give at most that")
        epochs = [epoch for epoch in reader.epochs if epoch.start <= steps]
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
