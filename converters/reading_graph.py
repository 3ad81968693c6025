"""Any feed-forward network as a graph that sleeps, and the weights that sleep changed written back."""

from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from numpy.typing import ArrayLike
from torch import nn

from ..sims.errors import InputError, unknown
from ..sims.network import Sharing, check_sharing
from ..sims.operators import Floats, Shape
from ..sims.sleeping import SleepingNetwork
from .batches import Batches
from .errors import ConversionError
from .front import as_inputs, as_network
from .graph.kept import Own
from .graph.parts import parts_of
from .graph.relu_graph import CHECKED, relu_graph
from .graph.sleeping import last_weights, pooled_units, to_plastic_graph
from .graph.sleeping_scales import sleeping_scales, unit_scales_of
from .input_coding import InputCoding
from .layers import pre_major
from .normalization import Calibration, Normalization, NormalizationName, OutputActivation, resolve_normalization
from .reading_base import RATES, MaxPoolAsleep, Reading
from .to_spiking import Thresholds, plastic_of, thresholds_of


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

    def write(self, weights: Mapping[str, Floats]) -> None:
        """See `Reading.write`; weights by the names that they have in a network, parts into their places."""
        parts, whole = parts_of(self.graph), dict[str, Floats]()
        for name, array in weights.items():
            if name not in parts:
                raise ConversionError(f"the model has no weights {name!r}; it has {', '.join(map(repr, parts))}")
            path = parts[name].path
            values = whole.setdefault(path, pre_major(self._parameters[path]).astype(array.dtype))
            if parts[name].of(values).shape != array.shape:
                raise ConversionError(f"weights {name!r} have the shape {array.shape}, which does not fit the model's")
            parts[name].put(values, array)
        super().write(whole)

    def _examples(self) -> torch.Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.rand(CHECKED, *self.input_shape, generator=random)
