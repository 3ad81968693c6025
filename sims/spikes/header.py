"""What a spike file tells of itself: who was logged and how, and how much of it counts.

A file may come from anybody. So this is the one place where its header is read, and whatever is not as `SpikeLog`
writes it is refused here, before anybody works with it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from ..errors import InputError
from .attributes import Attributes
from .chunks import Chunks
from .content import MAX_STEPS, Content, checked_dt
from .damage import damaged, readable
from .file import (
    DATASETS,
    ENCODING,
    EPOCH_DTYPE,
    GROUP_VERSION,
    LAYER_ENCODING,
    MEMBRANE_ENCODING,
    SEGMENT_DTYPE,
    VERSION,
    WEIGHT_ENCODING,
    Sampled,
    progress_dtype,
)
from .stored import column, found, members, record

_T = TypeVar("_T")
_OLD_VERSION = "1.0"  # which logged all spikes of all layers, and no samples


@dataclass(frozen=True, slots=True)
class Epoch:
    """A night, or a stage of one: the steps from `start` up to, not including, `stop`."""

    name: str
    start: int
    stop: int
    seed: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a night, as N3 or REM: the steps from `start` up to, not including, `stop`; `epoch` is which night."""

    name: str
    start: int
    stop: int
    epoch: int


@dataclass(frozen=True, eq=False)
class Header:
    """All of a spike file but its spikes and samples.

    Attributes
    ----------
    version, content, dt, seed, config, complete, epochs, n_steps
        As of :class:`~neurosleep.sims.spikes.reader.SpikeReader`.
    events
        Number of spikes of each logged population that count.
    samples
        Number of samples of each layer that count.
    sampled_before
        For each epoch, how many samples were taken before it began.
    segments
        Parts of epochs that have any, as far as they were reached.
    """

    version: str
    content: Content
    dt: float
    seed: int
    config: dict[str, Any]
    complete: bool
    epochs: tuple[Epoch, ...]
    n_steps: int
    events: dict[str, int]
    samples: dict[Sampled, int]
    sampled_before: dict[Sampled, list[int]]
    segments: tuple[Segment, ...]


def read_header(file: h5py.File, path: Path) -> Header:
    """Read what a spike file tells of itself, and check it: all values, and how the datasets lie in the file.

    Raises
    ------
    InputError
        If it is not a spike log, of an unknown version, or not as `SpikeLog` writes it.
    """
    with readable(path), DATASETS:
        root = Attributes(file, path)
        encoding, version = root.text("encoding-type"), root.text("encoding-version")
        if encoding != ENCODING or version not in (_OLD_VERSION, VERSION):
            raise InputError(
                f"{path} is of encoding {encoding!r}, version {version!r}, but this reader knows only "
                f"{ENCODING!r}, versions {_OLD_VERSION!r} and {VERSION!r}; read it with the neurosleep that wrote it"
            )
        dt = _checked(path, checked_dt, root.real("dt"))
        content = _content(file, path, root, version)
        header = _progress(file, path, version, content, dt, root.whole("seed"), _config(path, root.text("config")))
        _check_layers(file, path, header)
        return header


def _content(file: h5py.File, path: Path, root: Attributes, version: str) -> Content:
    names, sizes = root.texts("populations"), root.wholes("layer_sizes")
    if len(names) != len(sizes) or len(set(names)) < len(names):
        raise damaged(path, f"populations must be different names, one for each size, got {names} and {sizes}")
    populations = dict(zip(names, sizes, strict=True))
    if version == _OLD_VERSION:
        return _checked(path, Content.checked, populations, None, None, 0, 0, np.float32)
    windows = None
    if file.id.links.exists(b"windows"):
        windows = record(file, path, "windows", "<u8", (None, 2))[()].tolist()
    layers = root.texts("layers")
    every = root.whole("membranes_every"), root.whole("weights_every")
    content = _checked(path, Content.checked, populations, layers, windows, *every, root.text("dtype"))
    if content.layers != tuple(layers):
        raise damaged(path, f"layers must be some of the populations in their order, got {layers}")
    return content


def _checked(path: Path, check: Callable[..., _T], *values: Any) -> _T:
    """Return what a check of arguments makes of values in a file; say of the file what it says of arguments."""
    try:
        return check(*values)
    except InputError as error:
        raise damaged(path, str(error)) from error


def _config(path: Path, text: str) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        config = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"attribute 'config' is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise damaged(path, f"attribute 'config' must be a JSON object, got {type(config).__name__}")
    return config


