"""What a conversion kept and what it lost: the trained network and the spiking one on the same inputs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from ...sims.awake.graph import SpikingGraph
from ...sims.awake.present import present
from ...sims.errors import InputError
from ..errors import ConversionError
from ..tracing import answer_of
from .layer_report import LayerReport, Tally, multiply_accumulates
from .relu_graph import as_inputs, relu_graph

LOOK_AT = (5, 10, 20, 50, 100, 200, 500, 1000)


class VerificationError(ConversionError):
    """A converted network is not as good as it must be."""


@dataclass(frozen=True, eq=False)
class ConversionReport:
    """A trained network and its spiking conversion on the same inputs.

    Attributes
    ----------
    inputs, steps, dt
        How many inputs were shown, for how many steps of `dt` seconds.
    trained_accuracy
        Share of inputs that the trained network answers correctly, or None without labels.
    accuracies
        The same of the spiking network, by number of steps; empty without labels.
    agreement
        Share of inputs that both answer alike, by number of steps.
    layers
        In the order of the graph.
    """

    inputs: int
    steps: int
    dt: float
    trained_accuracy: float | None
    accuracies: dict[int, float]
    agreement: dict[int, float]
    layers: tuple[LayerReport, ...]

    @property
    def loss(self) -> float | None:
        """Points (of 100) of accuracy that the conversion lost after all steps, or None without labels."""
        return None if self.trained_accuracy is None else 100 * (self.trained_accuracy - self.accuracies[self.steps])

    @property
    def worst_first(self) -> list[LayerReport]:
        """Layers by correlation, the lowest first; those without one last."""
        return sorted(self.layers, key=lambda x: np.inf if x.correlation is None else x.correlation)

    @property
    def synaptic_operations(self) -> float:
        """Per input, of all layers."""
        return sum(layer.synaptic_operations for layer in self.layers)

    @property
    def multiply_accumulates(self) -> int:
        """Per input, of all layers of the trained network."""
        return sum(layer.multiply_accumulates for layer in self.layers)

    def table(self) -> list[dict[str, Any]]:
        """Return one row a layer, worst first."""
        return [
            {f.name.replace("_", " "): getattr(layer, f.name) for f in fields(layer) if f.name != "pairs"}
            for layer in self.worst_first
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, strings, lists and dicts, worst layers first."""
        layers = [asdict(layer) for layer in self.worst_first]
        for layer in layers:
            del layer["pairs"]
        return {
            "inputs": self.inputs,
            "steps": self.steps,
            "dt": self.dt,
            "trained_accuracy": self.trained_accuracy,
            "loss": self.loss,
            "accuracies": {str(step): value for step, value in self.accuracies.items()},
            "agreement": {str(step): value for step, value in self.agreement.items()},
            "synaptic_operations": self.synaptic_operations,
            "multiply_accumulates": self.multiply_accumulates,
            "layers": layers,
        }

    def __str__(self) -> str:
        lines = [f"{self.inputs} inputs, {self.steps} steps of {1000 * self.dt:g} ms"]
        if self.trained_accuracy is not None:
            lines.append(f"accuracy of the trained network: {100 * self.trained_accuracy:.2f} %")
        for step, agreement in self.agreement.items():
            accuracy = f"accuracy {100 * self.accuracies[step]:.2f} %, " if self.accuracies else ""
            lines.append(f"after {step:>4} steps: {accuracy}same answer {100 * agreement:.2f} %")
        lines.append(
            f"per input: {self.synaptic_operations:,.0f} synaptic operations; the trained network needs "
            f"{self.multiply_accumulates:,} multiply-accumulates"
        )
        return "\n".join([*lines, "", *_aligned(self.table())])


