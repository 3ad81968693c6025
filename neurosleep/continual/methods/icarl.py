"""iCaRL: exemplars of every class, distillation, and the nearest mean of exemplars."""

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.checks import checked_choice, checked_count, checked_number
from neurosleep.continual.methods.distillation import distillation, frozen_copy
from neurosleep.continual.methods.exemplars import evaluation, herding, last_layer_inputs, nearest_mean
from neurosleep.continual.stream import Task
from neurosleep.examples import Data, together
from neurosleep.sims.errors import InputError
from neurosleep.training import Loss

IcarlLoss = Literal["softmax", "sigmoid"]
Selection = Literal["herding", "random"]
Features = Callable[[nn.Module, torch.Tensor], torch.Tensor]
_BATCH = 2000


class ICaRL(Method):
    r"""Incremental classifier and representation learning (Rebuffi et al. 2017, CVPR; arXiv 1611.07725).

    A fixed number of exemplars is shared out among the classes seen so far, each having :math:`m = \lfloor K / s
    \rfloor`. They are trained along with every new task, where the network as it was before the task teaches the old
    classes. An input is of the class whose exemplars' mean is nearest to it among the network's features.

    Parameters
    ----------
    capacity
        K, exemplars of all classes together.
    loss
        "softmax": the trainer's own loss of all inputs, and distillation of the old classes (see `distillation`).
        "sigmoid", as in the source: binary cross-entropy of each class, summed over classes and averaged over inputs,
        with one-hot labels for the classes of the task and the old network's outputs for the others.
    selection
        "herding": exemplars whose mean comes close to that of their class, the best first. "random": any.
    means_with_dropout
        Whether the means of the exemplars are taken with dropout on, as in the released SRC scripts.
    normalize_features
        Whether features and means are scaled to length 1, as in the source.
    temperature
        Of the distillation of "softmax".
    seed
        Of random exemplars, and of dropout in their means.
    features
        Given the network and inputs (n, ...), returns features (n, n_features). None for the inputs of the linear
        layer that the network computes last, with dropout off (on for `means_with_dropout`).
    """

    name = "icarl"

    def __init__(
        self,
        capacity: int = 100,
        loss: IcarlLoss = "softmax",
        selection: Selection = "herding",
        means_with_dropout: bool = False,
        normalize_features: bool = True,
        temperature: float = 2.0,
        seed: int = 0,
        features: Features | None = None,
    ) -> None:
        self.capacity = checked_count("capacity", capacity)
        self.loss_kind: IcarlLoss = cast(IcarlLoss, checked_choice("loss", loss, ("softmax", "sigmoid")))
        self.selection: Selection = cast(Selection, checked_choice("selection", selection, ("herding", "random")))
        self.means_with_dropout = means_with_dropout
        self.normalize_features = normalize_features
        self.temperature = checked_number("temperature", temperature, positive=True)
        self.features: Features = features or last_layer_inputs
        self.exemplars: dict[int, torch.Tensor] = {}
        self._exemplars_before: dict[int, torch.Tensor] = {}
        self._means: torch.Tensor | None = None
        self._old: nn.Module | None = None
        self._task_classes: tuple[int, ...] = ()
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Copy the network as it is, if it has learned anything yet.

        Raises
        ------
        InputError
            If there would be less than one exemplar for each class.
        """
        super().begin_task(model, task, number)
        self._exemplars_before = self.exemplars
        self._task_classes = task.classes
        self._per_class()
        self._old = frozen_copy(model) if self.exemplars else None

    def training_data(self, task: Task) -> tuple[Data, torch.Tensor]:
        """Return the task's data and all exemplars."""
        old = self._exemplars_before
        labels = [torch.full((len(x),), c, dtype=task.labels.dtype, device=task.labels.device) for c, x in old.items()]
        return together(task.inputs, list(old.values())), torch.cat([task.labels, *labels])

    def loss(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, loss: Loss) -> torch.Tensor:
        """Return the loss of classification and distillation."""
        outputs = model(inputs)
        old_outputs = None
        if self._old is not None:
            with torch.no_grad():
                old_outputs = self._old(inputs)
        if self.loss_kind == "softmax":
            own = loss(outputs, labels)
            if old_outputs is None:
                return own
            return own + distillation(outputs, old_outputs, list(self._exemplars_before), self.temperature)
        targets = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
        if old_outputs is not None:
            taught = [c for c in self._exemplars_before if c not in self._task_classes]
            targets[:, taught] = old_outputs[:, taught].sigmoid()
        known = sorted({*self._exemplars_before, *self._task_classes})
        each = functional.binary_cross_entropy_with_logits(outputs[:, known], targets[:, known], reduction="none")
        return each.sum(1).mean()

    def consolidate(self, model: nn.Module, task: Task) -> None:
        """Choose exemplars of the task's classes, and let the older ones go that have no room any more."""
        m = self._per_class()
        kept = {c: x[:m] for c, x in self._exemplars_before.items() if c not in task.classes}
        for c in task.classes:
            candidates = task.inputs[task.labels == c]
            if c in self._exemplars_before:
                candidates = torch.cat([self._exemplars_before[c], candidates])
            if not len(candidates):
                raise InputError(f"class {c} of the task {task.name!r} has no inputs, so iCaRL finds no exemplar of it")
            kept[c] = candidates[self._select(model, candidates, m)]
        self.exemplars = kept
        self._means = None

    def predict(self, model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return the class with the nearest mean of exemplars of each input, (n,) int64.

        The means are taken anew after every `consolidate`.

        Raises
        ------
        InputError
            If no task was learned yet.
        """
        if not self.exemplars:
            raise InputError("iCaRL has no exemplars before it has learned a task, so it cannot tell any class")
        if self._means is None:
            self._means = self._class_means(model)
        classes = torch.tensor(list(self.exemplars), device=inputs.device)
        return classes[nearest_mean(self._features(model, inputs), self._means)]

    @property
    def kept_inputs(self) -> int:
        """How many exemplars there are."""
        return sum(map(len, self.exemplars.values()))

    def _per_class(self) -> int:
        """Return m, the exemplars of each class when the present task is learned."""
        seen = len({*self._exemplars_before, *self._task_classes})
        if seen > self.capacity:
            raise InputError(
                f"capacity must be at least 1 exemplar for each of the {seen} classes seen so far, got {self.capacity}"
            )
        return self.capacity // max(seen, 1)

    def _select(self, model: nn.Module, candidates: torch.Tensor, m: int) -> torch.Tensor:
        """Return the indices of the exemplars among the inputs of one class, the most important first."""
        if self.selection == "random":
            return torch.randperm(len(candidates), generator=self._generator)[:m].to(candidates.device)
        return herding(self._features(model, candidates), m)

    def _class_means(self, model: nn.Module) -> torch.Tensor:
        """Return the mean features of the exemplars, (n_classes, n_features)."""
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            means = [self._features(model, x, self.means_with_dropout).mean(0) for x in self.exemplars.values()]
        return self._scaled(torch.stack(means))

    def _features(self, model: nn.Module, inputs: torch.Tensor, dropout: bool = False) -> torch.Tensor:
        """Return the features of inputs, (n, n_features), scaled where they should be."""
        with torch.no_grad(), evaluation(model, dropout=dropout):
            return torch.cat([self._scaled(self.features(model, x)) for x in torch.split(inputs, _BATCH)])

    def _scaled(self, features: torch.Tensor) -> torch.Tensor:
        return functional.normalize(features, dim=1) if self.normalize_features else features
