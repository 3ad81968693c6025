"""What sleep reads of a torch module, and writes back: one front for chains and for all other feed-forward networks."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import nn

from ..sims.network import Sharing
from ..sims.operators import Shape
from ..sims.sleeping import SleepingNetwork
from .batches import Batches
from .calibrating import activation_scales, checked_inputs
from .chain import Stage, weight_stages
from .errors import ConversionError
from .front import as_network
from .input_coding import InputCoding
from .normalization import (
    Calibration,
    Normalization,
    NormalizationName,
    OutputActivation,
)
from .own_answer import check_own_answer
from .reading_base import RATES as RATES
from .reading_base import MaxPoolAsleep as MaxPoolAsleep
from .reading_base import Reading as Reading
from .reading_graph import Graph
from .to_spiking import Thresholds, input_shape_of, plastic_layers, to_spiking
from .torch_layers import Convolutional, Weighted, pads_unevenly


class Chain(Reading):
    """A chain of layers of weights, as `weight_stages` reads it."""

    def __init__(self, model: nn.Module, stages: Sequence[Stage], input_shape: Shape | None) -> None:
        self.model, self.stages = model, stages
        self.names = tuple(stage.name for stage in stages)
        self.input_shape = input_shape if stages[0].spatial else (int(stages[0].module.weight.shape[1]),)

    def check_own_answer(self) -> None:
        """See `Reading.check_own_answer`."""
        if self.input_shape is not None:
            check_own_answer(self.model, self.stages, self.input_shape)

    def inputs(self, inputs: torch.Tensor | ArrayLike) -> torch.Tensor:
        """See `Reading.inputs`."""
        return checked_inputs(self.stages, inputs)

    def scales(self, batches: Batches, percentile: float = 100.0, output: OutputActivation = "relu") -> Calibration:
        """See `Reading.scales`."""
        scales = activation_scales(self.stages, batches, percentile, output)
        return Calibration(scales, percentile, self.input_shape if self.stages[0].spatial else None, self.names)

    def plastic(self, names: Sequence[str] | None = None) -> set[str]:
        """See `Reading.plastic`."""
        return plastic_layers(self.stages, names)

    def network(
        self,
        calibration: Calibration,
        *,
        normalization: Normalization | NormalizationName,
        decay: float,
        thresholds: Thresholds = 1.0,
        gain_scale: float = 1.0,
        inhibition: float = 0.0,
        dt: float = 0.001,
        plastic: Sequence[str] | None = None,
        sharing: Sharing = "mean",
        max_pool: MaxPoolAsleep = "any",
        coding: InputCoding = RATES,
    ) -> SleepingNetwork:
        """See `Reading.network`."""
        del coding, max_pool  # a chain has no maximum pooling, and takes rates as they are, see `read`
        if self.input_shape is None:
            self.input_shape = input_shape_of(self.stages, calibration)
        return to_spiking(
            list(self.stages),
            calibration,
            normalization=normalization,
            thresholds=thresholds,
            gain_scale=gain_scale,
            decay=decay,
            inhibition=inhibition,
            dt=dt,
            plastic=plastic,
            sharing=sharing,
        )

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """See `Reading.parameters`."""
        return {stage.name: stage.module.weight for stage in self.stages}


def read(model: nn.Module, input_shape: Shape | None = None, coding: InputCoding = RATES) -> Reading:
    """Return what a module computes: a chain where it is one, and else a graph.

    Parameters
    ----------
    model
        Any feed-forward ReLU module.
    input_shape
        Of one input, (n,) or (channels, *space). Only a chain can do without.
    coding
        How inputs become rates of input neurons. A chain takes rates as they are; all else is a graph.

    Raises
    ------
    ConversionError
        If something in the module is not supported, named by its path and type.
    """
    if coding.kind == "rates":
        try:
            stages = weight_stages(model)
            if not any(isinstance(stage.module, Convolutional) and pads_unevenly(stage.module) for stage in stages):
                return Chain(model, stages, input_shape)
        except ConversionError:
            if not input_shape or hasattr(model, "spiking_chain"):
                raise
    if not input_shape:
        raise ConversionError(
            f"{type(model).__name__} is no chain of layers, and is read for inputs of a known shape: give input_shape, "
            "or let a memory observe inputs first"
        )
    return Graph(model, input_shape)


def own_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a module by path: those of its chain, or of all its Linear, Conv1d and Conv2d layers."""
    try:
        return {stage.name: stage.module.weight for stage in weight_stages(model)}
    except ConversionError:
        layers = {path: module for path, module in as_network(model).named_modules() if isinstance(module, Weighted)}
        given = {path: module._parameters.get("weight") for path, module in layers.items()}
        weights: dict[str, torch.Tensor] = {path: weight for path, weight in given.items() if weight is not None}
        if not weights:
            raise
        return weights
