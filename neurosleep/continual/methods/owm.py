"""Orthogonal weight modification: learn only where old inputs do not reach."""

import torch
from torch import nn

from neurosleep.continual.methods.base import Method
from neurosleep.continual.methods.checks import checked_count, checked_number, trainable
from neurosleep.continual.stream import Task
from neurosleep.converters.tracing import evaluating
from neurosleep.examples import Data, parts
from neurosleep.sims.errors import InputError


class OWM(Method):
    r"""Orthogonal weight modification (Zeng, Chen, Cui & Yu 2019, Nature Machine Intelligence 1:364).

    Every change of a layer's weights W (n_out, n_in) is multiplied by a projector P (n_in, n_in),

    .. math:: W \leftarrow W + \Delta W P, \qquad P = \left(I + \tfrac{1}{\alpha} \sum_b x_b x_b^T\right)^{-1}

    where :math:`x_b` are the layer's mean inputs over batches of old tasks, so that what the layer answers to them
    stays nearly as it was. P is updated by recursive least squares, after each task with that task's batches (the
    source does so while the task is trained). A bias counts as the weight of one more input that is always 1. What is
    projected is the change that the optimizer made, so that momentum of earlier tasks cannot slip through.

    Keeps no inputs: one matrix for each layer, whatever was seen.

    Parameters
    ----------
    alpha
        The smaller, the more directions of old inputs are closed to new learning.
    batch_size
        Inputs in each mean, in the order of the data; 1 for every input by itself.

    Notes
    -----
    All trainable parameters must belong to `torch.nn.Linear` layers; freeze the others (``requires_grad_(False)``).
    """

    name = "owm"

    def __init__(self, alpha: float = 0.1, batch_size: int = 100) -> None:
        self.alpha = checked_number("alpha", alpha, positive=True)
        self.batch_size = checked_count("batch_size", batch_size)
        self.projectors: dict[str, torch.Tensor] = {}
        self._projectors_before: dict[str, torch.Tensor] = {}
        self._used: dict[str, torch.Tensor] = {}
        self._weights: dict[str, torch.Tensor] = {}

    def begin_task(self, model: nn.Module, task: Task, number: int) -> None:
        """Take the projectors of all earlier tasks.

        Raises
        ------
        InputError
            If something else than linear layers is to be trained.
        """
        super().begin_task(model, task, number)
        layers = _layers(model)
        self._projectors_before = self.projectors
        self._used = {name: p.to(layers[name].weight.dtype) for name, p in self.projectors.items()}

    def before_step(self, model: nn.Module) -> None:
        """Remember the weights."""
        self._weights.clear()
        if self._used:
            self._weights.update((name, _weights(layer)) for name, layer in _layers(model).items())

    def after_step(self, model: nn.Module) -> None:
        """Leave of the change only what is orthogonal to old inputs."""
        if not self._used:
            return
        with torch.no_grad():
            for name, layer in _layers(model).items():
                if name not in self._used:
                    continue  # no old input has reached this layer
                old = self._weights[name]
                new = torch.addmm(old, _weights(layer) - old, self._used[name])
                if layer.weight.requires_grad:
                    layer.weight.copy_(new[:, : layer.in_features])
                if layer.bias is not None and layer.bias.requires_grad:
                    layer.bias.copy_(new[:, -1])

    def consolidate(self, model: nn.Module, task: Task) -> None:
        """Close the directions of this task's inputs."""
        self._weights, self._used = {}, {}
        updated = dict(self._projectors_before)
        for name, x in self._mean_inputs(model, task.inputs).items():
            p = self._projectors_before.get(name)
            if p is None:
                p = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
            # all steps of the recursion at once: (P^-1 + x^T x / alpha)^-1 by the Woodbury identity
            px = p @ x.T
            gain = torch.linalg.solve(x @ px + self.alpha * torch.eye(len(x), dtype=x.dtype, device=x.device), px.T)
            p = p - px @ gain
            updated[name] = (p + p.T) / 2
        self.projectors = updated

    def _mean_inputs(self, model: nn.Module, inputs: Data) -> dict[str, torch.Tensor]:
        """Return each layer's mean inputs over batches, (n_batches, n_in) float64, and a 1 for the bias."""
        means: dict[str, list[torch.Tensor]] = {}
        layers = _layers(model)

        def keep(layer: nn.Linear, x: torch.Tensor, name: str) -> None:
            mean = x.detach().reshape(-1, layer.in_features).to(torch.float64).mean(0)
            means.setdefault(name, []).append(mean if layer.bias is None else torch.cat([mean, mean.new_ones(1)]))

        hooks = [
            layer.register_forward_pre_hook(lambda layer, x, name=name: keep(layer, x[0], name))
            for name, layer in layers.items()
        ]
        try:
            with torch.no_grad(), evaluating(model):
                for batch in parts(inputs, self.batch_size):
                    model(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return {name: torch.stack(rows) for name, rows in means.items()}


def _layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers that learn, by name, or raise if anything else does."""
    layers = {}
    known = set()
    for name, module in model.named_modules():
        if type(module) is nn.Linear and any(p.requires_grad for p in module.parameters()):
            layers[name] = module
            known |= {id(p) for p in (module.weight, module.bias)}
    others = [name for name, p in trainable(model).items() if id(p) not in known]
    if others or not layers:
        raise InputError(
            "OWM projects the weights of torch.nn.Linear layers only, but "
            + (f"{', '.join(others)} would be trained too" if others else f"{type(model).__name__} has none to train")
            + ": freeze all else (parameter.requires_grad_(False)), or choose another method, for example EWC"
        )
    return layers


def _weights(layer: nn.Linear) -> torch.Tensor:
    """Return a copy of the weights (n_out, n_in), with the bias as one more column where there is one."""
    weight = layer.weight.detach()
    return weight.clone() if layer.bias is None else torch.cat([weight, layer.bias.detach()[:, None]], dim=1)
