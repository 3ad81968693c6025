"""A module's own weights, kept as they are while the rest is read, so that sleep can change them."""

from typing import NoReturn

import torch
from torch import nn

from ...sims.operators import Convolution, Dense
from ..errors import ConversionError
from .operator_algebra import Kept, KeptConvolution, KeptDense


class Own:
    """The weights of a module by path, those that were met.

    Attributes
    ----------
    parameters
        By the path of the submodule whose ``.weight`` they are, or by their own name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters: dict[str, nn.Parameter] = {}
        self._paths = {id(p): name.removesuffix(".weight") for name, p in model.named_parameters()}
        self._memory = {p.untyped_storage().data_ptr(): self._paths[id(p)] for p in model.parameters()}

    def kept(self, operator: Dense | Convolution, module: nn.Module, where: str) -> Kept | Dense | Convolution:
        """Return an operator marked as weights of the model, or as it is if it has none, but constants.

        Raises
        ------
        ConversionError
            If its weights are computed from the model's, so that they could not be written back.
        """
        weight = module._parameters.get("weight")
        path = None if weight is None else self._paths.get(id(weight))
        if weight is not None and path is not None:
            self.parameters[path] = weight
            if isinstance(operator, Dense):
                return KeptDense(operator.weights, path)
            o = operator
            return KeptConvolution(o.kernels, o.stride, o.padding, o.dilation, o.groups, path)
        used = getattr(module, "weight", None)
        memory = used.untyped_storage().data_ptr() if isinstance(used, torch.Tensor) else 0
        if weight is None or memory in self._memory:
            part = self._memory.get(memory)
            _refuse(
                where, "others (pruning or weight norm)" if part is None else f"a part or the transpose of {part!r}"
            )
        return operator

    def check_given(self, weight: object, where: str) -> None:
        """Raise `ConversionError` if weights that a function is given are computed from those of the model."""
        if isinstance(weight, torch.Tensor) and weight.grad_fn is not None:
            _refuse(where, "others")


def _refuse(where: str, what: str) -> NoReturn:
    raise ConversionError(
        f"{where} computes its weight from {what}, so that nothing could be written back; make it permanent first "
        "(torch.nn.utils.prune.remove, remove_weight_norm), or give the layer weights of its own"
    )
