"""What sleep reads of a torch module, and writes back: one front for chains and for all other feed-forward networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from numpy.typing import ArrayLike
from torch import nn

from ..sims.network import Sharing
from ..sims.operators import Floats, Shape
from ..sims.sleeping import SleepingNetwork
from .batches import Batches
from .chain import Stage, weight_stages
from .input_coding import InputCoding
from .layers import pre_major
from .normalization import (
    Calibration,
    Normalization,
    NormalizationName,
    OutputActivation,
    activation_scales,
    checked_inputs,
)
from .own_answer import check_own_answer
from .to_spiking import Thresholds, input_shape_of, plastic_layers, to_spiking
from .write_back import write_parameters

RATES = InputCoding()


class Reading(ABC):
    """What a module computes: a chain of layers of weights, or a graph of ReLU units.

    Attributes
    ----------
    model
        The module, whose weights `write` changes.
    names
        Of what is calibrated: of the layers of a chain, or of the units of a graph, the output last.
    input_shape
        Of one input as the network takes it; None for a chain that was read without, whose first layer has space.
    """

    model: nn.Module
    names: tuple[str, ...]
    input_shape: Shape | None

    @abstractmethod
    def check_own_answer(self) -> None:
        """Raise `ConversionError` if the module answers differently from what was read of it."""

    @abstractmethod
    def inputs(self, inputs: torch.Tensor | ArrayLike) -> torch.Tensor:
        """Return inputs (n, *input_shape) on the device and in the precision that `scales` takes.

        Raises
        ------
        InputError, ConversionError
            If they do not fit.
        """

    @abstractmethod
    def scales(
        self,
        batches: Batches,
        percentile: float = 100.0,
        output: OutputActivation = "relu",
    ) -> Calibration:
        """Return the scales of what each of `names` sends on, over batches as `inputs` returns them.

        An array is a single batch; each is gone through in parts. A percentile below 100 asks `batches` for its count.
        """

    @abstractmethod
    def plastic(self, names: Sequence[str] | None = None) -> set[str]:
        """Return the paths of the weights that sleep may change: those named, or else all that are not frozen.

        Raises
        ------
        InputError
            If a name is not that of weights that sleep could change.
        """

    @abstractmethod
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
        coding: InputCoding = RATES,
    ) -> SleepingNetwork:
        """Return the network that falls asleep, a `SpikingNetwork` of a chain, or else a `PlasticGraph`.

        See `to_spiking` for what it takes; `coding` says how inputs become rates of input neurons.
        """

    @property
    @abstractmethod
    def parameters(self) -> dict[str, nn.Parameter]:
        """The module's own weights by path: ``.weight`` of a submodule, or a parameter by its own name."""

    def weights(self) -> dict[str, Floats]:
        """Return copies of the module's weights by path, matrices pre-major (n_pre, n_post)."""
        return {name: pre_major(parameter) for name, parameter in self.parameters.items()}

    def write(self, weights: Mapping[str, Floats]) -> None:
        """Put weights, by path, into the module, in place and all or nothing; see `write_back`."""
        parameters = self.parameters
        write_parameters([(name, parameters[name], array, name) for name, array in weights.items()])


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
        coding: InputCoding = RATES,
    ) -> SleepingNetwork:
        """See `Reading.network`."""
        del coding  # of rates, or of rectified inputs: the network takes both as they are, see `read`
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
    def parameters(self) -> dict[str, nn.Parameter]:
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
        How inputs become rates of input neurons. A chain takes rates, and rectified inputs; it is a graph otherwise.

    Raises
    ------
    ConversionError
        If something in the module is not supported, named by its path and type.
    """
    del coding
    return Chain(model, weight_stages(model), input_shape)
