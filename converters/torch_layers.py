"""Torch's layers as operators on plain arrays, in evaluation."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..sims.operators import AveragePool, Convolution, Dense, Floats, MaxPool, MaxPoolRule, Operator, Shape
from .errors import ConversionError

Average = nn.AvgPool1d | nn.AvgPool2d
AdaptiveAverage = nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d
Maximum = nn.MaxPool1d | nn.MaxPool2d
AdaptiveMaximum = nn.AdaptiveMaxPool1d | nn.AdaptiveMaxPool2d
Convolutional = nn.Conv1d | nn.Conv2d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Weighted = nn.Linear | Convolutional
CALLS: dict[str, Callable[..., nn.Module]] = {
    "relu": lambda inplace=False: nn.ReLU(inplace),
    "flatten": lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim),
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "max_pool1d": nn.MaxPool1d,
    "max_pool2d": nn.MaxPool2d,
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "relu6": lambda inplace=False: nn.ReLU6(inplace),
    "hardtanh": lambda min_val=-1.0, max_val=1.0, inplace=False: _within(min_val, max_val),
    **dict.fromkeys(("threshold", "_threshold"), nn.Threshold),
    "leaky_relu": nn.LeakyReLU,
    "prelu": lambda weight: _prelu(weight),
    "rrelu": lambda lower=1 / 8, upper=1 / 3, training=False, inplace=False: _rrelu(lower, upper, training),
    **dict.fromkeys(("clamp", "clip"), lambda *bounds, **named: _clamp(*bounds, **named)),
    **dict.fromkeys(("clamp_min", "maximum"), lambda *given, **named: _within([*given, *named.values()][0], None)),
    "max": lambda other=math.nan: _within(other if isinstance(other, torch.Tensor) else math.nan, None),
}


class Rectifier(NamedTuple):
    """``min(max(x, 0), ceiling)`` above 0, and ``slope * x`` below, () or (channels,)."""

    ceiling: float | None = None
    slope: Floats | None = None


def check_precision(values: torch.Tensor, what: str, where: str) -> None:
    """Raise `ConversionError` if numbers of a layer are neither float32 nor float64."""
    if values.dtype not in (torch.float32, torch.float64):
        raise ConversionError(
            f"{where} has {what} of {values.dtype}; supported: float32 and float64 (call model.float())"
        )


def array(values: torch.Tensor | None, what: str, where: str) -> Floats | None:
    """Return a layer's weights in float64, or raise `ConversionError` if they are not finite or of another type."""
    if values is None:
        return None
    check_precision(values, what, where)
    result: Floats = values.detach().cpu().double().numpy().copy()
    if not np.isfinite(result).all():
        raise ConversionError(
            f"{where}: {np.count_nonzero(~np.isfinite(result))} of {result.size} numbers in its {what} are NaN or "
            "infinite; train the network again, or load weights that are finite"
        )
    return result


def dense(module: nn.Linear, shape: Shape, where: str) -> tuple[Dense, Floats | None]:
    """Return a linear layer's operator and bias (n_post,)."""
    if len(shape) != 1:
        raise ConversionError(f"{where} gets values of shape {shape}; it must get (n,): flatten them before")
    return Dense(_weight(module, where).T.copy()), array(module.bias, "bias", where)


def convolution(module: Convolutional, where: str, spread: bool = True) -> tuple[Convolution, Floats | None, Shape]:
    """Return a convolution's operator and bias (n_post, 1, ...), and how much it pads more behind than before.

    That is 0 with `spread`: kernels are then given zeros in front, as many as there is padding more behind.
    """
    stride, dilation, before, behind = strides_and_padding(module, where, " (train it with zeros)")
    kernels = _weight(module, where)
    if spread and before != behind:
        kernels, dilation = _spread(kernels, dilation, before, behind), (1,) * len(dilation)
        before = behind
    bias = array(module.bias, "bias", where)
    return (
        Convolution(kernels, stride, before, dilation, module.groups),
        None if bias is None else bias.reshape(-1, *[1] * len(stride)),
        tuple(b - a for a, b in zip(before, behind, strict=True)),
    )


def strides_and_padding(module: Convolutional, where: str, mend: str = "") -> tuple[Shape, Shape, Shape, Shape]:
    """Return a convolution's stride and dilation, and how far it pads before and behind, by axis.

    `mend` ends the message of `ConversionError` if it pads with anything but zeros.
    """
    if module.padding_mode != "zeros":
        raise ConversionError(f"{where} pads with {module.padding_mode!r}; supported: padding_mode='zeros'{mend}")
    stride, dilation = tuple(map(int, module.stride)), tuple(map(int, module.dilation))
    return stride, dilation, *padded(module.padding, module.kernel_size, dilation)


def pads_unevenly(module: Convolutional) -> bool:
    """Whether a convolution pads more behind than before, as padding="same" with an even reach."""
    before, behind = padded(module.padding, module.kernel_size, tuple(module.dilation))
    return before != behind


