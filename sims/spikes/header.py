"""What a spike file tells of itself: who was logged and how, and how much of it counts."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError
from .content import Content
from .file import DATASETS, ENCODING, VERSION, Sampled
from .table import dataset

_OLD_VERSION = "1.0"  # which logged all spikes of all layers, and no samples


@dataclass(frozen=True, slots=True)
class Epoch:
    """A night, or a stage of one: the steps from `start` up to, not including, `stop`."""

    name: str
    start: int
    stop: int
    seed: int


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


def read_header(file: h5py.File, path: Path) -> Header:
    """Read what a spike file tells of itself.

    Raises
    ------
    InputError
        If it is not a spike log, or of an unknown version.
    """
    encoding, version = _attribute(file, path, "encoding-type"), _attribute(file, path, "encoding-version")
    if encoding != ENCODING or version not in (_OLD_VERSION, VERSION):
        raise InputError(
            f"{path} is of encoding {encoding!r}, version {version!r}, but this reader knows only "
            f"{ENCODING!r}, versions {_OLD_VERSION!r} and {VERSION!r}; read it with the neurosleep that wrote it"
        )
    content = _content(file, path, version)
    dt, seed = float(_attribute(file, path, "dt")), int(_attribute(file, path, "seed"))
    config = json.loads(_attribute(file, path, "config"))
    # A live writer may add to the file meanwhile. What this record tells was there before the record was.
    with DATASETS:
        progress = dataset(file, "progress")[()]
        table = dataset(file, "epochs")[: int(progress["epochs"])]
    n_steps = int(progress["steps"])
    bounds = [*(int(start) for start in table["start"]), n_steps]
    kinds: tuple[Sampled, ...] = ("membranes", "weights") if version == VERSION else ()
    return Header(
        version=version,
        content=content,
        dt=dt,
        seed=seed,
        config=config,
        complete=bool(progress["complete"]),
        epochs=tuple(
            Epoch(row["name"].decode(), start, stop, int(row["seed"]))
            for row, (start, stop) in zip(table, pairwise(bounds), strict=True)
        ),
        n_steps=n_steps,
        events=dict(zip(content.layers, progress["events"].tolist(), strict=True)),
        samples={kind: int(progress[kind]) for kind in kinds},
        sampled_before={kind: table[kind].tolist() for kind in kinds},
    )


def _content(file: h5py.File, path: Path, version: str) -> Content:
    sizes = (int(size) for size in _attribute(file, path, "layer_sizes"))
    populations = dict(zip(_attribute(file, path, "populations"), sizes, strict=True))
    if version == _OLD_VERSION:
        return Content(populations, tuple(populations), None, 0, 0, np.dtype(np.float32))
    windows = file["windows"][()].tolist() if "windows" in file else None
    return Content(
        populations=populations,
        layers=tuple(_attribute(file, path, "layers")),
        windows=None if windows is None else tuple((start, stop) for start, stop in windows),
        membranes_every=int(_attribute(file, path, "membranes_every")),
        weights_every=int(_attribute(file, path, "weights_every")),
        dtype=np.dtype(_attribute(file, path, "dtype")),
    )


def _attribute(file: h5py.File, path: Path, key: str) -> Any:
    if key not in file.attrs:
        raise InputError(f"{path} is not a spike log: its root has no attribute {key!r}")
    return file.attrs[key]
