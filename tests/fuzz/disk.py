"""Fills the disk under everything that is written: files may grow up to a limit, anywhere from nothing to all of it."""

import contextlib
import io
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from neurosleep.cli import main
from neurosleep.converters import to_spiking_graph, write_nir
from neurosleep.data import idx
from neurosleep.experiments.page.report import write_report
from neurosleep.experiments.results import Results
from neurosleep.experiments.running import run
from neurosleep.features.architectures import save_weights, untrained
from neurosleep.interchange import to_brian2, to_csv, to_nir_data, to_nwb, to_sonata
from neurosleep.memory import Memory
from neurosleep.networks import relu_network
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import Hebbian
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader
from neurosleep.sims.whole import whole
from neurosleep.tripartite import Architecture, Learner, ReplayNetwork, Settings

from . import arrays, descriptions, networks
from .forking import End, frozen, start


@dataclass(frozen=True)
class Writer:
    """Something that writes a file.

    Parameters
    ----------
    name
        As in ``--only``.
    write
        Takes a folder in which `ready` has been, and writes `files` anew.
    files
        What is written; each must be what it was, or be whole.
    ready
        Makes what is needed to write; it is done once, and copied.
    read
        Raises if a file is not whole.
    torn
        Whether the file grows while it is written, and what is in it when the disk is full is to be readable.
    fresh
        Whether it is written where there is none yet, and else where there is one already.
    """

    name: str
    write: Callable[[Path], object]
    files: tuple[str, ...]
    ready: Callable[[Path], object] = lambda folder: None
    read: Callable[[Path], object] | None = None
    torn: bool = False
    fresh: bool = False


def _events() -> Any:
    steps = np.arange(60_000, dtype=np.uint32)
    return steps, steps % np.uint32(100)


def _log(folder: Path) -> None:
    with SpikeLog(folder / "night.h5", {"input": 100}, dt=0.001, overwrite=True) as log:
        log.begin_epoch("night")
        log.append([_events()], 60_000)
        log.end_epoch()


def _read_log(path: Path) -> None:
    with SpikeReader(path) as reader:
        step, node = reader.events("input")
        wanted = _events()
        assert all(np.array_equal(a, b[: len(a)]) for a, b in zip((step, node), wanted, strict=True))
        assert not reader.complete or len(step) == len(wanted[0])


def _exports(name: str, write: Callable[..., object]) -> Writer:
    def do(folder: Path) -> None:
        write(folder / "night.h5", folder / f"out.{name}", overwrite=True)

    return Writer(name, do, (f"out.{name}",), _log)


def _spikes(name: str) -> Writer:
    def do(folder: Path) -> None:
        out = str(folder / f"out.{name}")
        sys.argv = ["neurosleep", "spikes", str(folder / "night.h5"), "--to", name, "--out", out, "--force"]
        main()

    return Writer(f"spikes-{name}", do, (f"out.{name}",), _log)


def _raster(folder: Path) -> None:
    sys.argv = ["neurosleep", "spikes", str(folder / "night.h5"), "--raster", str(folder / "raster.png")]
    main()


def _memory(folder: Path) -> None:
    model, memory = relu_network((784, 20, 10)), Memory()
    memory.observe(model, torch.rand(5, 784))
    memory.save(folder / "memory.npz")


def _learner(folder: Path) -> None:
    network = ReplayNetwork(Architecture(features=50, hidden=(30, 30), latents=3, classes=4))
    Learner(network, Settings(), 0).save(folder / "learner.pt")


def _nir(folder: Path) -> None:
    torch.manual_seed(0)
    graph = to_spiking_graph(relu_network((100, 80, 4)), torch.rand(3, 100).numpy(), reset="zero", initial=0.0)
    write_nir(folder / "network.nir", graph, accept_changes=True, overwrite=True)


def _brian2(folder: Path) -> None:
    network = SpikingNetwork((SpikingLayer(np.random.default_rng(0).random((100, 80))),))
    to_brian2(network, UniformNoise(50.0), Hebbian(0.01, 0.01), folder / "night.py", steps=2000, overwrite=True)


