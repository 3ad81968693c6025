"""Elastic weight consolidation: weights that old tasks need are held by springs."""

from typing import Literal, cast

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.checks import checked_choice, checked_count, checked_number, copies, trainable
from neurosleep.continual.stream import Task
from neurosleep.converters.chain import linear_stages
from neurosleep.converters.tracing import evaluating
from neurosleep.sims.errors import InputError

FisherLabels = Literal["empirical", "model"]
_CHUNK = 16


class EWC(Method):
    r"""Elastic weight consolidation (Kirkpatrick et al. 2017, PNAS 114:3521).

    Training on a new task minimises its loss and

    .. math:: \frac{\lambda}{2} \sum_i F_i (w_i - w^*_i)^2

    where :math:`\lambda` is `strength`, :math:`w^*` the weights after the last task (and its night), and F the sum over
    all old tasks of the diagonal of the Fisher information of their log likelihood under the softmax of the outputs.
    One running sum and one anchor: online EWC without decay (Schwarz et al. 2018, arXiv 1805.06370, with gamma 1).

    Keeps no inputs: two numbers for each weight, whatever was seen.

    Parameters
    ----------
    strength
        Of the penalty. The step of plain gradient descent is stable while learning rate x strength x F is below 2.
    fisher
        Labels of which the Fisher information is taken: "empirical", those of the data; "model", the expectation over
        the network's own probabilities.
    fisher_inputs
        So many inputs of a task, evenly spaced over its data, give its Fisher information; all if it has fewer.
    """

    name = "ewc"

    def __init__(self, strength: float = 100.0, fisher: FisherLabels = "empirical", fisher_inputs: int = 1000) -> None:
        self.strength = checked_number("strength", strength)
        self.fisher: FisherLabels = cast(FisherLabels, checked_choice("fisher", fisher, ("empirical", "model")))
        self.fisher_inputs = checked_count("fisher_inputs", fisher_inputs)
        self.importance: dict[str, torch.Tensor] = {}
        self.anchor: dict[str, torch.Tensor] = {}
        self._importance_before: dict[str, torch.Tensor] = {}

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Put the importance of all earlier tasks aside."""
        super().begin_task(model, task, number)
        self._importance_before = self.importance

    def before_step(self, model: nn.Module) -> None:
        """Add the gradient of the penalty."""
        with torch.no_grad():
            for name, p in trainable(model).items():
                if name in self.anchor and p.grad is not None:
                    p.grad.addcmul_(self.importance[name], p - self.anchor[name], value=self.strength)

    def consolidate(self, model: nn.Module, task: Task) -> None:
        """Add the Fisher information of this task, and anchor the weights where they are."""
        count = min(self.fisher_inputs, len(task.inputs))
        chosen = torch.linspace(0, len(task.inputs) - 1, count).round().long().to(task.inputs.device)
        fisher = fisher_diagonal(model, task.inputs[chosen], task.labels[chosen], labels_of=self.fisher)
        before = self._importance_before
        self.importance = {name: f + before[name] if name in before else f for name, f in fisher.items()}
        self.anchor = copies(model)

    def penalty(self, model: nn.Module) -> float:
        """Return the penalty at the present weights."""
        with torch.no_grad():
            parts = [
                (self.importance[name] * (p - self.anchor[name]).square()).sum().item()
                for name, p in trainable(model).items()
                if name in self.anchor
            ]
        return self.strength / 2 * sum(parts)


def fisher_diagonal(
    model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, *, labels_of: FisherLabels = "empirical"
) -> dict[str, torch.Tensor]:
    r"""Return the diagonal of the Fisher information of every trainable parameter, by name, with dropout off.

    .. math:: F_i = \frac{1}{n} \sum_x \sum_c t_c(x) \left(\frac{\partial \log p_c(x)}{\partial w_i}\right)^2

    with p the softmax of the outputs, and t one-hot labels ("empirical") or p itself ("model"). Every input's gradient
    is squared by itself. In a chain of linear layers that gradient is the outer product of a layer's error and input,
    whose squares are summed over all inputs by one matrix product; any other module is differentiated input by input.

    Parameters
    ----------
    model
        A classifier whose outputs for one input do not depend on the others of the batch in evaluation.
    inputs, labels
        (n, ...) and (n,).
    labels_of
        Which labels are weighted how, see above.
    """
    with evaluating(model):
        with torch.no_grad():
            outputs = model(inputs)
        if labels_of == "model":
            weights = outputs.softmax(1)
        else:
            weights = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
        sums = _of_linear_chain(model, inputs, weights)
        if sums is None:
            sums = _of_any(model, inputs, weights)
    return {name: total / len(inputs) for name, total in sums.items()}


def _of_linear_chain(model: nn.Module, inputs: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """Return the sums over inputs by outer products, or None if inputs do not pass a chain of linear layers once."""
    try:
        stages = linear_stages(model)
    except InputError:
        return None
    owned = {f"{s.name}.{key}" for s in stages for key in ("weight", "bias")}
    parameters = trainable(model)
    if not parameters.keys() <= owned:
        return None
    passed: list[nn.Module] = []
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(layer: nn.Module, x: tuple[torch.Tensor], y: torch.Tensor) -> None:
        passed.append(layer)
        seen.append((x[0].detach(), y))

    hooks = [s.module.register_forward_hook(keep) for s in stages]
    try:
        with torch.enable_grad():
            start = inputs.detach().requires_grad_(inputs.is_floating_point())  # so that frozen layers pass errors on
            logs = model(start).log_softmax(1)
    finally:
        for hook in hooks:
            hook.remove()
    if passed != [s.module for s in stages] or any(x.dim() != 2 for x, _ in seen):
        return None  # a declared chain (`spiking_chain`) may be passed many times, in steps
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for c in _with_weight(weights):
        errors = torch.autograd.grad(logs[:, c].sum(), [y for _, y in seen], retain_graph=True)
        for stage, (x, _), error in zip(stages, seen, errors, strict=True):
            squares = error.square() * weights[:, c, None]
            for name, total in (
                (f"{stage.name}.weight", squares.T @ x.square()),
                (f"{stage.name}.bias", squares.sum(0)),
            ):
                if name in sums:
                    sums[name] += total
    return sums


def _of_any(model: nn.Module, inputs: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the sums over inputs by differentiating the model for each of them."""
    parameters = {name: p.detach() for name, p in trainable(model).items()}

    def log_likelihood(values: dict[str, torch.Tensor], x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = functional_call(model, values, (x[None],))
        return outputs[0].log_softmax(0).gather(0, c[None])[0]

    gradients = vmap(grad(log_likelihood), in_dims=(None, 0, 0))
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for c in _with_weight(weights):
        for rows in torch.split(torch.nonzero(weights[:, c])[:, 0], _CHUNK):
            found = gradients(parameters, inputs[rows], torch.full_like(rows, c))
            for name, g in found.items():
                sums[name] += torch.tensordot(weights[rows, c], g.square(), dims=1)
    return sums


def _with_weight(weights: torch.Tensor) -> list[int]:
    """Return the classes with any weight."""
    return [int(c) for c in torch.nonzero(weights.sum(0))[:, 0]]
