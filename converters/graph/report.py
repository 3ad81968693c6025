"""What a conversion kept and what it lost: the trained network and the spiking one on the same inputs."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ...sims.awake.graph import SpikingGraph
from ...sims.awake.present import present
from ...sims.errors import InputError
from ...sims.operators import Floats
from ..batches import Batches, Inputs
from ..errors import ConversionError
from ..front import as_inputs, as_network, checked_batch_size
from ..tracing import answer_of
from .conversion import ConversionReport
from .judge import Comparison, Judge, OutputKind, judge
from .layer_report import LayerReport, Tally, multiply_accumulates
from .operator_algebra import by_channel
from .relu_graph import checked_answer, relu_graph

GAIN = 5.0  # points more than the trained network that a converted one may answer correctly, by chance
LOOK_AT = (5, 10, 20, 50, 100, 200, 500, 1000)


class VerificationError(ConversionError):
    """A converted network is not as good as it must be."""


def conversion_report(
    model: nn.Module,
    graph: SpikingGraph,
    inputs: Inputs,
    labels: torch.Tensor | ArrayLike | None = None,
    *,
    output: OutputKind | None = None,
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
        (n, ...) as the model takes them; best not those of the calibration. Or a Dataset, a DataLoader or another
        iterable of batches, with labels or without, of which one is held at a time.
    labels
        Right answers, or None for those that `inputs` bring along, if any: classes from 0, (n,) or
        (n, *space); 0 or 1 for one logit; or real targets in the shape of the output, which tell that it is values, and
        no more.
    output
        What the output is: "classes", "sign" or "values". None tells it from labels and shapes (see `judge`).
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
    model = as_network(model)
    raw = Batches(inputs, passes=1 if labels is None else 2)
    network = relu_graph(model, raw, max_pool=graph.notes.get("max_pool", "refuse"))
    batches = raw.through(network.inputs)
    judged = judged_by(model, batches, labels, output)
    own_labels = labels is None and raw.first_labels is not None
    units = network.shapes
    if missing := [p.name for p in graph.populations if p.name not in units or units[p.name] != p.shape]:
        raise InputError(
            f"the graph has populations {missing} that the model has not, or in another shape; its layers are "
            f"{', '.join(unit.name for unit in network.units)}: is the graph made from this model?"
        )
    batch_size = checked_batch_size(batch_size)
    if int(np.prod(raw.shape)) != int(np.prod(graph.input_shape)):
        raise InputError(f"inputs must be (n, {', '.join(map(str, graph.input_shape))}), got {tuple(raw.first.shape)}")
    points = tuple(step for step in (LOOK_AT if look_at is None else look_at) if step < steps or look_at is not None)
    tallies = {p.name: Tally(p, graph, steps) for p in graph.populations}
    scaled = graph.output.name in graph.notes.get("scales", {})
    looks: dict[int, Comparison] = {}
    rungs = {name: Comparison(judged) for name in ("trained", "pooling replaced", "normalised")}
    bounded = {p.name for p in graph.populations if not p.several_spikes}
    most = {name: t.scale for name, t in tallies.items() if t.fires and t.scale is not None and name in bounded}
    seen = 0
    for index, (batch, y) in enumerate(batches.parts(batch_size)):
        seen += len(batch)
        right = judged_by(model, Batches(batch), y, judged.kind).labels if own_labels else None
        trained = answer_of(model, batch).detach().cpu().numpy()
        if not np.isfinite(trained).all():
            raise InputError("the trained network answers some inputs with values that are not finite")
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
        for step, answer in sorted(shown.answers.items()):
            look = looks.setdefault(step, Comparison(judged, scaled=scaled))
            look.add(trained, _outputs(graph, answer, step), right)
        activations = next(network.batches(batch, len(batch)))
        answer_name = network.output.name
        rungs["trained"].add(trained, trained, right)
        rungs["pooling replaced"].add(trained, activations[answer_name], right)
        rungs["normalised"].add(trained, next(network.batches(batch, len(batch), most))[answer_name], right)
        for name, tally in tallies.items():
            tally.add(activations[name], shown)
        if on_progress is not None:
            on_progress(len(batch))
    if graph.notes.get("max_pool", "refuse") == "refuse":
        del rungs["pooling replaced"]
    if not graph.notes.get("scales"):
        del rungs["normalised"]
    rungs["spiking"] = looks[steps]
    return ConversionReport(
        seen,
        steps,
        graph.dt,
        judged.kind,
        rungs["trained"].accuracy,
        {step: look.accuracy for step, look in looks.items() if look.accuracy is not None},
        {step: look.agreement for step, look in looks.items() if look.agreement is not None},
        {step: look.correlation for step, look in looks.items()},
        {step: look.error for step, look in looks.items()},
        {name: rung.score for name, rung in rungs.items()},
        tuple(
            tally.report(seen, macs) for tally, macs in zip(tallies.values(), multiply_accumulates(graph), strict=True)
        ),
    )


def verify(
    model: nn.Module,
    graph: SpikingGraph,
    inputs: Inputs,
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
        Points (of 100) that may be lost after all steps: of accuracy, which needs labels; or if the output is values,
        of the variance of the trained outputs that is explained. A network that answers far better than the trained
        one fails too: it is another one.
    min_correlation
        What the correlation of rates and activations must reach in every layer; of logits and values, its square is
        also the least share of the outputs' variance that must be explained, so that one that is shifted fails.

    Returns
    -------
    ConversionReport

    Raises
    ------
    VerificationError
        With one line that names what was expected, what came, and the worst layer.
    InputError
        If nothing is asked for, or `max_loss` of classes without labels.
    """
    inputs = Batches(inputs)
    judged = judged_by(model, inputs, labels, options.get("output"))
    unjudged = max_loss is not None and labels is None and inputs.first_labels is None and judged.kind != "values"
    if unjudged or (max_loss is None and min_correlation is None):
        raise InputError("verify needs max_loss with labels, or min_correlation, or both")
    report = conversion_report(model, graph, inputs, labels, steps=steps, **options)
    worst = report.worst_first[0]
    was, now = (100 * report.ladder[rung] for rung in ("trained", "spiking"))
    what = "explains" if report.output == "values" else "answers"
    of = "of the variance of the trained outputs" if report.output == "values" else "correctly"
    if max_loss is not None and report.loss is not None:
        if report.loss > max_loss + 1e-9:  # 5 of 100 is not exactly 5 points
            raise VerificationError(
                f"the spiking network {what} {now:.2f} % {of} after {steps} steps, {report.loss:.2f} points less than "
                f"the trained network ({was:.2f} %); at most {max_loss} may be lost; {_described(worst)}"
            )
        if -report.loss > max(max_loss, GAIN):
            raise VerificationError(
                f"the spiking network answers {now:.2f} % correctly after {steps} steps, {-report.loss:.2f} points "
                f"more than the trained network ({was:.2f} %): is the graph made from this network, as it is now?"
            )
    if min_correlation is not None and (worst.correlation is None or worst.correlation < min_correlation):
        raise VerificationError(
            f"rates and activations must correlate by at least {min_correlation} in every layer after {steps} steps; "
            f"{_described(worst)}"
        )
    error = report.errors[steps]
    unlike = error is not None and 1 - error**2 < (min_correlation or 0.0) ** 2
    if min_correlation is not None and report.output != "classes" and graph.output.reset == "none" and unlike:
        raise VerificationError(
            f"outputs differ by {error:.4g} standard deviations after {steps} steps, too much for a correlation of "
            f"{min_correlation} without a shift; {_described(worst)}"
        )
    return report


