"""Arrays go into the tensors of a torch module, all or nothing."""

from collections.abc import Sequence

import torch

from ..sims.operators import Floats
from .errors import ConversionError


def write_parameters(given: Sequence[tuple[str, torch.Tensor, Floats, str]]) -> None:
    """Put arrays into tensors, all or nothing: of each, path and tensor, and the array and its name in the network.

    Matrices are pre-major in a network, and a linear layer behind a pooling has kernels.
    """
    new = []
    for path, weight, array, name in given:
        matrix = array.T if array.ndim == 2 else array.reshape(len(array), -1) if weight.ndim == 2 else array
        if matrix.shape != tuple(weight.shape):
            raise ConversionError(
                f"submodule {path!r} has weights of shape {tuple(weight.shape)}, "
                f"but the network's layer {name!r} gives {matrix.shape}"
            )
        tensor = torch.from_numpy(matrix).to(weight.device, weight.dtype)
        if not torch.isfinite(tensor).all():
            raise ConversionError(
                f"submodule {path!r}: the slept weights are not all finite in {weight.dtype}; nothing was written"
            )
        new.append((weight, tensor))

    with torch.no_grad():
        old = [weight.clone() for weight, _ in new]
        try:
            for weight, tensor in new:
                weight.copy_(tensor)
        except BaseException:
            for (weight, _), before in zip(new, old, strict=True):
                weight.copy_(before)
            raise