def _progress(
    file: h5py.File, path: Path, version: str, content: Content, dt: float, seed: int, config: dict[str, Any]
) -> Header:
    """Return the header with what counts."""
    kinds: tuple[Sampled, ...] = ("membranes", "weights") if version == VERSION else ()
    # A live writer may add to the file meanwhile. What this record tells was there before the record was.
    progress = record(file, path, "progress", _fields(progress_dtype(len(content.layers)), kinds), ())[()]
    n_epochs, n_steps = int(progress["epochs"]), int(progress["steps"])
    epoch_rows = column(file, path, "epochs", _fields(EPOCH_DTYPE, kinds), n_epochs, compressed=False)
    table = Chunks(epoch_rows, 0, n_epochs).unpacked()
    samples = {kind: int(progress[kind]) for kind in kinds}
    starts = [0, *table["start"].tolist(), n_steps]
    if n_steps > MAX_STEPS or starts != sorted(starts) or starts[1] != 0:
        raise damaged(
            path, f"epochs must begin at step 0, one after the other, and end by step 2**32, got {starts[1:]}"
        )
    for kind in kinds:
        counts = [0, *table[kind].tolist(), samples[kind]]
        if counts != sorted(counts):
            raise damaged(path, f"the numbers of {kind} must grow from epoch to epoch, got {counts[1:]}")
    epochs = tuple(
        Epoch(_named(path, row["name"]), start, stop, int(row["seed"]))
        for row, (start, stop) in zip(table, pairwise(starts[1:]), strict=True)
    )
    return Header(
        version=version,
        content=content,
        dt=dt,
        seed=seed,
        config=config,
        complete=bool(progress["complete"]),
        epochs=epochs,
        n_steps=n_steps,
        events=dict(zip(content.layers, progress["events"].tolist(), strict=True)),
        samples=samples,
        sampled_before={kind: table[kind].tolist() for kind in kinds},
        segments=_segments(file, path, epochs),
    )


def _segments(file: h5py.File, path: Path, epochs: Sequence[Epoch]) -> tuple[Segment, ...]:
    """Return the segments of the epochs that count; rows of an epoch stand in the file before its own."""
    if not file.id.links.exists(b"segments"):
        return ()
    count = len(column(file, path, "segments", SEGMENT_DTYPE, 0, compressed=False))
    table = Chunks(column(file, path, "segments", SEGMENT_DTYPE, count, compressed=False), 0, count).unpacked()
    segments = list[Segment]()
    for number, epoch in enumerate(epochs):
        rows = table[table["epoch"] == number + 1]  # rows of 0, or of epochs to come, are of a flush that was cut short
        starts = rows["start"].tolist()
        if not starts:
            continue
        if starts != sorted(set(starts)) or starts[0] != epoch.start or starts[-1] > MAX_STEPS:
            raise damaged(path, f"segments of epoch {number} must begin with it, one after the other, got {starts}")
        stops = [min(stop, epoch.stop) for stop in (*starts[1:], epoch.stop)]
        names = [_named(path, name, "a segment") for name in rows["name"]]
        spans = zip(names, starts, stops, strict=True)
        segments += [Segment(name, start, stop, number) for name, start, stop in spans if start < stop]
    return tuple(segments)


def _fields(dtype: np.dtype[np.void], kinds: tuple[Sampled, ...]) -> np.dtype[np.void]:
    """Return a type of records with only those numbers of samples that the version has."""
    every = [(name, dtype[name]) for name in dtype.names or ()]
    return np.dtype([(name, kind) for name, kind in every if name in kinds or name not in ("membranes", "weights")])


def _named(path: Path, name: bytes, of: str = "an epoch") -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise damaged(path, f"the name of {of} must be UTF-8, got {name!r}") from error
    if not text or "\0" in text:
        raise damaged(path, f"the name of {of} must be text, got {text!r}")
    return text


def _check_layers(file: h5py.File, path: Path, header: Header) -> None:
    """Check the groups of layers, and their columns."""
    content = header.content
    spikes: dict[str, tuple[int, ...]] = dict.fromkeys(content.layers, ())
    _check_group(file, path, header, "spikes", LAYER_ENCODING, spikes)
    for name, size in ((name, content.populations[name]) for name in content.layers):
        group = Attributes(found(file, path, f"spikes/{name}"), path, f"spikes/{name}")
        if (header.version == VERSION or "size" in group) and group.whole("size") != size:
            raise damaged(path, f"spikes/{name} has {group.whole('size')} neurons, its population {size}")
        for what in ("step", "node_id"):
            column(file, path, f"spikes/{name}/{what}", "<u4", header.events[name])
    sampled: tuple[tuple[Sampled, str, Mapping[str, tuple[int, ...]]], ...] = (
        ("membranes", MEMBRANE_ENCODING, content.membrane_shapes()),
        ("weights", WEIGHT_ENCODING, content.weight_shapes()),
    )
    for kind, encoding, shapes in sampled:
        _check_group(file, path, header, kind, encoding, shapes)
        for name, shape in shapes.items():
            column(file, path, f"{kind}/{name}/step", "<u4", header.samples[kind])
            column(file, path, f"{kind}/{name}/value", content.dtype, header.samples[kind], shape)


def _check_group(
    file: h5py.File, path: Path, header: Header, kind: str, encoding: str, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Check that a group holds these layers, as this version writes them, and nothing else."""
    names = members(file, path, kind)
    for name in shapes:
        found(file, path, f"{kind}/{name}/step")
        if header.version == VERSION:
            group = Attributes(file[f"{kind}/{name}"], path, f"{kind}/{name}")
            told = group.text("encoding-type"), group.text("encoding-version")
            if told != (encoding, GROUP_VERSION):
                raise damaged(path, f"{kind}/{name} must be of encoding {(encoding, GROUP_VERSION)}, got {told}")
    if len(names) != len(shapes):
        raise damaged(path, f"{kind} must hold {', '.join(shapes) or 'nothing'}, got {', '.join(names)}")
