"""What `neurosleep convert` does: read a network and data, convert, look at what was lost, write a folder."""

import importlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from neurosleep.converters import to_spiking_graph
from neurosleep.converters.checkpoint import load_weights
from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.conversion import ConversionReport
from neurosleep.converters.graph.normalization import GraphNormalization, Per
from neurosleep.converters.graph.programs import read_program
from neurosleep.converters.graph.reader import MaxPoolOption
from neurosleep.converters.graph.report import conversion_report, judged_by
from neurosleep.converters.nir.export import as_run_by, export_report, to_nir, write_nir
from neurosleep.converters.nir.targets import Target, profile_of
from neurosleep.data import load, load_cifar
from neurosleep.data.idx import DataError
from neurosleep.figures.conversion import draw
from neurosleep.files import write_text
from neurosleep.sims.awake.graph import Reset, SpikingGraph
from neurosleep.sims.errors import InputError
from neurosleep.sims.packed import read_npy, read_npz
from neurosleep.sims.places import to_read

BATCH = 20  # test inputs between two reports of progress
RESETS: tuple[Reset, ...] = ("subtract", "zero")  # that which keeps what is above the threshold first
CALIBRATION = 1000  # inputs taken of a data set
SETS = ("mnist-small", "mnist", "fashion-mnist", "cifar10")


@dataclass(frozen=True)
class Request:
    """The options of `neurosleep convert`; see there."""

    model: str
    weights: Path | None
    calibration: str
    test: str | None
    out: Path
    target: Target
    normalization: GraphNormalization
    percentile: float
    per: Per
    reset: Reset | None
    max_pool: MaxPoolOption
    steps: int
    max_loss: float
    images: int
    accept_changes: bool
    data_dir: str | None
    trust: bool = False


class LostTooMuch(ConversionError):  # noqa: N818 - what came of it, not what was wrong
    """A conversion lost more than `--max-loss`; `text` is its report."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


class Data(NamedTuple):
    """Inputs (n, ...) and, where there are any, labels (n, ...)."""

    inputs: NDArray[np.floating]
    labels: NDArray[Any] | None


def run(request: Request) -> str:
    """Convert a network, write the folder, and return what is to be said of it.

    Raises
    ------
    InputError
        If the folder exists, or network and data do not fit; nothing is written then. Likewise for a network that
        cannot be converted or that the target cannot express; all of this is found before anything is simulated.
    LostTooMuch
        If the spiking network is worse than `max_loss` allows; nothing is written then.
    """
    _check_folder(request.out)
    model = read_model(request.model, request.weights, request.trust)
    calibration = read_data(request.calibration, "train", request.data_dir, CALIBRATION)
    wanted = request.test or request.calibration
    test = read_data(wanted, "test", request.data_dir, request.images)
    graphs = writable(model, calibration.inputs, request)
    judged_by(model, test.inputs, test.labels)
    graph, report = least_lost(model, graphs, test, request)
    changes = export_report(graph, request.target)
    text = f"{report}\n\n{changes}\n"
    if lost(report) > request.max_loss:
        raise LostTooMuch(_advice(report, request, graph.populations[0].reset), text)

    request.out.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{request.out.name}-", dir=request.out.parent))
    try:
        write_nir(half / "network.nir", graph, target=request.target, accept_changes=request.accept_changes)
        found = {"conversion": report.to_dict(), "export": asdict(changes)}
        write_text(half / "report.json", json.dumps(found, indent=1) + "\n")
        write_text(half / "report.txt", text)
        draw(report, half / "conversion.png")
        half.chmod(0o755)
        half.rename(request.out)
    except OSError as error:
        said = (error.strerror or str(error)).removesuffix(" while writing")
        raise OSError(error.errno, f"{said} while writing", str(request.out)) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)  # after a success there is none
    return f"{text}\nwritten into {request.out}: network.nir, report.json, report.txt, conversion.png"


def writable(model: nn.Module, calibration: NDArray[np.floating], request: Request) -> dict[Reset, SpikingGraph]:
    """Return the network with each reset that the target takes as it is, or with the one that was asked for.

    Raises
    ------
    ConversionError
        If the target takes none. Nothing was simulated then.
    """
    usual = request.reset or profile_of(request.target).reset
    graphs = dict[Reset, SpikingGraph]()
    refused = dict[Reset, ConversionError]()
    for reset in RESETS if request.reset is None else (request.reset,):
        graph = to_spiking_graph(
            model,
            calibration,
            normalization=request.normalization,
            percentile=request.percentile,
            per=request.per,
            reset=reset,
            max_pool=request.max_pool,
            several_spikes=profile_of(request.target).several_spikes,
        )
        changes = export_report(graph, request.target).changes
        try:
            to_nir(graph, target=request.target, accept_changes=True)
        except ConversionError as error:
            refused[reset] = error
            continue
        if not changes or (request.accept_changes and (reset == usual or all(c.what != "reset" for c in changes))):
            graphs[reset] = graph
        else:
            refused[reset] = ConversionError(
                f"{request.target} would run something else: {'; '.join(map(str, changes))}; convert with other "
                "options, choose another --target, or give --accept-changes"
            )
    if not graphs:
        raise refused[usual]
    return graphs


def least_lost(
    model: nn.Module, graphs: dict[Reset, SpikingGraph], test: Data, request: Request
) -> tuple[SpikingGraph, ConversionReport]:
    """Return the first network that loses little enough, or that which loses least, and its report.

    Of changes that were accepted, the report is of what the target runs.
    """
    found = list[tuple[SpikingGraph, ConversionReport]]()
    for reset, graph in graphs.items():
        changed = export_report(graph, request.target).changes
        run_there = as_run_by(graph, request.target) if changed else graph
        found.append((graph, _shown(model, run_there, test, request.steps, reset)))
        if lost(found[-1][1]) <= request.max_loss:
            break
    return min(found, key=lambda pair: lost(pair[1]))


def _shown(model: nn.Module, graph: SpikingGraph, test: Data, steps: int, reset: Reset) -> ConversionReport:
    with tqdm(total=len(test.inputs), desc=f"{steps} steps, reset {reset}", disable=None, leave=False) as bar:

        def on_progress(n: int) -> None:
            bar.update(n)

        return conversion_report(
            model, graph, test.inputs, test.labels, steps=steps, batch_size=BATCH, on_progress=on_progress
        )


def lost(report: ConversionReport) -> float:
    """Return the points that a conversion lost; without labels, of answers that are the trained network's."""
    return 100 * (report.ladder["trained"] - report.ladder["spiking"])


