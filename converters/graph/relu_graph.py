"""A trained network as a graph of ReLU units: the same function as the torch module, on plain arrays."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ...sims.awake.graph import INPUT, Projection
from ...sims.errors import InputError
from ...sims.operators import Flatten, Floats, Shape
from ..batches import Batches, Inputs
from ..errors import ConversionError, submodule
from ..front import as_inputs as as_inputs
from ..torch_layers import check_precision
from ..tracing import answer_of, evaluating
from .affine import Affine
from .kept import Own
from .operator_algebra import respond_all
from .programs import as_network
from .reader import MaxPoolOption, Reader

BATCH_SIZE = 100
CHECKED = 4  # inputs on which the graph is held against the module
BELOW = "#below"
"""Ends the name of the unit that sends what LeakyReLU and PReLU have below 0."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}  # of the largest output; batch norm is folded in float64


@dataclass(frozen=True, eq=False)
class ReluUnit:
    """Neurons of the trained network: ``relu(sum of projections + bias)``.

    Attributes
    ----------
    name
        Path of the last layer with weights before the ReLU (in a sum, of its first term that has one); a layer that
        computes two units gives the second one the name "path#2". LeakyReLU and PReLU are two units: "path", and
        "path#below" for what is below 0.
    shape
        (n,) or (channels, *space).
    projections
        What comes in, from the input and units before.
    bias
        Constant, of this shape, or None.
    rectified
        Whether there is a ReLU; only the last unit may have none.
    ceiling
        Where activations are cut off above, as by ReLU6, or None.
    """

    name: str
    shape: Shape
    projections: tuple[Projection, ...]
    bias: Floats | None = None
    rectified: bool = True
    ceiling: float | None = None


@dataclass(frozen=True, eq=False)
class ReluGraph:
    """ReLU units in order, in float64; the last one gives the answer.

    Attributes
    ----------
    input_shape
        Shape of one input, without a batch axis.
    units
        Every source stands before its targets.
    dtype
        Precision of the network, in which activations are computed.
    """

    input_shape: Shape
    units: tuple[ReluUnit, ...]
    dtype: torch.dtype

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of the input and of every unit by name, in order."""
        return {INPUT: self.input_shape, **{unit.name: unit.shape for unit in self.units}}

    @property
    def output(self) -> ReluUnit:
        """The unit that gives the answer."""
        return self.units[-1]

    def inputs(self, inputs: torch.Tensor | ArrayLike) -> torch.Tensor:
        """Return inputs (n, *input_shape) in the network's precision, or raise `InputError`."""
        x = as_inputs(inputs, self.dtype, inputs.device if isinstance(inputs, torch.Tensor) else "cpu")
        if tuple(x.shape[1:]) != self.input_shape:
            raise InputError(f"inputs must be (n, {', '.join(map(str, self.input_shape))}), got {tuple(x.shape)}")
        return x

    @torch.no_grad()
    def batches(
        self,
        inputs: Inputs,
        batch_size: int = BATCH_SIZE,
        most: Mapping[str, Floats] | None = None,
    ) -> Iterator[dict[str, Floats]]:
        """Yield every unit's activations (n, *shape) by name, for one batch of inputs (n, *input_shape) after another.

        No activation of a unit exceeds `most`, where that has it.

        Raises
        ------
        InputError
            If inputs are empty, not finite, or of another shape.
        """
        for batch, _ in Batches(inputs).through(self.inputs).parts(batch_size):
            sent = {INPUT: batch}
            for unit in self.units:
                total = torch.zeros(len(batch), *unit.shape, dtype=self.dtype, device=batch.device)
                for projection in unit.projections:
                    total += respond_all(projection.operators, sent[projection.source]).reshape(total.shape)
                if unit.bias is not None:
                    total += torch.as_tensor(unit.bias).to(total)
                total = total.relu() if unit.rectified else total
                total = total if unit.ceiling is None else total.clamp(max=unit.ceiling)
                if most is not None and unit.name in most:
                    total = total.minimum(torch.as_tensor(most[unit.name]).to(total))
                sent[unit.name] = total
            yield {unit.name: sent[unit.name].cpu().numpy() for unit in self.units}

    def activations(self, inputs: torch.Tensor | ArrayLike, batch_size: int = BATCH_SIZE) -> dict[str, Floats]:
        """Return every unit's activations (n, *shape) by name, in evaluation; see `batches`, which needs less memory.

        Maximum pooling that was converted to average pooling is average pooling here too.
        """
        batches = list(self.batches(inputs, batch_size))
        return {unit.name: np.concatenate([batch[unit.name] for batch in batches]) for unit in self.units}


def twin(name: str) -> str:
    """Return the name that the other unit of a LeakyReLU has, or would have."""
    return name.removesuffix(BELOW) if name.endswith(BELOW) else name + BELOW


