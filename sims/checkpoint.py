"""`simulate_resumable`: a night that is saved as it goes, and goes on from there to the identical end."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .digest import digest as digest
from .engines.contract import MAX_STEPS
from .engines.sinks import EventSink
from .ensemble import Backend, Member, Simulation, check_streams, simulate_ensemble
from .errors import InputError
from .fields import plain
from .homeostasis.columns import n_columns
from .homeostasis.homeostat import Homeostat
from .lock import Lock, beside
from .network import SpikingNetwork
from .neurons import MAX_REFRACTORY
from .packed import checked, read_npz
from .sleeping import SleepingNetwork
from .state import TRACES, SimulationState, Unpaid, kept_arrays, membrane_shapes, trace_arrays
from .whole import whole

FIRST_PIECE = 1000
"""Steps before the first save; from then on as many as fit between two saves."""


class Checkpoint(NamedTuple):
    """What is saved of a night.

    `night` is a digest of everything that it depends on, `counts` are the spikes of every neuron since it began,
    `segment_spikes` those of each population in each segment.
    """

    night: str
    network: Any  # SpikingNetwork | PlasticGraph
    state: SimulationState
    counts: list[NDArray[np.int64]]
    segment_spikes: NDArray[np.int64]


def simulate_resumable(
    member: Member,
    steps: int,
    path: str | os.PathLike[str],
    *,
    backend: Backend = "cpu",
    seconds: float = 10.0,
    chunk: int = 1000,
    on_progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Simulate a night that outlives its process: `path` is written about every so many seconds.

    If `path` is there, the night goes on from it; its weights, spikes and state at the end are, bit for bit, those of a
    night in one go. `path` stays when the night is over, and the night is then not simulated again.

    Parameters
    ----------
    member
        Network, drive, plasticity and so on; the same as when the night began, but for its log, which must have taken
        exactly the steps that are saved (see `SpikeLog.resume` and `load`). Its state is where the night begins.
    steps
        Length of the whole night.
    path
        File of the checkpoint, an uncompressed ``.npz``. Its folder must exist.
    backend, chunk, on_progress
        See `simulate_ensemble`.
    seconds
        Least time between two saves.

    Raises
    ------
    InputError
        If `path` is not a checkpoint, or one of another night, or another process simulates it now.
    OSError
        If it cannot be written; the one before it is then still there.
    """
    with Resumable(member, steps, path) as night:
        return night.simulate(member.log, backend=backend, seconds=seconds, chunk=chunk, on_progress=on_progress)


