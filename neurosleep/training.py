"""Awake training: stochastic gradient descent on labelled data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from weakref import WeakSet

import torch
from torch import nn
from torch.nn import functional

from neurosleep.converters.batches import Batches
from neurosleep.converters.tracing import evaluating
from neurosleep.examples import Examples
from neurosleep.sims.errors import InputError, NeurosleepError
from neurosleep.sims.fields import settle

LossName = Literal["squared-error", "cross-entropy"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def squared_error(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Squared error of rectified outputs against one-hot labels, with the gradient of the released SRC code.

    That code rectifies the outputs, but passes the error ``relu(z) - y`` back as if it had not. This is the gradient of
    ``relu(z)**2 / 2 - y * z + y**2 / 2``, which is ``(z - y)**2 / 2`` wherever z is not negative. Summed over outputs,
    averaged over the batch.

    Parameters
    ----------
    outputs
        (n, n_classes) values of the last layer, before any rectification.
    labels
        (n,) class indices.
    """
    target = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return (outputs.relu().square() / 2 - target * outputs + target / 2).sum(1).mean()


LOSSES: dict[str, Loss] = {"squared-error": squared_error, "cross-entropy": functional.cross_entropy}


def resolve_loss(name: LossName) -> Loss:
    """Return the loss of a name: "squared-error" as released, "cross-entropy" as printed in the paper."""
    if name not in LOSSES:
        raise InputError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]


Products = Literal["float32", "bfloat16"]


@contextmanager
def products(precision: Products) -> Iterator[None]:
    """Let matrix products of float32 values round their factors to bfloat16 where the processor is faster so, or not.

    Sums, weights and all else stay float32 (`torch.set_float32_matmul_precision`).
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "bfloat16" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class DivergenceError(NeurosleepError, ArithmeticError):
    """Training left weights that are not finite."""


class Steps:
    """What a training does besides its plain steps: nothing here, more in methods of continual learning."""

    def loss(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, loss: Loss) -> torch.Tensor:
        """Return what one step minimises: `loss` of the model's outputs, and whatever a method adds."""
        return loss(model(inputs), labels)

    def gentler(self) -> str:
        """Return what else to try if training diverges, as ", a smaller strength"."""
        return ""

    def before_step(self, model: nn.Module) -> None:
        """Look at the gradients, or change them, before the optimizer uses them."""

    def after_step(self, model: nn.Module) -> None:
        """Look at the weights that the optimizer has just changed."""


