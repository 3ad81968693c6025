"""`neurosleep bench --suite conversion`: what conversion costs in accuracy, beside the converters of others.

Three networks with biases are trained, an MLP on MNIST and convolutional ones on Fashion-MNIST and, with batch
normalisation, CIFAR-10. Each is converted by each converter from the same calibration images, shown the same test
images as constant current for some steps, and judged by what has arrived at the output since the first.

Others are used as they come: SpikingJelly's `RateCodingRecipe` with the 99.9th percentile, and sinabs'
`normalize_weights` (its own percentile, 99) with `from_model`, whose neurons may fire several times a step. The latter
does not know batch normalisation, so it gets networks in which that is folded.
"""

import copy
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm import tqdm

from neurosleep.files import write_tensors, write_text
from neurosleep.tables import table
from neurosleep.training import products

from ..converters.graph.normalization import Per
from ..converters.graph.to_graph import to_spiking_graph
from ..data import ColourImages, Images, load, load_cifar
from ..data.catalogue import Split
from ..sims.awake.present import present
from . import machine, slept

LOOK_AT = (10, 20, 50, 100, 200)
CALIBRATION = 1000  # training images
Answers = Mapping[int, np.ndarray]
Converter = Callable[[nn.Sequential, torch.Tensor, torch.Tensor, Sequence[int]], Answers]


@dataclass(frozen=True)
class Case:
    """A network to convert.

    Attributes
    ----------
    dataset
        What it is trained and tested on.
    shape
        Of an image.
    epochs
        Of training.
    """

    dataset: str
    shape: tuple[int, ...]
    epochs: int
    make: Callable[[], nn.Sequential]


def mlp() -> nn.Sequential:
    """Return a 784-1200-1200-10 network with biases."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU(), nn.Linear(1200, 10)
    )


def cnn() -> nn.Sequential:
    """Return two convolutions with average pooling, and two dense layers, all with biases."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 256), nn.ReLU(), nn.Linear(256, 10)),
    )


def normalised_cnn() -> nn.Sequential:
    """Return four convolutions with biases, batch normalisation and average pooling, and two dense layers."""
    layers: list[nn.Module] = []
    for n_pre, n_post, pools in ((3, 32, True), (32, 64, False), (64, 64, True), (64, 128, True)):
        layers += [nn.Conv2d(n_pre, n_post, 3, padding=1), nn.BatchNorm2d(n_post), nn.ReLU()]
        layers += [nn.AvgPool2d(2)] if pools else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(), nn.Linear(256, 10))


CASES = {
    "MNIST MLP": Case("mnist", (1, 28, 28), 5, mlp),
    "Fashion-MNIST CNN": Case("fashion-mnist", (1, 28, 28), 8, cnn),
    "CIFAR-10 CNN": Case("cifar10", (3, 32, 32), 12, normalised_cnn),
}


def ours(per: Per, initial: float) -> Converter:
    """Return our converter with its default percentile, 99.9."""

    def convert(model: nn.Sequential, calibration: torch.Tensor, images: torch.Tensor, steps: Sequence[int]) -> Answers:
        graph = to_spiking_graph(model, calibration, per=per, initial=initial)
        answers: Answers = present(graph, images.numpy(), steps[-1], look_at=steps).answers
        return answers

    return convert


def spikingjelly(
    model: nn.Sequential, calibration: torch.Tensor, images: torch.Tensor, steps: Sequence[int]
) -> Answers:
    """Convert with SpikingJelly; one pass a step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        from spikingjelly.activation_based import functional as network
        from spikingjelly.activation_based.ann2snn import FXConverter
        from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

        loader = [(batch, None) for batch in torch.split(calibration, 100)]
        spiking = FXConverter(RateCodingRecipe(dataloader=loader, mode="99.9%")).convert(copy.deepcopy(model))
    answers: dict[int, list[np.ndarray]] = {step: [] for step in steps}
    for batch in torch.split(images, 200):
        network.reset_net(spiking)
        total = torch.zeros(())
        for step in range(1, steps[-1] + 1):
            total = total + spiking(batch)
            if step in answers:
                answers[step].append(total.numpy())
    return {step: np.concatenate(parts) for step, parts in answers.items()}


def sinabs(model: nn.Sequential, calibration: torch.Tensor, images: torch.Tensor, steps: Sequence[int]) -> Answers:
    """Convert with sinabs; all steps of a layer at once."""
    from sinabs.from_torch import from_model
    from sinabs.utils import normalize_weights

    model = folded(model)
    names = list(dict(model.named_children()))
    rectifiers = [name for name in names if isinstance(model[int(name)], nn.ReLU)]
    weighted = [name for name in names if isinstance(model[int(name)], nn.Linear | nn.Conv2d)]
    normalize_weights(model, calibration, rectifiers, weighted[: len(rectifiers)])
    size, last = 10, steps[-1]
    spiking = from_model(model, batch_size=size).spiking_model
    answers: dict[int, list[np.ndarray]] = {step: [] for step in steps}
    for batch in torch.split(images, size):
        for layer in spiking.modules():
            if hasattr(layer, "reset_states"):
                layer.reset_states()
        if len(batch) < size:
            batch = torch.cat([batch, batch[:1].expand(size - len(batch), *batch.shape[1:])])
        out = spiking(batch.repeat_interleave(last, 0)).reshape(size, last, -1).cumsum(1)
        for step in steps:
            answers[step].append(out[:, step - 1].numpy())
    return {step: np.concatenate(parts)[: len(images)] for step, parts in answers.items()}


def folded(model: nn.Sequential) -> nn.Sequential:
    """Return the network with batch normalisation folded into the convolutions before it, numbered from 0."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(model):
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers).eval()