class Resumable:
    """A night and its checkpoint, which nobody else may write meanwhile; a context manager.

    Parameters
    ----------
    member, steps, path
        See `simulate_resumable`; the member's log is left aside.

    Attributes
    ----------
    identity
        Digest of everything that the night depends on.
    done
        Steps that are saved; None if there is no checkpoint yet.

    Raises
    ------
    InputError
        If the checkpoint's folder is not there, or somebody else writes it, or as `simulate_resumable`. Nothing is
        changed then.
    """

    def __init__(self, member: Member, steps: int, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._member, self._steps = member, plain(steps, int, "steps")
        if self._steps < 0:
            raise InputError(f"steps must be at least 0, got {steps}")
        if not self.path.parent.is_dir():
            raise InputError(f"checkpoint {path}: there is no folder {self.path.parent}; create it first")
        if self.path.is_dir():
            raise InputError(f"checkpoint {path} is a folder; give the name of a file")
        self.identity = digest(member, self._steps)
        refusal = f"{path} is the checkpoint of a night that another process is simulating: wait until it ends"
        self._lock = Lock(beside(self.path), refusal)
        try:
            self._saved = self._begun()
        except BaseException:
            self._lock.close()
            raise
        self.done = self._saved.state.step if self.path.exists() else None

    def _begun(self) -> Checkpoint:
        network, state = self._member.network, self._member.state
        if self.path.exists():
            how = self._steps, check_streams(self._member.streams), self.identity, len(self._member.segments)
            return load(self.path, network, *how)
        begin = state or SimulationState.asleep(network, check_streams(self._member.streams))
        none = [np.zeros(n, dtype=np.int64) for n in network.sizes]
        return Checkpoint(
            self.identity, network, begin, none, np.zeros((len(self._member.segments), len(none)), np.int64)
        )

    def simulate(
        self,
        log: EventSink | None = None,
        *,
        backend: Backend = "cpu",
        seconds: float = 10.0,
        chunk: int = 1000,
        on_progress: Callable[[int], None] | None = None,
    ) -> Simulation:
        """Simulate what is left of the night; see `simulate_resumable`.

        Raises
        ------
        InputError
            If steps are saved that the log has not taken.
        """
        saved, steps, member = self._saved, self._steps, replace(self._member, log=log)
        seconds = plain(seconds, float, "seconds")
        begun = member.state.step if member.state else 0
        if log is not None and begun + log.steps < saved.state.step < steps:
            raise InputError(f"{saved.state.step - begun} steps are saved in {self.path}, but the log has {log.steps}")
        if self.done is not None and on_progress is not None:
            on_progress(saved.state.step)
        piece = FIRST_PIECE
        while saved.state.step < steps or not self.path.exists():
            began = time.monotonic()
            now = replace(member, network=saved.network, state=saved.state)
            todo = min(piece, steps - saved.state.step)
            done = simulate_ensemble([now], todo, backend=backend, chunk=chunk, on_progress=on_progress)[0]
            counts = [a + b for a, b in zip(saved.counts, done.spike_counts, strict=True)]
            in_segments = saved.segment_spikes + done.segment_spikes
            self._saved = saved = Checkpoint(self.identity, done.network, done.state, counts, in_segments)
            if log is not None:
                log.flush()
            save(saved, self.path)
            piece = max(FIRST_PIECE, int(todo * seconds / max(time.monotonic() - began, 1e-6)))
        return Simulation(saved.network, saved.state, steps, saved.counts, saved.segment_spikes)

    def close(self) -> None:
        """Let others go on with the night. Closing twice does nothing."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    state, unpaid = checkpoint.state, checkpoint.state.unpaid
    arrays: dict[str, Any] = {
        "night": checkpoint.night,
        "step": state.step,
        "membrane_steps": np.array(state.membrane_steps, dtype=np.int64),
    }
    lists: dict[str, Sequence[NDArray[Any]]] = {
        "weights": checkpoint.network.weights,
        "membranes": state.membranes,
        "counts": checkpoint.counts,
        "stored": unpaid.stored if unpaid else [],
        "owed": unpaid.owed if unpaid else [],
        "since": state.homeostat.counts if state.homeostat else [],
        "begun": state.homeostat.begun if state.homeostat else [],
        "projected": [projection.weights for projection in checkpoint.network.projections],
        **state.kept,
    }
    if state.homeostat is not None:
        arrays["since"] = state.homeostat.step
    if len(checkpoint.segment_spikes):
        arrays["segment_spikes"] = checkpoint.segment_spikes
    for name, values in lists.items():
        arrays.update({f"{name}{index}": value for index, value in enumerate(values)})
    with whole(path) as half, half.open("wb") as file:
        np.savez(file, **arrays)  # no objects among them, so nothing is pickled


def load(
    path: str | os.PathLike[str],
    network: SleepingNetwork,
    steps: int | None = None,
    streams: int | None = None,
    night: str | None = None,
    segments: int = 0,
) -> Checkpoint:
    """Read a checkpoint of a night of this network, of so many steps, streams, segments, and of this digest, if given.

    Raises
    ------
    InputError
        If `path` is not a checkpoint, is one of another night, does not fit the network, or stands where no such night
        can.
    """
    try:
        content = read_npz(path)
        other = night is not None and str(checked(content, "night", "U")) != night
        if not other:
            return _checkpoint(content, network, steps, streams, segments)
    except (InputError, KeyError) as error:
        raise InputError(f"{path} is not a checkpoint of a night of this network, or it is damaged: {error}") from error
    raise InputError(
        f"{path} is the checkpoint of another night: network, drive, rule, seed, length or streams differ; give the "
        "same ones again, or another path"
    )


def _checkpoint(
    content: dict[str, NDArray[Any]], network: SleepingNetwork, steps: int | None, streams: int | None, segments: int
) -> Checkpoint:
    """Return what arrays say, if compiled code can go on from it."""
    whole, real, sizes = np.dtype(np.int64), network.dtype, network.sizes

    def each(
        name: str, kind: np.dtype[Any], shapes: Sequence[tuple[int | None, ...]], *between: float
    ) -> list[NDArray[Any]]:
        return [checked(content, f"{name}{index}", kind, shape, *between) for index, shape in enumerate(shapes)]

    step = int(checked(content, "step", whole, (), 0, MAX_STEPS if steps is None else steps))
    copies = streams or (len(content["membranes0"]) if content["membranes0"].ndim == 2 else 1)
    shapes = [w.shape for w in network.weights]
    weights, unpaid = each("weights", real, shapes), None
    chain = isinstance(network, SpikingNetwork)
    if chain and any(name.startswith(("stored", "owed")) for name in content):
        owed = each("owed", np.dtype(np.int32), [(n,) for n in sizes[1:]], 0, step * copies)
        unpaid = Unpaid(each("stored", real, shapes), owed)
    membranes = each("membranes", real, membrane_shapes(sizes, copies), -math.inf)  # of silenced neurons
    reached = checked(content, "membrane_steps", whole, (len(membranes),), 0, step).tolist()
    counts = each("counts", whole, [(n,) for n in sizes], 0, step * copies)
    night = str(checked(content, "night", "U"))
    weights += each("projected", real, [projection.weights.shape for projection in network.projections])
    limits: dict[str, tuple[float, ...]] = {"waiting": (0, MAX_REFRACTORY), "adaptation": (0,)}
    wanted: dict[str, tuple[np.dtype[Any], Sequence[tuple[int | None, ...]]]] = {**kept_arrays(network, copies)}
    limits["excitability"] = (math.nextafter(-1, 0),)
    if "excitability0" in content:
        wanted["excitability"] = np.dtype(np.float64), [(n,) for n in sizes[1:]]
    if chain and any(name.startswith(TRACES) for name in content):
        wanted |= trace_arrays(network, copies, None, None)
        limits |= {"pre_traces": (0,), "post_traces": (0,), "pre_last": (0, step), "post_last": (0, step)}
    kept: dict[str, Any] = {
        name: each(name, kind, asked, *limits.get(name, ())) for name, (kind, asked) in wanted.items()
    }
    homeostat = None
    if "since" in content:
        since = int(checked(content, "since", whole, (), 0, step))
        begun = [name for name in content if name.startswith("begun")]
        columns = [n_columns(w) for w in network.weights]
        sizes_begun = [(columns[i % len(columns)] if content[f"begun{i}"].size else 0,) for i in range(len(begun))]
        homeostat = Homeostat(
            since,
            each("since", whole, [(n,) for n in sizes[1:]], 0, step * copies),
            each("begun", np.dtype(np.float64), sizes_begun),
        )
    in_segments = np.zeros((0, len(sizes)), dtype=whole)
    if segments:
        in_segments = checked(content, "segment_spikes", whole, (segments, len(sizes)), 0)
    state = SimulationState(step, membranes, reached, unpaid, homeostat=homeostat, **kept)
    return Checkpoint(night, network.with_weights(weights), state, counts, in_segments)