def conversion_report(
    model: nn.Module,
    graph: SpikingGraph,
    inputs: torch.Tensor | ArrayLike,
    labels: torch.Tensor | ArrayLike | None = None,
    *,
    steps: int = 200,
    look_at: Sequence[int] | None = None,
    coding: Literal["current", "poisson"] = "current",
    seed: int = 0,
    backend: Literal["cpu", "reference"] = "cpu",
    batch_size: int = 100,
    threads: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ConversionReport:
    """Show the same inputs to a trained network and to its spiking conversion, and compare them layer by layer.

    Parameters
    ----------
    model
        The trained network; it is compared in evaluation, and left as it is.
    graph
        What `to_spiking_graph` made of it, or any graph whose populations bear the names of the model's layers.
    inputs
        (n, ...) as the model takes them; best not those of the calibration.
    labels
        (n,) classes, or None.
    steps
        For how many steps each input is shown.
    look_at
        Numbers of steps after which answers are compared, besides the last; None for 5, 10, 20, 50, ...
    coding, backend, threads
        See `present`.
    seed
        Fixes the input spikes of the coding "poisson"; batch i uses seed + i.
    batch_size
        Inputs at a time, which bounds the memory.
    on_progress
        Called with the number of inputs just shown.

    Raises
    ------
    InputError
        If inputs, labels and graph do not fit each other.
    ConversionError
        If the model cannot be read (see `relu_graph`).
    """
    network = relu_graph(model, inputs, max_pool=graph.notes.get("max_pool", "refuse"))
    x = as_inputs(inputs, network.dtype)
    classes = None if labels is None else _checked_labels(labels, len(x))
    units = network.shapes
    if missing := [p.name for p in graph.populations if p.name not in units or units[p.name] != p.shape]:
        raise InputError(
            f"the graph has populations {missing} that the model has not, or in another shape; its layers are "
            f"{', '.join(unit.name for unit in network.units)}: is the graph made from this model?"
        )
    if int(np.prod(x.shape[1:])) != int(np.prod(graph.input_shape)) or batch_size < 1:
        raise InputError(
            f"inputs must be (n, {', '.join(map(str, graph.input_shape))}) and batch_size at least 1, "
            f"got {tuple(x.shape)} and {batch_size}"
        )
    points = tuple(step for step in (LOOK_AT if look_at is None else look_at) if step < steps or look_at is not None)
    tallies = {p.name: Tally(p, graph, steps) for p in graph.populations}
    theirs, ours = list[NDArray[np.int64]](), list[dict[int, NDArray[np.int64]]]()
    for index, batch in enumerate(torch.split(x, batch_size)):
        theirs.append(answer_of(model, batch).flatten(1).argmax(1).cpu().numpy())
        shown = present(
            graph,
            batch.numpy().reshape(len(batch), *graph.input_shape),
            steps,
            coding=coding,
            seed=seed + index,
            backend=backend,
            look_at=points,
            threads=threads,
        )
        ours.append({step: answer.reshape(len(batch), -1).argmax(1) for step, answer in sorted(shown.answers.items())})
        activations = next(network.batches(batch, len(batch)))
        for name, tally in tallies.items():
            tally.add(activations[name], shown)
        if on_progress is not None:
            on_progress(len(batch))
    trained = np.concatenate(theirs)
    spiking = {step: np.concatenate([batch[step] for batch in ours]) for step in ours[0]}
    return ConversionReport(
        len(x),
        steps,
        graph.dt,
        None if classes is None else float(np.mean(trained == classes)),
        {} if classes is None else {step: float(np.mean(answer == classes)) for step, answer in spiking.items()},
        {step: float(np.mean(answer == trained)) for step, answer in spiking.items()},
        tuple(
            tally.report(len(x), macs)
            for tally, macs in zip(tallies.values(), multiply_accumulates(graph), strict=True)
        ),
    )


def verify(
    model: nn.Module,
    graph: SpikingGraph,
    inputs: torch.Tensor | ArrayLike,
    labels: torch.Tensor | ArrayLike | None = None,
    *,
    steps: int = 200,
    max_loss: float | None = None,
    min_correlation: float | None = None,
    **options: Any,
) -> ConversionReport:
    """Raise `VerificationError` if a conversion is not good enough; for tests.

    Parameters
    ----------
    model, graph, inputs, labels, steps, options
        See `conversion_report`.
    max_loss
        Points (of 100) of accuracy that may be lost after all steps; needs labels.
    min_correlation
        What the correlation of rates and activations must reach in every layer.

    Returns
    -------
    ConversionReport

    Raises
    ------
    VerificationError
        With one line that names what was expected, what came, and the worst layer.
    InputError
        If nothing is asked for, or `max_loss` without labels.
    """
    if (max_loss is None and min_correlation is None) or (max_loss is not None and labels is None):
        raise InputError("verify needs max_loss with labels, or min_correlation, or both")
    report = conversion_report(model, graph, inputs, labels, steps=steps, **options)
    worst = report.worst_first[0]
    if max_loss is not None and report.loss is not None and report.trained_accuracy is not None:
        accuracy = 100 * report.accuracies[steps]
        if report.loss > max_loss:
            raise VerificationError(
                f"the spiking network answers {accuracy:.2f} % correctly after {steps} steps, {report.loss:.2f} points "
                f"less than the trained network ({100 * report.trained_accuracy:.2f} %); at most {max_loss} may be "
                f"lost; {_described(worst)}"
            )
    if min_correlation is not None and (worst.correlation is None or worst.correlation < min_correlation):
        raise VerificationError(
            f"rates and activations must correlate by at least {min_correlation} in every layer after {steps} steps; "
            f"{_described(worst)}"
        )
    return report


def _checked_labels(labels: torch.Tensor | ArrayLike, n: int) -> NDArray[np.int64]:
    given = np.asarray(labels.cpu() if isinstance(labels, torch.Tensor) else labels)
    if given.shape != (n,) or given.dtype.kind not in "iu":
        raise InputError(f"labels must be ({n},) whole numbers, got {given.dtype} of shape {given.shape}")
    return given.astype(np.int64)


def _described(layer: LayerReport) -> str:
    parts = ["no correlation" if layer.correlation is None else f"correlation {layer.correlation:.4f}"]
    parts += [f"{n} {what}" for what, n in (("dead", layer.dead), ("saturated", layer.saturated)) if n is not None]
    return f"worst layer {layer.name!r}: {', '.join(parts)} of {layer.neurons} neurons"


def _aligned(rows: list[dict[str, Any]]) -> list[str]:
    lines = [list(rows[0]), *([_word(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(w.rjust(n) if i else w.ljust(n) for i, (w, n) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]


def _word(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
