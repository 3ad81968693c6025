"""A network that slept, in other simulators: the second half of `neurosleep bench --suite conversion`.

The released MNIST network (Tadros et al. 2022) learns five tasks and sleeps after each. It is converted for each
simulator, written as that needs it, imported there, and shown the same test images as constant current for 200 steps.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from neurosleep.memory import Memory
from neurosleep.night import sleep
from neurosleep.training import predict

from ..converters import to_nir, to_snntorch, to_spiking_graph
from ..data import load
from ..sims.awake.graph import SpikingGraph
from ..sims.awake.present import present
from .workloads import released, released_night

STEPS = 200
Simulator = Callable[[SpikingGraph, torch.Tensor], np.ndarray]


def slept(data_dir: str | None, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    """Return the network after its last night, and 1,000 of the images that it saw."""
    experiment = released()
    stream, trainer = experiment.stream.make(seed, data_dir), experiment.training
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = experiment.network.make(784, 10, seed)
    optimizer, memory, seen = trainer.optimizer(model), Memory(), []
    for number, task in enumerate(stream.tasks, start=1):
        trainer.train(model, task.inputs, task.labels, optimizer=optimizer, generator=generator)
        memory.observe(model, task.inputs)
        sleep(model, memory, released_night(experiment, number), seed=seed * 100 + number - 1)
        seen.append(task.inputs[:200])
    return model.eval(), torch.cat(seen)


def snntorch(graph: SpikingGraph, images: torch.Tensor) -> np.ndarray:
    """Run in snnTorch; the answer is the output's potential."""
    network, state = to_snntorch(graph), None
    for _ in range(STEPS):
        answer, state = network(images, state)
    found: np.ndarray = answer.numpy()
    return found


def norse(graph: SpikingGraph, images: torch.Tensor) -> np.ndarray:
    """Run in norse, by NIR; the answer is the sum of what arrives at the output."""
    import norse.torch

    return _stepped(norse.torch.from_nir(to_nir(graph, target="norse"), dt=graph.dt), images)


def spikingjelly(graph: SpikingGraph, images: torch.Tensor) -> np.ndarray:
    """Run in SpikingJelly, by NIR; likewise."""
    from spikingjelly.activation_based import nir_exchange

    return _stepped(nir_exchange.import_from_nir(to_nir(graph, target="spikingjelly"), dt=graph.dt), images)


def _stepped(network: Any, images: torch.Tensor) -> np.ndarray:
    state, answer = None, torch.zeros(())
    for _ in range(STEPS):
        current, state = network(images) if state is None else network(images, state)
        answer = answer + current
    found: np.ndarray = answer.numpy()
    return found


SIMULATORS: dict[str, tuple[str, dict[str, Any], Simulator]] = {
    "snnTorch": ("snntorch", {"reset": "subtract", "tie": "at"}, snntorch),
    "norse": ("norse", {"reset": "zero", "tie": "above"}, norse),
    "SpikingJelly": ("spikingjelly", {"reset": "zero", "tie": "at"}, spikingjelly),
}


@torch.no_grad()
def measure(n_images: int, data_dir: str | None) -> list[dict[str, object]]:
    """Return a row a simulator: accuracy there, here, and of the network awake, in %."""
    with torch.enable_grad():
        model, seen = slept(data_dir)
    test = load("mnist", "test", data_dir=data_dir)
    images, labels = torch.from_numpy(test.vectors()[:n_images]), test.labels[:n_images]
    awake = (predict(model, images).numpy() == labels).mean()
    rows = []
    for name, (needs, options, run) in SIMULATORS.items():
        if find_spec(needs) is None:
            click.echo(f"{name} is left out: it is not installed (pip install 'neurosleep[targets]')", err=True)
            continue
        graph = to_spiking_graph(model, seen, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their own
            theirs = run(graph, images)
        ours = present(graph, images.numpy(), STEPS, keep=()).answers[STEPS]
        rows.append(
            {
                "simulator": name,
                "reset": options["reset"],
                "there %": round(100 * float((theirs.argmax(1) == labels).mean()), 2),
                "here %": round(100 * float((ours.argmax(1) == labels).mean()), 2),
                "same answer %": round(100 * float((theirs.argmax(1) == ours.argmax(1)).mean()), 2),
                "awake %": round(100 * float(awake), 2),
            }
        )
    return rows
