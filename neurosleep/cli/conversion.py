"""What `neurosleep convert` does: read a network and data, convert, look at what was lost, write a folder."""

import importlib
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from neurosleep.converters import to_spiking_graph
from neurosleep.converters.checkpoint import load_weights
from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.normalization import GraphNormalization, Per
from neurosleep.converters.graph.programs import read_program
from neurosleep.converters.graph.reader import MaxPoolOption
from neurosleep.converters.graph.report import conversion_report
from neurosleep.converters.nir.export import export_report, write_nir
from neurosleep.converters.nir.targets import Target, profile_of
from neurosleep.data import load, load_cifar
from neurosleep.data.idx import DataError
from neurosleep.figures.conversion import draw
from neurosleep.sims.awake.graph import Reset
from neurosleep.sims.errors import InputError

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
    images: int
    accept_changes: bool
    data_dir: str | None


class Data(NamedTuple):
    """Inputs (n, ...) and, where there are any, labels (n,)."""

    inputs: NDArray[np.floating]
    labels: NDArray[np.int64] | None


def run(request: Request) -> str:
    """Convert a network, write the folder, and return what is to be said of it.

    Raises
    ------
    InputError
        If the folder exists, or network and data do not fit; nothing is written then. Likewise for a network that
        cannot be converted or that the target cannot express.
    """
    if request.out.exists():
        raise InputError(f"{request.out} exists already; choose another folder with --out, or remove it")
    model = read_model(request.model, request.weights)
    calibration = read_data(request.calibration, "train", request.data_dir, CALIBRATION)
    wanted = request.test or request.calibration
    test = read_data(wanted, "test", request.data_dir, request.images)
    graph = to_spiking_graph(
        model,
        calibration.inputs,
        normalization=request.normalization,
        percentile=request.percentile,
        per=request.per,
        reset=request.reset or profile_of(request.target).reset,
        max_pool=request.max_pool,
    )
    changes = export_report(graph, request.target)
    if changes.changes and not request.accept_changes:
        raise ConversionError(
            f"{request.target} would run something else: {'; '.join(map(str, changes.changes))}; convert with other "
            "options, choose another --target, or give --accept-changes"
        )
    report = conversion_report(model, graph, test.inputs, test.labels, steps=request.steps)
    text = f"{report}\n\n{changes}\n"

    request.out.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{request.out.name}-", dir=request.out.parent))
    try:
        write_nir(half / "network.nir", graph, target=request.target, accept_changes=request.accept_changes)
        found = {"conversion": report.to_dict(), "export": asdict(changes)}
        (half / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (half / "report.txt").write_text(text, encoding="utf-8")
        draw(report, half / "conversion.png")
        half.chmod(0o755)
        half.rename(request.out)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return f"{text}\nwritten into {request.out}: network.nir, report.json, report.txt, conversion.png"


def read_model(name: str, weights: Path | None) -> nn.Module:
    """Return a network by the name of its file, or by ``module:factory`` and the file of its state dict.

    The module is looked for as Python does, and in the present folder. Files of state dicts are read without running
    anything in them.
    """
    module_name, colon, factory = name.rpartition(":")
    if not (colon and module_name.replace(".", "").isidentifier() and factory.isidentifier()):
        if weights is not None:
            raise InputError(f"--weights belongs to a network given as module:factory; {name} has its own")
        return read_program(Path(name))
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
    path = Path(name)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"{name}: expected an .npy or .npz file, or a data set among {', '.join(SETS)}")
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {"inputs": content} if path.suffix == ".npy" else {key: content[key] for key in content.files}
    except OSError as error:
        raise DataError(f"{path}: expected a file of inputs; {error.strerror or error}") from error
    except (ValueError, EOFError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a whole {path.suffix} file of numbers ({error})") from error
    if "inputs" not in arrays:
        raise DataError(f"{path}: expected an array `inputs`; found {', '.join(arrays) or 'none'}")
    inputs, labels = arrays["inputs"], arrays.get("labels")
    if inputs.dtype.kind not in "fiub" or inputs.ndim < 2 or not len(inputs):
        raise DataError(f"{path}: expected numbers (n, ...) with n at least 1; found {inputs.dtype} {inputs.shape}")
    if labels is not None and (labels.shape != (len(inputs),) or labels.dtype.kind not in "iu"):
        raise DataError(
            f"{path}: expected one class index an input, ({len(inputs)},); found {labels.dtype} {labels.shape}"
        )
    first = slice(None) if split == "train" else slice(most)
    return Data(inputs[first].astype(np.float32), None if labels is None else labels[first].astype(np.int64))