def _outputs(graph: SpikingGraph, answer: Floats, step: int) -> Floats:
    """Return answers after some steps as outputs of the trained network, in its units where the notes have a scale."""
    output = graph.output
    fires = output.reset != "none"
    scale = by_channel(np.asarray(graph.notes.get("scales", {}).get(output.name, 1.0)), len(output.shape))
    sums = answer.astype(np.float64).reshape(len(answer), *output.shape) - (0.0 if fires else output.initial)
    values: Floats = sums / step * scale
    return np.maximum(values, 0) if graph.notes.get("output_relu", False) else values


def judged_by(
    model: nn.Module,
    inputs: Inputs,
    labels: torch.Tensor | ArrayLike | None = None,
    output: OutputKind | None = None,
) -> Judge:
    """Return how a network's answers are judged (see `judge`), from its answer to the first input.

    Of inputs that come in batches with labels of their own, those of the first batch say what the output is.
    """
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    batches = Batches(inputs)
    answered = tuple(checked_answer(model, as_inputs(batches.first, dtype)[:1]).shape[1:])
    if labels is None and batches.first_labels is not None:
        return judge(answered, batches.shape, batches.first_labels, len(batches.first_labels), output)
    return judge(answered, batches.shape, labels, len(batches.first) if labels is None else batches.count, output)


def _described(layer: LayerReport) -> str:
    parts = ["no correlation" if layer.correlation is None else f"correlation {layer.correlation:.4f}"]
    parts += [f"{n} {what}" for what, n in (("dead", layer.dead), ("saturated", layer.saturated)) if n is not None]
    return f"worst layer {layer.name!r}: {', '.join(parts)} of {layer.neurons} neurons"
