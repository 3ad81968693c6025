"""What sleep reads of a torch module, and writes back: one front for chains and for all other feed-forward networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from numpy.typing import ArrayLike
from torch import nn

from ..sims.errors import InputError, unknown
from ..sims.network import Sharing, check_sharing
from ..sims.operators import Floats, Shape
from ..sims.sleeping import SleepingNetwork
from .batches import Batches
from .calibrating import activation_scales, checked_inputs
from .chain import Stage, weight_stages
from .errors import ConversionError
from .front import as_inputs, as_network
from .graph.kept import Own
from .graph.relu_graph import CHECKED, relu_graph
from .graph.sleeping import last_weights, pooled_units, to_plastic_graph
from .graph.sleeping_scales import sleeping_scales, unit_scales_of
from .input_coding import InputCoding
from .layers import pre_major
from .normalization import (
    Calibration,
    Normalization,
    NormalizationName,
    OutputActivation,
    resolve_normalization,
)
from .own_answer import check_own_answer
from .to_spiking import Thresholds, input_shape_of, plastic_layers, plastic_of, thresholds_of, to_spiking
from .torch_layers import Convolutional, Weighted, pads_unevenly
from .write_back import write_parameters

MaxPoolAsleep = Literal["any", "winner", "refuse"]
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
        max_pool: MaxPoolAsleep = "any",
        coding: InputCoding = RATES,
    ) -> SleepingNetwork:
        """Return the network that falls asleep, a `SpikingNetwork` of a chain, or else a `PlasticGraph`.

        Gains of a graph are ``scale of the source / scale of the target``, by the rule of normalisation.

        Parameters
        ----------
        calibration
            Of `scales`.
        normalization, decay, gain_scale, inhibition, dt, plastic, sharing
            See `to_spiking`.
        thresholds
            One for all populations above the input, one for each, or by name.
        max_pool
            What passes maximum pooling: the spikes of "any" neuron of a window, or those of the "winner", which has
            fired most so far; or "refuse" it. Noise has no lasting pattern of which a winner could speak, so that
            "any" is the default.
        coding
            How inputs become rates of input neurons.
        """

    @property
    @abstractmethod
    def parameters(self) -> dict[str, torch.Tensor]:
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


class Graph(Reading):
    """A graph of ReLU units, see `neurosleep.converters.graph.sleeping`."""

    input_shape: Shape

    def __init__(self, model: nn.Module, input_shape: Shape) -> None:
        self.model, self.input_shape = as_network(model), input_shape
        own = Own(self.model)
        self.graph = relu_graph(self.model, self._examples(), max_pool="any", own=own)
        self.names = tuple(unit.name for unit in self.graph.units)
        self._parameters, self._last = own.parameters, last_weights(self.graph)

    def check_own_answer(self) -> None:
        """Do nothing: it was held against the module's own answer when it was read."""

    def inputs(self, inputs: torch.Tensor | ArrayLike) -> torch.Tensor:
        """See `Reading.inputs`."""
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        x = as_inputs(inputs, self.graph.dtype, device)
        if tuple(x.shape[1:]) != self.input_shape:
            raise InputError(f"inputs must be (n, {', '.join(map(str, self.input_shape))}), got {tuple(x.shape)}")
        return x

    def scales(self, batches: Batches, percentile: float = 100.0, output: OutputActivation = "relu") -> Calibration:
        """See `Reading.scales`."""
        scales = unit_scales_of(self.graph, batches, percentile, output)
        return Calibration(scales, percentile, self.input_shape, self.names)

    def plastic(self, names: Sequence[str] | None = None) -> set[str]:
        """See `Reading.plastic`."""
        named = {names} if isinstance(names, str) else set(names or ())
        if frozen := sorted(named & (set(self._parameters) - set(self._last))):
            raise InputError(
                f"plastic names {', '.join(map(repr, frozen))}, which no ReLU follows before the next layer of "
                "weights: of layers in a row only the last one learns; leave out the others, or put a ReLU between"
            )
        return plastic_of({path: self._parameters[path] for path in self._last}, names)

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
        check_sharing(sharing)
        if max_pool not in get_args(MaxPoolAsleep):
            raise InputError(unknown("max_pool", max_pool, get_args(MaxPoolAsleep)))
        if max_pool == "refuse" and (pooled := pooled_units(self.graph)):
            raise ConversionError(
                f"{', '.join(map(repr, pooled))} gets what maximum pooling sends, which max_pool='refuse' forbids; "
                "choose 'any' or 'winner', or train with average pooling"
            )
        return to_plastic_graph(
            self.graph,
            sleeping_scales(self.graph, calibration, resolve_normalization(normalization)),
            dict(zip(self.names, thresholds_of(self.names, thresholds), strict=True)),
            self.plastic(plastic),
            coding,
            decay=decay,
            gain_scale=gain_scale,
            inhibition=inhibition,
            dt=dt,
            sharing=sharing,
            max_pool="winner" if max_pool == "winner" else "any",
        )

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """See `Reading.parameters`."""
        return dict(self._parameters)

    def _examples(self) -> torch.Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.rand(CHECKED, *self.input_shape, generator=random)


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
