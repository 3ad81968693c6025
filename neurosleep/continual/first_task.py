"""Training of a first task that several learnings have in common, done once and then put back.

What comes before the first night does not depend on it. A learning in which the first task's state was put back ends
bit for bit as one that trained it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from neurosleep.training import Steps, Trainer


class Trained(NamedTuple):
    """State after the training of a task.

    Attributes
    ----------
    weights
        Parameters and buffers of the model, by name.
    momentum
        Of the optimizer, by the number of the parameter.
    common, own
        States of torch's random numbers, and of those of the order of inputs.
    """

    weights: dict[str, torch.Tensor]
    momentum: dict[int, torch.Tensor]
    common: torch.Tensor
    own: torch.Tensor | None


class Store(Protocol):
    """Keeps the state of one first task."""

    def get(self, train: Callable[[], Trained]) -> Trained | None:
        """Return the state that is kept; else let the task be trained, keep its state, and return None."""


@dataclass(frozen=True)
class OnceTrainer(Trainer):
    """Trains a first task once, and afterwards puts everything into the state that it left.

    Parameters
    ----------
    kept
        Where the state is.
    """

    kept: Store | None = field(default=None, compare=False)

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
        """Train, or restore weights, momentum and random numbers as they were after the same training."""
        optimizer = optimizer or self.optimizer(model)

        def trained() -> Trained:
            Trainer.train(
                self, model, inputs, labels, optimizer=optimizer, generator=generator, steps=steps, on_epoch=on_epoch
            )
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            states = optimizer.state_dict()["state"].items()
            momentum = {i: s["momentum_buffer"].clone() for i, s in states if s.get("momentum_buffer") is not None}
            return Trained(
                weights, momentum, torch.get_rng_state(), None if generator is None else generator.get_state()
            )

        if self.kept is None:
            trained()
        elif (state := self.kept.get(trained)) is not None:
            _put_back(state, model, optimizer, generator)
            if on_epoch is not None:
                for _ in range(self.epochs):
                    on_epoch()


def _put_back(
    trained: Trained, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator | None
) -> None:
    model.load_state_dict(trained.weights)
    state = optimizer.state_dict()
    state["state"] = {i: {"momentum_buffer": buffer.clone()} for i, buffer in trained.momentum.items()}
    optimizer.load_state_dict(state)
    torch.set_rng_state(trained.common)
    if generator is not None and trained.own is not None:
        generator.set_state(trained.own)
    model.eval()
