"""What single nodes of NIR mean: operators, and the dynamics of neurons as a target steps them."""

from typing import Any

import numpy as np
import torch

from ...sims.operators import AveragePool, Convolution, Dense, Flatten, Floats, Operator, Scale, Shape
from ..errors import ConversionError
from ..graph.operator_algebra import one_a_channel
from ..torch_layers import each, padded
from .targets import Target, profile_of


def operators_of(name: str, node: Any, shape: Shape, target: Target) -> tuple[tuple[Operator, ...], Floats | None]:
    """Return what a node does to what it gets, of the shape `shape`, and its bias; the message of an error names it."""
    kind = type(node).__name__
    if kind in ("Affine", "Linear"):
        weight = _floats(node.weight)
        if weight.ndim != 2:
            raise ConversionError(f"node {name!r} ({kind}) has weights with {weight.ndim} axes; expected 2")
        bias = _floats(node.bias) if kind == "Affine" else None
        return (Dense(np.ascontiguousarray(weight.T)),), bias
    if kind in ("Conv1d", "Conv2d"):
        kernels = _floats(node.weight)
        space = kernels.ndim - 2
        stride, dilation = each(node.stride, space), each(node.dilation, space)
        padding = _padding(name, node.padding, kernels.shape[2:], stride, dilation)
        return (Convolution(kernels, stride, padding, dilation, int(node.groups)),), _floats(node.bias)
    if kind in ("AvgPool2d", "SumPool2d"):
        size, stride, padding = (each(x, 2) for x in (node.kernel_size, node.stride, node.padding))
        if kind == "AvgPool2d":
            return (AveragePool(size, stride, padding),), None
        if any(padding) and target in ("norse", "sinabs"):
            raise ConversionError(f"node {name!r} (SumPool2d) has padding, which {target} ignores")
        return (AveragePool(size, stride, padding), Scale(np.array(float(np.prod(size)), np.float32))), None
    if kind == "Flatten":
        start, end = (int(x) % len(shape) for x in (node.start_dim, node.end_dim))
        if target in ("norse", "snntorch") and node.start_dim >= 0:
            start = max(start - 1, 0)  # these count the batch axis
        if start > 0 or end != len(shape) - 1:
            raise ConversionError(
                f"node {name!r} (Flatten) makes one axis of {start} to {end} of {shape}; only that of all can be read"
            )
        return ((Flatten(),) if len(shape) > 1 else ()), None
    if kind == "Scale":
        factors = one_a_channel(np.broadcast_to(_floats(node.scale), shape))
        if factors is None:
            raise ConversionError(f"node {name!r} (Scale) differs within a channel; only one factor each can be read")
        return (Scale(np.ascontiguousarray(factors)),), None
    raise ConversionError(
        f"node {name!r} ({kind}) of the NIR graph cannot be read; supported are IF, LIF, I, LI, CubaLIF with "
        "immediate synapses, Affine, Linear, Conv1d, Conv2d, AvgPool2d, SumPool2d, Flatten and Scale"
    )


def dynamics(name: str, node: Any, target: Target, dt: float) -> tuple[float, float]:
    """Return what share of the potential is left after a step, and what input is multiplied by."""
    kind, profile = type(node).__name__, profile_of(target)
    for what in ("v_leak", "v_reset"):
        if np.any(_floats(getattr(node, what, 0.0)) != 0):
            raise ConversionError(f"node {name!r} ({kind}) has a {what} other than 0, which cannot be read")
    if target == "snntorch" and kind == "IF":
        raise ConversionError(
            f"node {name!r} (IF): snnTorch 1.0 imports it as leaky, with beta 0.9; read it with another target"
        )
    r = _one(name, "r", node.r)
    if target == "spikingjelly" and kind == "IF" and not np.isclose(r * dt, 1, rtol=1e-6):
        raise ConversionError(
            f"node {name!r} (IF) has r = {r:g}, but SpikingJelly imports only r = 1 / dt = {1 / dt:g}; read it with "
            "another target (norse and sinabs do not look at r), or with another dt"
        )
    if kind in ("IF", "I"):
        return 1.0, 1.0 if target in ("norse", "sinabs") else _near_one(r * dt)
    tau = _one(name, "tau", node.tau_mem if kind == "CubaLIF" else node.tau)
    if kind == "CubaLIF":
        if not np.isclose(_one(name, "tau_syn", node.tau_syn), dt, rtol=1e-6):
            raise ConversionError(
                f"node {name!r} (CubaLIF) has a synaptic current that outlasts a step (tau_syn is not dt), which a "
                "SpikingGraph cannot express"
            )
        r *= _one(name, "w_in", node.w_in)
    if profile.leak == "exact":
        decay, gain = float(np.exp(-(1.0 if target == "sinabs" else dt) / tau)), 1.0
    else:
        decay, gain = 1 - dt / tau, (1.0 if target == "norse" and kind != "CubaLIF" else r) * dt / tau
    if not 0 < decay <= 1:
        raise ConversionError(
            f"node {name!r} ({kind}) with tau = {tau:g} leaves {decay:g} of a potential after a step of {dt:g}; "
            "expected a share above 0 and at most 1: is dt right?"
        )
    return (1.0 if decay > 1 - 1e-15 else _short(decay)), _near_one(gain)


def input_gain(name: str, node: Any, target: Target, dt: float) -> float | None:
    """Return what nir.IF, and nir.LIF with a time constant of seconds, multiply their input by; None for others.

    Time constants of seconds are counted in steps, by sinabs for example.
    """
    kind = type(node).__name__
    if kind != "IF" and not (kind == "LIF" and np.min(_floats(node.tau)) >= 1):
        return None
    try:
        return dynamics(name, node, target, profile_of(target).dt or dt)[1]
    except ConversionError:
        return None


def _one(name: str, what: str, values: Any) -> float:
    unique = np.unique(_floats(values))
    if unique.size != 1:
        raise ConversionError(f"node {name!r} has neurons of several {what}, which a population cannot express")
    return float(unique[0])


def values_of(name: str, values: Any, shape: Shape) -> Floats:
    """Return one parameter of each neuron."""
    array = _floats(values)
    if array.size == 1:
        array = array.reshape(())
    try:
        return np.ascontiguousarray(np.broadcast_to(array, shape))
    except ValueError as error:
        raise ConversionError(f"node {name!r} has parameters of shape {array.shape} for neurons {shape}") from error


def _floats(values: Any) -> Floats:
    """Return arrays, tensors and numbers as arrays of floating point numbers."""
    array = np.asarray(values.detach() if isinstance(values, torch.Tensor) else values)
    return array if array.dtype.kind == "f" and array.dtype.itemsize >= 4 else array.astype(np.float32)


def _padding(name: str, padding: Any, size: Shape, stride: Shape, dilation: Shape) -> Shape:
    if isinstance(padding, bytes):
        padding = padding.decode()
    before, behind = padded(padding, size, dilation)
    if before != behind or (isinstance(padding, str) and padding == "same" and any(s != 1 for s in stride)):
        raise ConversionError(f"node {name!r} has padding 'same' that differs between sides, which cannot be read")
    return before


def _near_one(value: float) -> float:
    """Take as 1 what is 1 but for the rounding of float32."""
    return 1.0 if abs(value - 1) < 1e-6 else value


def _short(value: float) -> float:
    """Return the float32 nearest to a number, with as few digits as it needs."""
    return float(str(np.float32(value)))