def padded(padding: Any, size: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Return how far a convolution pads before and behind, by axis; `padding` is "valid", "same", or in numbers."""
    if not isinstance(padding, str):
        return (each(padding, len(size)),) * 2
    reach = [0 if padding == "valid" else d * (k - 1) for d, k in zip(dilation, size, strict=True)]
    return tuple(r // 2 for r in reach), tuple((r + 1) // 2 for r in reach)


def each(value: Any, space: int) -> Shape:
    """Return one number for each axis of space; `value` has as many, or one for all."""
    numbers = tuple(int(x) for x in np.ravel(value))
    return numbers * space if len(numbers) == 1 else numbers


def batch_norm(module: BatchNorm, where: str) -> tuple[Floats, Floats]:
    """Return by what batch normalisation multiplies channels in evaluation, and what it adds, both (channels,)."""
    mean, variance = (array(x, "statistics", where) for x in (module.running_mean, module.running_var))
    if mean is None or variance is None:
        raise ConversionError(
            f"{where} keeps no running statistics (track_running_stats=False), so that its answer to an input depends "
            "on the batch; train it with running statistics"
        )
    weight, bias = array(module.weight, "weight", where), array(module.bias, "bias", where)
    factors = (1.0 if weight is None else weight) / np.sqrt(variance + module.eps)
    return factors, (0.0 if bias is None else bias) - mean * factors


def average_pool(module: Average | AdaptiveAverage, shape: Shape, where: str) -> AveragePool:
    """Return average pooling's operator for values of a shape."""
    if isinstance(module, AdaptiveAverage):
        sizes, strides = zip(*(_adaptive(*axis, where) for axis in _targets(module, shape)), strict=True)
        return AveragePool(sizes, strides, (0,) * len(sizes))
    space = len(shape) - 1
    padding = each(module.padding, space)
    if any(padding) and not module.count_include_pad:
        raise ConversionError(
            f"{where} leaves its padding out of the mean (count_include_pad=False), so that factors differ by place; "
            "use count_include_pad=True or no padding"
        )
    if getattr(module, "divisor_override", None) is not None:
        raise ConversionError(f"{where} has a divisor_override; use the plain mean, and scale the layer behind")
    pool = AveragePool(each(module.kernel_size, space), each(module.stride, space), padding)
    _check_ceil(module, pool, shape, where)
    return pool


def adaptive_pool(module: AdaptiveAverage, shape: Shape, where: str) -> tuple[Operator, ...]:
    """Return adaptive pooling's operators; an axis of one value that becomes longer is repeated by a convolution."""
    axes = _targets(module, shape)
    repeats = tuple(parts if n == 1 else 1 for n, parts in axes)
    if set(repeats) == {1}:
        return (average_pool(module, shape, where),)
    sizes, strides = zip(*((1, 1) if n == 1 else _adaptive(n, parts, where) for n, parts in axes), strict=True)
    ones, once = np.ones((shape[0], 1, *repeats)), (1,) * len(axes)
    repeated = Convolution(ones, once, tuple(r - 1 for r in repeats), once, shape[0])
    return (repeated,) if set(sizes) == {1} else (AveragePool(sizes, strides, (0,) * len(axes)), repeated)


def max_pool(module: Maximum | AdaptiveMaximum, shape: Shape, rule: MaxPoolRule, where: str) -> tuple[MaxPool, Shape]:
    """Return maximum pooling's operator for values of a shape, and how many zeros to pad behind, by axis of space."""
    space = len(shape) - 1
    if module.return_indices or any(d != 1 for d in each(getattr(module, "dilation", 1), space)):
        raise ConversionError(f"{where} has return_indices or dilation; supported is maximum pooling without them")
    if isinstance(module, AdaptiveMaximum):
        sizes, strides = zip(*(_adaptive(*axis, where) for axis in _targets(module, shape)), strict=True)
        return MaxPool(sizes, strides, (0,) * space, rule), (0,) * space
    pool = MaxPool(each(module.kernel_size, space), each(module.stride, space), each(module.padding, space), rule)
    if not module.ceil_mode:
        return pool, (0,) * space
    wanted = module(torch.zeros(1, *shape)).shape[2:]
    axes = zip(wanted, shape[1:], pool.size, pool.stride, pool.padding, strict=True)
    return pool, tuple(max(0, (n - 1) * stride + size - 2 * pad - there) for n, there, size, stride, pad in axes)


def as_module(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> nn.Module:
    """Return a call of a function of `CALLS`, whose first argument is the layer's input, as a module of torch."""
    options = {key: value for key, value in kwargs.items() if key != "input"}
    try:
        return CALLS[name](*args[1:], **options)
    except TypeError as error:
        raise ConversionError(f"{where} is called in a way that is not supported: {error}") from error


def is_rectifier(module: nn.Module) -> bool:
    """Whether a module is ReLU, by whatever name: bounds of 0 and infinity, or no slope below 0."""
    if isinstance(module, nn.Hardtanh):
        return (module.min_val, module.max_val) == (0, math.inf)
    if isinstance(module, nn.Threshold):
        return module.threshold == 0 == module.value
    return isinstance(module, nn.ReLU) or (isinstance(module, nn.LeakyReLU) and module.negative_slope == 0)


def rectifier(module: nn.Module, where: str) -> Rectifier | None:
    """Return how a module rectifies, or None if it does something else."""
    if is_rectifier(module):
        return Rectifier()
    if isinstance(module, nn.Hardtanh) and module.min_val == 0 < module.max_val:
        return Rectifier(ceiling=float(module.max_val))
    if isinstance(module, nn.LeakyReLU):
        return Rectifier(slope=np.asarray(float(module.negative_slope)))
    if isinstance(module, nn.RReLU):
        return Rectifier(slope=np.asarray((module.lower + module.upper) / 2))
    if isinstance(module, nn.PReLU):
        slope = array(module.weight, "slopes", where)
        return None if slope is None else Rectifier(slope=slope.reshape(()) if slope.size == 1 else slope)
    return None


def check_cast(dtype: torch.dtype, where: str) -> None:
    """Raise `ConversionError` if a cast changes values by more than rounding in single precision."""
    if dtype not in (torch.float32, torch.float64):
        raise ConversionError(
            f"{where} casts to {dtype}, which rounds values, so that the network is no ReLU network; leave the cast "
            "out, and compute in float32 or float64"
        )


def is_plain(module: nn.Module) -> bool:
    """Whether a module computes what a class of torch does: parametrised layers do, own forwards do not."""
    return type(module).forward.__module__.startswith("torch.nn.modules.")


def _weight(module: nn.Linear | Convolutional, where: str) -> Floats:
    weight = array(module.weight, "weights", where)
    if weight is None:
        raise ConversionError(f"{where} has no weight")
    return weight


def _spread(kernels: Floats, dilation: Shape, before: Shape, behind: Shape) -> Floats:
    """Return kernels without dilation, with zeros in front, for padding before as far as behind, where torch pads more.

    (One more, with padding="same" and an odd reach.)
    """
    spread = np.zeros((*kernels.shape[:2], *(2 * b + 1 for b in behind)), kernels.dtype)
    taps = [np.arange(b - a, 2 * b + 1, d) for a, b, d in zip(before, behind, dilation, strict=True)]
    spread[np.ix_(*map(np.arange, kernels.shape[:2]), *taps)] = kernels
    return spread


def _adaptive(n: int, parts: int, where: str) -> tuple[int, int]:
    """Return size and stride of torch's adaptive windows along one axis, if all are alike."""
    starts = [i * n // parts for i in range(parts)]
    sizes = {math.ceil((i + 1) * n / parts) - start for i, start in enumerate(starts)}
    strides = {b - a for a, b in itertools.pairwise(starts)} or {n}
    if len(sizes) > 1 or len(strides) > 1 or 0 in strides:
        raise ConversionError(
            f"{where} divides {n} values into {parts} windows that are not alike; use an output size that divides {n}"
        )
    return sizes.pop(), strides.pop()


def _targets(module: AdaptiveAverage | AdaptiveMaximum, shape: Shape) -> list[tuple[int, int]]:
    wanted: Any = module.output_size
    space = shape[1:]
    parts = list(wanted) if isinstance(wanted, tuple | list) else [wanted] * len(space)
    return [(n, n if part is None else int(part)) for n, part in zip(space, parts, strict=True)]


def _check_ceil(module: Average, pool: Operator, shape: Shape, where: str) -> None:
    if not module.ceil_mode:
        return
    expected = tuple(module(torch.zeros(1, *shape)).shape[1:])
    if expected != pool.output_shape(shape):
        raise ConversionError(
            f"{where} rounds up (ceil_mode=True), so that windows at the border are smaller than others; use "
            f"ceil_mode=False, or an input that windows divide (it is {shape[1:]})"
        )


def _within(low: Any, high: Any) -> nn.Hardtanh:
    """Return what keeps values within bounds, numbers or tensors of one number; None for no bound."""
    module = nn.Hardtanh()
    module.min_val, module.max_val = _bound(low, -math.inf), _bound(high, math.inf)
    return module


def _bound(value: Any, none: float) -> float:
    if not isinstance(value, torch.Tensor):
        return none if value is None else float(value) if isinstance(value, int | float) else math.nan
    return float(value.flatten()[0]) if (value == value.flatten()[0]).all() else math.nan


def _prelu(weight: Any) -> nn.Module:
    module = nn.PReLU(weight.numel() if isinstance(weight, torch.Tensor) else 1, device="meta")
    module.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return module


def _rrelu(lower: float, upper: float, training: bool) -> nn.Module:
    if training:
        raise TypeError("training=True draws slopes at random; call model.eval() and write training=self.training")
    return nn.RReLU(lower, upper)


def _clamp(low: Any = None, high: Any = None, **named: Any) -> nn.Hardtanh:
    return _within(named.pop("min", low), named.pop("max", high), **named)
