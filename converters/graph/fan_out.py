"""How many synapses a spike of each neuron of a sleeping graph passes, as a count for the energy of hardware."""

import numpy as np
import torch
from numpy.typing import NDArray

from ...sims.operators import AveragePool, Convolution, Dense, Gather, MaxPool, Operator, Scale, Shape
from ...sims.plastic_graph import Pathway, PlasticGraph
from .operator_algebra import in_magnitude, respond, respond_all


def fan_outs(network: PlasticGraph) -> dict[str, NDArray[np.int64]]:
    """Return the number of synapses of each neuron, (n,) by population; none for those that send nothing on.

    Weights of 0 count too, and frozen ones on the way. A neuron below a pooled convolution has a synapse for each tap
    that sees a window it is in; on a way without weights it has one for each neuron that it reaches.
    """
    shapes = network.shapes
    counts = {name: np.zeros(n, dtype=np.int64) for name, n in network.populations.items()}
    for layer in network.layers:
        for pathway in layer.pathways:
            counts[pathway.source] += _passed(network, pathway, shapes[pathway.source])
    return counts


def _passed(network: PlasticGraph, pathway: Pathway, shape: Shape) -> NDArray[np.int64]:
    operators = list(pathway.before)
    if pathway.weights is not None:
        operators.append(pathway.operator(network.by_name[pathway.weights].values))
    shapes = [shape]
    for operator in operators:
        shapes.append(operator.output_shape(shapes[-1]))
    counted = any(isinstance(operator, Dense | Convolution) for operator in operators)
    passed = torch.full((1, *shapes[-1]), 0.0 if counted else 1.0, dtype=torch.float64)
    met = _met(pathway, shapes[-1]) if pathway.weights is not None else torch.ones(())
    for operator, there in zip(reversed(operators), reversed(shapes[:-1]), strict=True):
        passed, met = _before(operator, there, passed, met), torch.ones(())
    counts: NDArray[np.int64] = np.rint(passed.numpy().ravel()).astype(np.int64)
    return counts


def _met(pathway: Pathway, shape: Shape) -> torch.Tensor:
    """Return 1 for each place behind the weights, of a shape, that leads to a neuron, and 0 for others."""
    with torch.enable_grad():
        x = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
        arrives = respond_all(tuple(in_magnitude(operator) for operator in pathway.after), x)
        (gradient,) = torch.autograd.grad(arrives.sum(), x)
    return (gradient != 0).to(torch.float64)


def _before(operator: Operator, shape: Shape, passed: torch.Tensor, met: torch.Tensor) -> torch.Tensor:
    """Return how many synapses values of a shape pass, if behind an operator they pass so many where they are met."""
    if isinstance(operator, Dense):
        return (passed + met).sum().expand(1, *shape)
    linked: Operator = operator
    if isinstance(operator, Convolution):
        kernels, passed = np.ones(operator.kernels.shape), passed + met
        linked = Convolution(kernels, operator.stride, operator.padding, operator.dilation, operator.groups)
    elif isinstance(operator, AveragePool | MaxPool):
        linked = AveragePool(operator.size, operator.stride, operator.padding)
        passed = passed * float(np.prod(operator.size))
    elif isinstance(operator, Scale):
        linked = Scale((operator.factors != 0).astype(np.float64))
    elif isinstance(operator, Gather):
        linked = operator
    with torch.enable_grad():
        x = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad((respond(linked, x).reshape(passed.shape) * passed).sum(), x)
    return gradient
