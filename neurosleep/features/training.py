"""Train the convolutional layers whose features stand for images.

Training writes a checkpoint after every epoch and goes on from it, to the same end, after any kind of interruption.
Options and recipes are in `neurosleep.features.recipes`.

Tadros et al. 2022 trained "vgg-cifar100" on Tiny ImageNet. What ships here was trained on CIFAR-100, which has no class
in common with CIFAR-10 either.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from neurosleep.converters.checkpoint import read_tensors
from neurosleep.data.cifar import ColourImages
from neurosleep.features.architectures import Convolutions, save_weights, untrained
from neurosleep.features.recipes import BackboneTraining, Precision
from neurosleep.files import write_tensors, write_text
from neurosleep.sims.errors import InputError
from neurosleep.sims.lock import Lock
from neurosleep.sims.packed import cause
from neurosleep.training import DivergenceError

__all__ = ["BackboneTraining", "accuracy", "augmented", "classifier", "train_backbone"]

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "backbone.npz"
REPORT = "training.json"
PADDING = 4  # pixels


def classifier(backbone: Convolutions, n_classes: int, seed: int) -> nn.Sequential:
    """Put dense layers behind convolutional ones, and draw all weights.

    Those of "vgg-cifar100" are drawn as He et al. (2015), with biases of zero; weights and biases of "conv-cifar10"
    uniformly within plus or minus the inverse root of the number of inputs, as in the public repository.
    """
    generator = torch.Generator().manual_seed(seed)
    head: list[nn.Module] = []
    n_pre = backbone.n_features
    for n_post in backbone.dense:
        head += [nn.Linear(n_pre, n_post), nn.ReLU()]
        n_pre = n_post
    model = nn.Sequential(backbone, nn.Sequential(*head, nn.Linear(n_pre, n_classes)))
    for module in model.modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        bound = module.weight[0].numel() ** -0.5
        for name, values in module.named_parameters():
            if backbone.layers == "conv-cifar10":
                nn.init.uniform_(values, -bound, bound, generator=generator)
            elif name == "weight":
                nn.init.kaiming_normal_(values, nonlinearity="relu", generator=generator)
            else:
                nn.init.zeros_(values)
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _optimizer(model: nn.Module, options: BackboneTraining) -> torch.optim.Optimizer:
    if options.optimizer == "adam":
        return torch.optim.Adam(
            model.parameters(),
            lr=options.learning_rate,
            betas=(options.momentum, 0.999),
            weight_decay=options.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.momentum > 0,
        fused=True,
    )


def train_backbone(
    folder: str | os.PathLike[str],
    train: ColourImages,
    test: ColourImages,
    options: BackboneTraining | None = None,
    *,
    progress: bool | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
) -> Path:
    """Train convolutional layers, or go on with a training that was interrupted.

    Parameters
    ----------
    folder
        Where checkpoint, weights and report go; made if need be. If it has a checkpoint, training goes on from it.
    train, test
        Images to train on, and to measure accuracy with after every epoch.
    options
        What to train, and how; the recipe of "vgg-cifar100" if None. They must be those of the checkpoint, if there is
        one.
    progress
        Whether to show a bar on stderr. None: only if stderr is a terminal.
    on_epoch
        Called after every epoch with its measures.

    Returns
    -------
    pathlib.Path
        The file of the trained weights, for `neurosleep.features.cache.load_backbone`.

    Raises
    ------
    InputError
        The checkpoint is damaged, or is of other options or other images; there are fewer images than a batch needs;
        "conv-cifar10" is to be trained on other images than CIFAR's.
    DivergenceError
        Weights are no longer finite.
    """
    options = options or BackboneTraining()
    backbone = untrained(options.layers, train.name)
    if options.whole_batches and len(train) < options.batch_size:
        raise InputError(f"batch_size must be at most the number of images, {len(train)}; got {options.batch_size}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / ".lock", f"another process trains in {folder}: wait until it ends, or give another folder"):
        return _train(folder, backbone, train, test, options, progress, on_epoch)


def _train(
    folder: Path,
    backbone: Convolutions,
    train: ColourImages,
    test: ColourImages,
    options: BackboneTraining,
    progress: bool | None,
    on_epoch: Callable[[Mapping[str, float]], None] | None,
) -> Path:
    """Train what is left, and write weights and report."""
    key = {**asdict(options), "images": f"{train.name}, {train.form}", "n_images": len(train)}
    model = classifier(backbone, len(train.label_names), options.seed)
    optimizer = _optimizer(model, options)
    history = _resume(folder / CHECKPOINT, key, model, optimizer)
    padded = np.pad(train.pixels, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)), options.edges)
    labels = torch.from_numpy(train.labels)
    for epoch in range(len(history), options.epochs):
        loss = _epoch(model, optimizer, padded, labels, options, epoch, progress)
        if not all(torch.isfinite(p).all() for p in model.parameters()):
            raise DivergenceError(
                f"training diverged in epoch {epoch + 1} of {options.epochs}: weights are no longer finite; "
                f"try a learning rate below {options.learning_rate}"
            )
        measures = {"epoch": epoch + 1, "loss": loss, "test_accuracy": accuracy(model, test, options.precision)}
        history.append(measures)
        state = {"key": key, "history": history, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        write_tensors(folder / CHECKPOINT, state)
        if on_epoch is not None:
            on_epoch(measures)
    weights = folder / WEIGHTS
    save_weights(weights, backbone)
    report = json.dumps({"options": key, "history": history}, indent=1)
    write_text(folder / REPORT, report + "\n")
    return weights


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    padded: NDArray[np.uint8],
    labels: torch.Tensor,
    options: BackboneTraining,
    epoch: int,
    progress: bool | None,
) -> float:
    """Train for one epoch, all of whose randomness is that of seed and epoch; return the mean loss."""
    rng = np.random.default_rng([options.seed, epoch])
    order = rng.permutation(len(labels))
    if options.whole_batches:
        order = order[: len(order) // options.batch_size * options.batch_size]
    batches = [order[i : i + options.batch_size] for i in range(0, len(order), options.batch_size)]
    total = 0.0
    model.train()
    bar = tqdm(
        batches,
        desc=f"epoch {epoch + 1} of {options.epochs}",
        disable=None if progress is None else not progress,
        leave=False,
    )
    for step, batch in enumerate(bar):
        for group in optimizer.param_groups:
            group["lr"] = options.rate((epoch + step / len(batches)) / options.epochs)
        inputs = torch.from_numpy(augmented(padded, batch, rng if options.augment else None)).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            outputs = model(inputs)
        loss = functional.cross_entropy(
            outputs.float(), labels[torch.from_numpy(batch)], label_smoothing=options.label_smoothing
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if options.max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), options.max_norm)
        optimizer.step()
        total += float(loss.detach()) * len(batch)
    return total / len(order)


def augmented(
    padded: NDArray[np.uint8], chosen: NDArray[np.int64], rng: np.random.Generator | None
) -> NDArray[np.uint8]:
    """Cut images out of padded ones: at random places and half of them mirrored, or in the middle without `rng`."""
    side = padded.shape[1] - 2 * PADDING
    window = np.arange(side)
    if rng is None:
        return padded[chosen, PADDING : PADDING + side, PADDING : PADDING + side]
    top, left = rng.integers(0, 2 * PADDING + 1, (2, len(chosen), 1))
    columns = np.where(rng.random((len(chosen), 1)) < 0.5, window, window[::-1]) + left
    cut: NDArray[np.uint8] = padded[chosen[:, None, None], (top + window)[:, :, None], columns[:, None, :]]
    return cut


@torch.no_grad()
def accuracy(model: nn.Module, images: ColourImages, precision: Precision, batch_size: int = 500) -> float:
    """Return the part of images whose class a model tells."""
    model.eval()
    right = 0
    for first in range(0, len(images), batch_size):
        chosen = slice(first, first + batch_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = model(torch.from_numpy(images.pixels[chosen]).permute(0, 3, 1, 2))
        right += int((outputs.argmax(1).numpy() == images.labels[chosen]).sum())
    return right / len(images)


def _resume(
    path: Path, key: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> list[dict[str, float]]:
    """Load a checkpoint, if there is one; return the measures of the epochs behind it."""
    if not path.is_file():
        return []
    try:
        state = read_tensors(path)
        found, history = state["key"], list(state["history"])
        weights, momenta = state["model"], state["optimizer"]
        differing = [name for name in key if found.get(name) != key[name]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a whole checkpoint ({cause(error)}); delete it to train from the start"
        ) from error
    if differing:
        raise InputError(
            f"{path}: this training has other options ({', '.join(differing)}); give those, or another folder"
        )
    try:
        model.load_state_dict(weights)
        optimizer.load_state_dict(momenta)
        _check_momenta(optimizer)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a whole checkpoint ({cause(error)}); delete it to train from the start"
        ) from error
    return history


def _check_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Refuse momenta that are not of the shapes of weights, which torch would use as if they were."""
    for weights, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape not in (weights.shape, ()):
                raise InputError(f"its {name} does not belong to weights of shape {tuple(weights.shape)}")