@dataclass(frozen=True)
class Trainer:
    """How a network is trained on one task.

    Parameters
    ----------
    epochs, batch_size
        Passes over the task's data and inputs per step. A last, smaller batch is used too.
    learning_rate, momentum
        Of plain SGD; momentum carries over from task to task (and through sleep) where the optimizer does.
    loss
        "squared-error" (released code) or "cross-entropy" (paper).
    later_learning_rate
        That of all tasks but the first, see `of_task`; the same if None.
    """

    epochs: int = 2
    batch_size: int = 100
    learning_rate: float = 0.1
    momentum: float = 0.5
    loss: LossName = "squared-error"
    later_learning_rate: float | None = None

    def __post_init__(self) -> None:
        settle(self)
        if self.epochs < 0 or self.batch_size < 1:
            raise InputError(
                f"epochs must be at least 0 and batch_size at least 1, got {self.epochs} and {self.batch_size}"
            )
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise InputError(
                "learning_rate must be positive and momentum from 0 to below 1, "
                f"got {self.learning_rate} and {self.momentum}"
            )
        if self.later_learning_rate is not None and not self.later_learning_rate > 0:
            raise InputError(f"later_learning_rate must be positive, or left out, got {self.later_learning_rate}")
        resolve_loss(self.loss)

    def of_task(self, number: int) -> "Trainer":
        """Return how the task of a number, 1 for the first, is trained."""
        if number == 1 or self.later_learning_rate is None:
            return self
        return replace(self, learning_rate=self.later_learning_rate)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return a fresh optimizer for a model."""
        return torch.optim.SGD(model.parameters(), lr=self.learning_rate, momentum=self.momentum, fused=True)

    def train(
        self,
        model: nn.Module,
        inputs: Any,
        labels: torch.Tensor | None = None,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        generator: torch.Generator | None = None,
        steps: Steps | None = None,
        on_epoch: Callable[[], None] | None = None,
    ) -> None:
        """Train a model in place.

        Frozen layers (``requires_grad_(False)``) stay as they are, the running statistics of a batch normalisation
        included, and so do modules that are in evaluation mode while the model is in training mode. Afterwards the
        model is in evaluation mode.

        Parameters
        ----------
        model
            Any classifier.
        inputs, labels
            (n, ...) and (n,) on the model's device. Or a Dataset of (input, label), which is read on the way; or a
            DataLoader, or another iterable of batches (inputs, labels), whose batches are the steps, in its order. Of
            these, no more than a batch is held.
        optimizer
            Keep one across tasks to keep its momentum; its learning rate becomes this trainer's. Fresh if None.
        generator
            CPU generator of the order of the inputs, where it is not a loader's; the global one if None.
        steps
            What is done besides plain steps, for example a method of continual learning.
        on_epoch
            Called after every epoch.

        Raises
        ------
        InputError
            If there are no inputs, or not as many labels.
        DivergenceError
            If weights are no longer finite after an epoch.
        """
        examples = Examples(inputs, labels, self.batch_size, generator, model, self.epochs)
        loss = resolve_loss(self.loss)
        if optimizer is not None and not _optimizes(optimizer, model):
            raise InputError("optimizer holds no weights of this model: make one for it, trainer.optimizer(model)")
        optimizer = optimizer or self.optimizer(model)
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        steps = steps or Steps()
        _begin_training(model)
        for epoch in range(1, self.epochs + 1):
            for x, y in examples:
                optimizer.zero_grad()
                torch.autograd.backward(steps.loss(model, x, y, loss))
                steps.before_step(model)
                optimizer.step()
                steps.after_step(model)
            if not all(torch.isfinite(p).all() for p in model.parameters()):
                raise DivergenceError(
                    f"training diverged in epoch {epoch} of {self.epochs}: weights are no longer finite; try a "
                    f"learning_rate below {self.learning_rate}{steps.gentler()}, or, after sleep, gentler plasticity "
                    "(inc, dec)"
                )
            if on_epoch is not None:
                on_epoch()
        model.eval()


_held: WeakSet[nn.Module] = WeakSet()
"""Modules that their owner had put into evaluation mode when the model around them was first trained."""


def _begin_training(model: nn.Module) -> None:
    """Put a model into training mode, but for what is frozen in it or held in evaluation mode; see `Trainer.train`."""
    if model.training:  # not as an earlier training left it, but as its owner wants it
        for module in model.modules():
            (_held.discard if module.training else _held.add)(module)
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        frozen = bool(own) and not any(p.requires_grad for p in own)
        module.training = not frozen and module not in _held


def _optimizes(optimizer: torch.optim.Optimizer, model: nn.Module) -> bool:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return any(id(p) in held for p in model.parameters())


@torch.no_grad()
def predict(model: nn.Module, inputs: Any, batch_size: int | None = None) -> torch.Tensor:
    """Return the class of each input, (n,) int64, with dropout off; the model's mode is left as it was.

    Inputs are a tensor (n, ...), or a Dataset, a DataLoader or another iterable of batches, in their order.
    `batch_size` is 2000, and 200 for images, whose activations stay in the processor's cache then: twice as fast.
    """
    batches = Batches(inputs)
    batch_size = batch_size or (2000 if len(batches.shape) <= 1 else 200)
    like = batches.whole if batches.whole is not None else next(model.parameters(), torch.empty(0))
    with evaluating(model):
        return torch.cat([model(batch.to(like)).argmax(1) for batch, _ in batches.parts(batch_size)])