CONVERTERS: dict[str, tuple[str | None, Converter]] = {
    "ours": (None, ours("layer", 0.5)),
    "ours, per channel": (None, ours("channel", 0.5)),
    "ours, from potential 0": (None, ours("layer", 0.0)),
    "SpikingJelly": ("spikingjelly", spikingjelly),
    "sinabs": ("sinabs", sinabs),
}


def images_of(case: Case, split: Split, data_dir: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (n, channels, height, width) with grey levels from 0 to 1, and labels."""
    if case.dataset == "cifar10":
        found: ColourImages | Images = load_cifar(case.dataset, split, data_dir=data_dir)
    else:
        found = load(case.dataset, split, data_dir=data_dir)
    images = torch.from_numpy(found.pixels).float() / 255
    if images.ndim == 4:
        images = images.permute(0, 3, 1, 2)
    return images.reshape(-1, *case.shape).contiguous(), torch.from_numpy(found.labels)


def trained(case: Case, path: Path, data_dir: str | None, seed: int = 0) -> nn.Sequential:
    """Return the network, trained before into `path` or now."""
    torch.manual_seed(seed)
    model = case.make()
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    x, y = images_of(case, "train", data_dir)
    optimizer = torch.optim.Adam(model.parameters())
    size = 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=case.epochs * (len(x) // size))
    with products("bfloat16"), tqdm(total=schedule.total_steps, desc=path.stem, unit="batch") as bar:
        for _ in range(case.epochs):
            for batch in torch.split(torch.randperm(len(x))[: len(x) // size * size], size):
                optimizer.zero_grad()
                functional.cross_entropy(model(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                bar.update()
    write_tensors(path, model.state_dict())
    return model.eval()


@torch.no_grad()
def measure(case: Case, model: nn.Sequential, n_images: int, data_dir: str | None) -> list[dict[str, object]]:
    """Return a row a converter: what is lost against the network itself, in points, by steps."""
    calibration = images_of(case, "train", data_dir)[0][:: 60_000 // CALIBRATION][:CALIBRATION]
    x, y = images_of(case, "test", data_dir)
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:n_images]
    x, y = x[chosen], y[chosen]
    right = (torch.cat([model(batch) for batch in torch.split(x, 500)]).argmax(1) == y).double().mean().item()
    rows = []
    for name, (needs, convert) in CONVERTERS.items():
        if needs is not None and find_spec(needs) is None:
            click.echo(f"{name} is left out: it is not installed (pip install {needs})", err=True)
            continue
        answers = convert(model, calibration, x, LOOK_AT)
        row: dict[str, object] = {"converter": name, "accuracy of the ANN %": round(100 * right, 2)}
        for step in LOOK_AT:
            accuracy = (torch.from_numpy(answers[step]).argmax(1) == y).double().mean().item()
            row[f"lost at {step}"] = round(100 * (right - accuracy), 2)
        rows.append(row)
    return rows


def run(n_images: int, data_dir: str | None, out: Path, cases: Sequence[str] = tuple(CASES)) -> None:
    """Train, convert, measure; print the tables, and write conversion.json and the weights into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in cases:
        case = CASES[name]
        model = trained(case, out / f"{name.lower().replace(' ', '-')}.pt", data_dir)
        results[name] = measure(case, model, n_images, data_dir)
        click.echo(f"\n{name}, {n_images} test images, points lost by number of steps\n")
        click.echo(table(results[name]))
    click.echo(f"\nan MNIST network that slept, in other simulators, {n_images} test images, {slept.STEPS} steps\n")
    simulators = slept.measure(n_images, data_dir)
    click.echo(table(simulators))
    found = {"machine": machine.describe(), "n_images": n_images, "networks": results, "slept": simulators}
    write_text(out / "conversion.json", json.dumps(found, indent=1))
    click.echo(f"\nwritten into {out}: conversion.json")