def relu_graph(
    model: nn.Module,
    inputs: Inputs,
    *,
    max_pool: MaxPoolOption = "refuse",
    own: Own | None = None,
) -> ReluGraph:
    """Return the graph of ReLU units that a torch module computes in evaluation.

    The module is traced with `torch.fx`, so what counts is what its ``forward`` does. Batch normalisation goes into the
    weights before it, or where there are none into those behind. The graph is held against the module's own answer to
    a few inputs; nothing of the module is changed.

    Parameters
    ----------
    model
        See `to_spiking_graph`.
    inputs
        (n, ...) some inputs of the network, or what gives batches of them; a few of the first are looked at.
    max_pool
        See `to_spiking_graph`.
    own
        Takes the module's own weights, which are then kept as they are; factors stand beside them.

    Raises
    ------
    ConversionError
        If something in the module is not supported, named by its path and type.
    InputError
        If the inputs do not fit the module.
    """
    model = as_network(model)
    dtype = _precision(model)
    x = as_inputs(Batches(inputs).first, dtype)[:CHECKED]
    input_shape: Shape = tuple(x.shape[1:])
    answer = checked_answer(model, x)
    with evaluating(model), torch.enable_grad():
        graph, approximate = _read(model, input_shape, max_pool, dtype, own)
        exact = None if approximate else graph
        if approximate:  # all but what was replaced is compared, if maxima can stay
            with suppress(ConversionError):
                exact, _ = _read(model, input_shape, "winner", dtype)
    if exact is not None:
        _check(exact, x, answer)
    return graph


def _read(
    model: nn.Module, shape: Shape, max_pool: MaxPoolOption, dtype: torch.dtype, own: Own | None = None
) -> tuple[ReluGraph, bool]:
    """Return what was read of a module, and whether that is only near its function."""
    reader = Reader(model, shape, max_pool, own)
    result = reader.read()
    return ReluGraph(shape, _units(reader, result), dtype), reader.approximate


def _units(reader: Reader, result: Affine) -> tuple[ReluUnit, ...]:
    """Return the units that the answer depends on, the answer last."""
    if not reader.units and result.name is None:
        raise ConversionError(
            f"{type(reader.model).__name__} has no layer with weights on its path; nothing to convert"
        )
    units = {
        name: ReluUnit(name, v.shape, v.projections, v.constant, ceiling=reader.ceilings.get(name))
        for name, v in reader.units.items()
    }
    answer = result.projections[0]
    only = len(result.projections) == 1 and result.constant is None and answer.source != INPUT
    if not (
        only
        and all(isinstance(operator, Flatten) for operator in answer.operators)
        and all(p.source != answer.source for unit in units.values() for p in unit.projections)
    ):
        name = reader.unique(result.name or "output")
        units[name] = ReluUnit(name, result.shape, result.projections, result.constant, rectified=False)
        wanted = {name}
    else:
        wanted = {answer.source}
    for unit in reversed(units.values()):
        if unit.name in wanted:
            wanted |= {projection.source for projection in unit.projections}
    return tuple(unit for unit in units.values() if unit.name in wanted)


def _precision(model: nn.Module) -> torch.dtype:
    for name, parameter in model.named_parameters():
        path, _, what = name.rpartition(".")
        check_precision(parameter, what, submodule(path, model.get_submodule(path)))
        return parameter.dtype
    return torch.float32


def checked_answer(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the module's own answer, or raise `InputError`; weights that hooks compute are then up to date."""
    try:
        answer = answer_of(model, x)
    except ConversionError:
        raise
    except Exception as error:  # the user's own forward may raise anything
        line = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{type(model).__name__} does not take inputs of shape {tuple(x.shape)} and {x.dtype} "
            f"({type(error).__name__}: {line}); give calibration data as the network takes it, (n, ...)"
        ) from error
    if not isinstance(answer, torch.Tensor) or answer.ndim < 2 or len(answer) != len(x):
        got = f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ConversionError(
            f"{type(model).__name__} must return one tensor (n, ...) for n inputs, got {got}; wrap it in a module that "
            "returns the output that counts"
        )
    return answer.detach().cpu()


def _check(graph: ReluGraph, x: torch.Tensor, answer: torch.Tensor) -> None:
    if not torch.isfinite(answer).all():
        raise ConversionError("the network's answer is not finite; look for weights or statistics that are too large")
    mine = next(graph.batches(x))[graph.output.name].reshape(len(x), -1)
    theirs = answer.reshape(len(x), -1).numpy()
    if mine.shape != theirs.shape or np.abs(mine - theirs).max() > TOLERANCE[graph.dtype] * max(
        1e-30, np.abs(theirs).max(), np.abs(mine).max()
    ):
        raise ConversionError(
            "what was read from the network's graph answers differently from the network; does it have hooks, or a "
            "forward that changes values in place or from call to call?"
        )