def _advice(report: ConversionReport, request: Request, reset: Reset) -> str:
    """Say what was lost, on which rung of the ladder most, and what helps there."""
    drops = {(a, b): report.ladder[a] - report.ladder[b] for a, b in pairwise(report.ladder)}
    before, worst = max(drops, key=lambda rungs: drops[rungs])
    others = [t for t in get_args(Target) if profile_of(t).reset == "subtract"]
    resets = f" --reset subtract with a --target that takes it ({', '.join(others)})," if reset == "zero" else ""
    mend = {
        "pooling replaced": "train the network with average pooling",
        "normalised": "try --normalization max, or a higher --percentile",
        "spiking": f"try more --steps,{resets} or --per channel",
    }[worst]
    return (
        f"the spiking network loses {lost(report):.2f} points after {report.steps} steps, most of them from "
        f"{before} to {worst}; at most {request.max_loss:g} may be lost, so nothing is written: {mend}, or raise "
        "--max-loss"
    )


def _check_folder(out: Path) -> None:
    """Refuse a folder that exists, or that cannot be made, before anything is computed."""
    if out.exists():
        raise InputError(f"{out} exists already; choose another folder with --out, or remove it")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"--out: {parent} is no folder that you may write into; choose another with --out")


def read_model(name: str, weights: Path | None, trust: bool = False) -> nn.Module:
    """Return a network by the name of its file, or by ``module:factory`` and the file of its state dict.

    The module is looked for as Python does, and in the present folder, and is run as any that is imported. In files
    nothing is run, but for TorchScript, which is read if it is trusted.
    """
    module_name, colon, factory = name.rpartition(":")
    if not (colon and module_name.replace(".", "").isidentifier() and factory.isidentifier()):
        if weights is not None:
            raise InputError(f"--weights belongs to a network given as module:factory; {name} has its own")
        return read_program(to_read(name), trust=trust)
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        make = getattr(importlib.import_module(module_name), factory)
        model = make()
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name}: there is no Python module {error.name!r}, neither installed nor in this folder"
        ) from error
    except (AttributeError, TypeError) as error:
        raise InputError(f"{name}: {factory} must be a function without arguments of {module_name}; {error}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(model, nn.Module):
        raise InputError(f"{name} must return a torch.nn.Module, got {type(model).__name__}")
    if weights is not None:
        load_weights(model, weights)
    return model.eval()


def read_data(name: str, split: Any, data_dir: str | None, most: int) -> Data:
    """Return at most so many inputs of a file or a data set, with their labels if it has any.

    A data set gives images (n, channels, height, width) with grey levels from 0 to 1, spread over the whole set.
    """
    if name in SETS:
        read = load_cifar if name == "cifar10" else load
        found = read(name, split, data_dir)
        chosen = np.random.default_rng(0).permutation(len(found))[:most]
        pixels = found.pixels[chosen].astype(np.float32) / np.float32(255)
        return Data(pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2), found.labels[chosen])
    path = to_read(name)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"{name}: expected an .npy or .npz file, or a data set among {', '.join(SETS)}")
    try:
        arrays = {"inputs": read_npy(path)} if path.suffix == ".npy" else read_npz(path)
    except OSError as error:
        raise DataError(f"{path}: expected a file of inputs; {error.strerror or error}") from error
    except InputError as error:
        raise DataError(str(error)) from error
    if "inputs" not in arrays:
        raise DataError(f"{path}: expected an array `inputs`; found {', '.join(arrays)[:200] or 'none'}")
    inputs, labels = arrays["inputs"], arrays.get("labels")
    if inputs.dtype.kind not in "fiub" or inputs.ndim < 2 or not len(inputs):
        raise DataError(f"{path}: expected numbers (n, ...) with n at least 1; found {inputs.dtype} {inputs.shape}")
    if labels is not None and (labels.shape[:1] != (len(inputs),) or labels.dtype.kind not in "biuf"):
        raise DataError(f"{path}: expected one label an input, ({len(inputs)},); found {labels.dtype} {labels.shape}")
    first = slice(None) if split == "train" else slice(most)
    return Data(inputs[first].astype(np.float32), None if labels is None else labels[first])
