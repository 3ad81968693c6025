"""What sleep needs of a network that was read: the contract of chains and graphs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import nn

from ..sims.network import Sharing
from ..sims.operators import Floats, Shape
from ..sims.sleeping import SleepingNetwork
from .batches import Batches
from .input_coding import InputCoding
from .layers import pre_major
from .normalization import Calibration, Normalization, NormalizationName, OutputActivation
from .to_spiking import Thresholds
from .writing import write_parameters

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