def _console(folder: Path) -> None:
    """A console that takes nothing."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.argv = ["neurosleep", "spikes", str(folder / "night.h5")]
    main()


def _convert(folder: Path) -> None:
    words = ["--calibration", str(folder / "x.npy"), "--steps", "20", "--max-loss", "100", "--out", str(folder / "out")]
    shutil.rmtree(folder / "out", ignore_errors=True)
    sys.argv = ["neurosleep", "convert", str(folder / "network.pt2"), *words]
    main()


def _to_convert(folder: Path) -> None:
    networks._program(folder)
    np.save(folder / "x.npy", networks._x().numpy())


def _digits(folder: Path) -> None:
    idx.write(folder / "images", np.zeros((100, 28, 28), np.uint8))
    idx.write(folder / "images.gz", np.random.default_rng(0).integers(0, 255, (100, 28, 28)).astype(np.uint8))


def _results(folder: Path) -> None:
    Results.open(folder / "out").save()


def _page(folder: Path) -> None:
    write_report(Results.open(folder / "out"))


def _run(folder: Path) -> None:
    run(descriptions._experiment(), folder / "out", workers=1, progress=False)


def _checkpoint(folder: Path) -> None:
    arrays._go_on(folder, 0)


def _weights(folder: Path) -> None:
    with whole(folder / "layers.npz") as half:
        save_weights(half, untrained("vgg-cifar100", "cifar10"))


WRITERS = (
    Writer("log", _log, ("night.h5",), read=_read_log, torn=True, fresh=True),
    *(
        _exports(name, write)
        for name, write in (("csv", to_csv), ("h5", to_sonata), ("nwb", to_nwb), ("nir", to_nir_data))
    ),
    *map(_spikes, ("sonata", "nwb", "nirdata", "csv")),
    Writer("raster", _raster, ("raster.png",), _log),
    Writer("console", _console, (), _log),
    Writer("checkpoint", _checkpoint, ("gated.npz", "constant.npz"), arrays._checkpoints, fresh=True),
    Writer("memory", _memory, ("memory.npz",)),
    Writer("learner", _learner, ("learner.pt",)),
    Writer("layers", _weights, ("layers.npz",)),
    Writer("network", _nir, ("network.nir",)),
    Writer("brian2", _brian2, ("night.py", "night.npz")),
    Writer(
        "convert",
        _convert,
        ("out/network.nir", "out/report.json", "out/report.txt", "out/conversion.png"),
        _to_convert,
        fresh=True,
    ),
    Writer("digits", _digits, ("images", "images.gz")),
    Writer("results", _results, ("out/results.nc", "out/results.csv"), descriptions._folder),
    Writer("page", _page, ("out/report.html",), descriptions._folder),
    Writer("run", _run, ("out/results.nc", "out/results.csv"), descriptions._folder, fresh=True),
)


def sweep(
    runs: int, seed: int, scratch: Path, names: Sequence[str] = (), on_run: Any = None
) -> dict[str, Counter[str]]:
    """Fill the disk so many times, under all writers in turn; return what came of each."""
    torch.set_num_threads(1)
    chosen = [one for one in WRITERS if not names or one.name in names]
    sizes = {one.name: _prepare(one, scratch / one.name) for one in chosen}
    frozen()
    found: dict[str, Counter[str]] = {one.name: Counter() for one in chosen}
    for number in range(runs):
        one = chosen[number % len(chosen)]
        random = Random(f"{seed}/{number}")  # noqa: S311
        limit = random.choice((0, 1, 100, random.randrange(4096), int(sizes[one.name] * random.random() * 1.1)))
        kind, came = fill(one, limit, scratch / one.name, scratch / "work")
        found[one.name]["runs"] += 1
        found[one.name][kind] += 1
        if on_run is not None:
            on_run(f"{one.name}:{number} at {limit} bytes: {came}" if came else "")
    return found


def _prepare(one: Writer, folder: Path) -> int:
    """Make what a writer needs, and let it write once; return the size of the largest file."""
    for name in ("ready", "written"):
        (folder / name).mkdir(parents=True)
        one.ready(folder / name)
    if not one.files:
        return 0
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        one.write(folder / "written")  # in this process, so that what is slow at first is done before others are forked
    return max((folder / "written" / name).stat().st_size for name in one.files)


def fill(one: Writer, limit: int, prepared: Path, work: Path) -> tuple[str, str]:
    """Let a writer write up to a limit, where its files are there already; return what came, and what was wrong."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(prepared / ("ready" if one.fresh else "written"), work)
    before = _there(work)
    end = start(lambda: one.write(work), most_bytes=limit).end()
    wrong = _wrong(one, work, before, end)
    return (
        "not so" if wrong else "written" if end.kind == "done" or (end.kind, end.code) == ("code", 0) else "refused"
    ), wrong


def _there(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _wrong(one: Writer, work: Path, before: dict[str, bytes], end: End) -> str:
    if not end.clean:
        return f"{end.kind} {end.code}: {end.said.strip()[-400:]}"
    after = _there(work)
    hidden = [
        name
        for name in after
        if name not in before and Path(name).name.startswith((".", "tmp")) and not name.endswith(".lock")
    ]
    if hidden:
        return f"half files: {', '.join(hidden)}"
    done = end.kind == "done" or (end.kind == "code" and end.code == 0)
    for name in one.files:
        if name in before and name not in after:
            return f"{name} is gone"
        if (
            not done
            and not one.torn
            and name in before
            and after[name] != before[name]
            and not one.fresh
            and len(one.files) == 1
        ):
            return f"{name} is another, though it was not written"
        if one.read is not None and name in after and (done or one.torn):
            try:
                one.read(work / name)
            except Exception as error:
                return f"{name} cannot be read: {type(error).__name__}: {error}"
    return ""
