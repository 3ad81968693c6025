"""Files of networks: programs, TorchScript, state dicts, learners, trainings, layers, NIR."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurosleep.converters import from_nir, to_spiking_graph, write_nir
from neurosleep.converters.checkpoint import load_weights
from neurosleep.converters.graph.programs import read_program
from neurosleep.features import training
from neurosleep.features.architectures import save_weights, untrained
from neurosleep.features.cache import load_backbone
from neurosleep.networks import relu_network
from neurosleep.sims.awake.present import present
from neurosleep.tripartite import NREM, Architecture, Learner, Night, ReplayNetwork, Settings

from . import hdf5, oddities
from .formats import Format, sane
from .zips import ZIPS

SIZES = (12, 8, 4)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return relu_network(SIZES).eval()


def _x() -> torch.Tensor:
    return torch.rand(3, SIZES[0], generator=torch.Generator().manual_seed(1))


def _program(folder: Path) -> None:
    torch.export.save(torch.export.export(_network(), (_x(),)), folder / "network.pt2")


def _script(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(_network(), _x()), folder / "network.pt")


def _answers(name: str) -> Any:
    def read(folder: Path, number: int) -> Any:
        network = read_program(folder / name)
        with torch.no_grad():
            return network(_x()), dict(network.named_parameters()), dict(network.named_buffers())

    return read


def _weights(folder: Path) -> None:
    state = _network().state_dict()
    torch.save(state, folder / "weights.pt")
    torch.save({"epoch": 3, "model": {f"module.{k}": v for k, v in state.items()}}, folder / "checkpoint.pt")


def _loaded(folder: Path, number: int) -> Any:
    found = []
    for name in ("weights.pt", "checkpoint.pt"):
        model = relu_network(SIZES)
        load_weights(model, folder / name)
        found.append(dict(model.state_dict()))
    return found


def _learner(folder: Path) -> None:
    architecture = Architecture(features=12, hidden=(8, 8), latents=3, classes=4)
    network = ReplayNetwork(architecture, torch.Generator().manual_seed(0))
    learner = Learner(network, Settings(learning_rate=2e-3), 0)
    for number in (1, 2):
        labels = torch.tensor([2 * number - 2, 2 * number - 1]).repeat_interleave(20)
        learner.begin_task([2 * number - 2, 2 * number - 1])
        learner.sleep(Night([NREM(3, 8)]), torch.rand(40, 12), labels)
    learner.save(folder / "learner.pt")


def _learned(folder: Path, number: int) -> Any:
    learner = Learner.load(folder / "learner.pt")
    state = dict(learner.network.state_dict())
    numbers = learner.task, learner.n_old, learner.stage, learner.iteration, learner.seconds, learner.seed
    for count in (*numbers[:4], numbers[5]):
        sane(isinstance(count, int) and 0 <= count < 2**64, f"numbers {numbers}")
    sane(isinstance(numbers[4], int | float) and 0 <= numbers[4] < np.inf, f"seconds {numbers[4]}")
    sane(learner.n_old <= len(learner.seen), "more old classes than there are")
    sane(
        all(0 <= c < learner.network.architecture.classes for c in learner.seen.tolist()), "classes that are not there"
    )
    moments = learner.optimizer.state_dict()["state"]
    records = [record.to_dict() for record in learner.records]
    return state, moments, numbers, learner.seen, learner.totals, records, learner.looks, learner.memory.count


def _small() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    return model, torch.optim.Adam(model.parameters(), fused=True)


_KEY = {"layers": "conv-cifar10", "epochs": 3, "images": "made"}


def _training(folder: Path) -> None:
    model, optimizer = _small()
    model(torch.rand(4, 6)).sum().backward()
    optimizer.step()
    history = [{"epoch": 1, "loss": 0.5, "test_accuracy": 0.25}]
    state = {"key": _KEY, "history": history, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, folder / "checkpoint.pt")


def _trained(folder: Path, number: int) -> Any:
    model, optimizer = _small()
    history = training._resume(folder / "checkpoint.pt", _KEY, model, optimizer)
    return history, dict(model.state_dict()), optimizer.state_dict()["state"]


def _layers(folder: Path) -> None:
    torch.manual_seed(0)
    save_weights(folder / "layers.npz", untrained("vgg-cifar100", "cifar10"))


def _backbone(folder: Path, number: int) -> Any:
    return dict(load_backbone(folder / "layers.npz").state_dict())


def _nir(folder: Path) -> None:
    torch.manual_seed(0)
    convolutional = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    for name, model, x in (("dense", _network(), _x()), ("conv", convolutional, torch.rand(3, 1, 6, 6))):
        graph = to_spiking_graph(model, x.numpy(), reset="zero", initial=0.0)
        write_nir(folder / f"{name}.nir", graph, accept_changes=True)


def _graphs(folder: Path, number: int) -> Any:
    found = []
    for name in ("dense", "conv"):
        graph = from_nir(folder / f"{name}.nir")
        sane(np.isfinite(graph.dt) and graph.dt > 0, f"dt {graph.dt}")
        shown = present(graph, np.full((1, *graph.input_shape), 0.5, np.float32), 5, backend="reference")
        found.append((graph.dt, [p.name for p in graph.populations], list(shown.spike_counts.values())))
        for p in graph.populations:
            sane(bool(np.isfinite(p.threshold).all()), f"threshold {p.threshold}")
            found.append((p.threshold, p.bias, p.decay))
    return found


FORMATS = (
    Format(
        "program",
        _program,
        _answers("network.pt2"),
        ("network.pt2",),
        (*ZIPS, ZIPS[3], ZIPS[3]),
        checksum=True,
        weight=0.5,
    ),
    Format(
        "torchscript", _script, _answers("network.pt"), ("network.pt",), (*ZIPS, ZIPS[3]), checksum=True, weight=0.3
    ),
    Format("weights", _weights, _loaded, ("weights.pt", "checkpoint.pt"), ZIPS, checksum=True),
    Format("learner", _learner, _learned, ("learner.pt",), ZIPS, checksum=True),
    Format("training", _training, _trained, ("checkpoint.pt",), ZIPS, checksum=True, weight=0.5),
    Format(
        "layers",
        _layers,
        _backbone,
        ("layers.npz",),
        (*ZIPS, oddities.npz, oddities.npz_header),
        checksum=True,
        weight=0.2,
    ),
    Format("nir", _nir, _graphs, ("dense.nir", "conv.nir"), hdf5.STRUCTURES),
)
