"""The figure of a conversion: what was kept, what was lost, and where."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from neurosleep.converters.graph.conversion import ConversionReport
from neurosleep.converters.graph.layer_report import LayerReport
from neurosleep.figures.panels import STYLE, save

TRAINED, SPIKING = "#999999", "#4477aa"
WORST_COLORS = ("#cc6677", "#ddaa33", "#4477aa")
NEURON_COLORS = {"saturated": "#cc6677", "dead": "#332288", "silent": "#cccccc"}
NAME_LENGTH = 28


def draw(report: ConversionReport, path: Path) -> Path:
    """Draw a conversion report: answers over time, rates and activations above; layer by layer below.

    Parameters
    ----------
    report
        What `conversion_report` returned.
    path
        The image to write; its suffix gives the format.
    """
    below = 1.1 + 0.27 * len(report.layers)
    with rc_context(STYLE):
        figure = Figure((10, 3.2 + below), layout="constrained")
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.2, below))[:, 0]
        left, right = top.subplots(1, 2, width_ratios=(1.25, 1))
        panel_steps(left, report)
        panel_rates(right, report)
        correlations, neurons, operations = bottom.subplots(1, 3, sharey=True)
        panel_correlations(correlations, report)
        panel_neurons(neurons, report)
        panel_operations(operations, report)
        return save(figure, path)


def panel_steps(axes: Axes, report: ConversionReport) -> None:
    """Draw accuracy against the number of steps beside the trained network's; without labels, the agreement.

    Of outputs that are values, draw the share of the trained outputs' variance that is explained.
    """
    values = report.accuracies or report.agreement or _explained(report)
    percent = 100 * np.array(list(values.values()))
    axes.plot(list(values), percent, "o-", color=SPIKING, markersize=4, label="spiking network")
    last = f"{percent[-1]:.2f} %"
    if report.trained_accuracy is not None:
        level = 100 * report.trained_accuracy
        axes.axhline(level, color=TRAINED, linestyle="--", label=f"trained network, {level:.2f} %")
        axes.legend(loc="lower right")
        what, said = "accuracy (%)", "correct"
    elif report.output == "values":
        what, said = "variance explained (%)", "of the trained outputs' variance"
    else:
        what, said = "same answer (%)", "as the trained network answers"
    axes.set_title(f"{report.inputs:,} inputs: {last} {said} after {report.steps} steps")
    axes.set(xlabel=f"steps ({1000 * report.dt:g} ms each)", ylabel=what, xscale="log")
    axes.set_ylim(min(max(percent.min() - 5, 0), 90), 101)
    axes.set_xticks(list(values), [str(step) for step in values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def panel_rates(axes: Axes, report: ConversionReport) -> None:
    """Draw rates against activations of the three layers that correlate worst."""
    worst = report.worst_first[: len(WORST_COLORS)]
    for layer, color in reversed(list(zip(worst, WORST_COLORS, strict=False))):
        activations, rates = layer.pairs
        largest = max(np.abs(activations).max(initial=0), 1e-12)
        unit = largest if layer.error is not None else max(np.abs(rates).max(initial=0), 1e-12)  # no scale is known
        name = f"{_short(layer.name)}, r = {_correlation(layer)}"
        axes.plot(
            activations / largest,
            rates / unit,
            ".",
            color=color,
            markersize=3,
            alpha=0.5,
            label=name,
            rasterized=True,
        )
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    axes.axline((0, 0), slope=1, color=TRAINED, linewidth=0.8, linestyle="--", zorder=0)
    axes.set(
        xlim=(low, 1.05), ylim=(low, 1.05), xlabel="activation / largest of its layer", ylabel="rate, in the same units"
    )
    axes.set_title("Rates and activations, worst layers")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", fontsize=7, markerscale=3)


def panel_correlations(axes: Axes, report: ConversionReport) -> None:
    """Draw each layer's correlation of rates and activations."""
    values = [layer.correlation for layer in report.layers]
    rows = np.arange(len(values))
    known = [0.0 if value is None else value for value in values]
    axes.barh(rows, known, color=SPIKING, alpha=0.6, height=0.65)
    for row, layer in zip(rows, report.layers, strict=True):
        axes.annotate(_correlation(layer), (max(known[row], 0), row), (3, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, [_short(layer.name) for layer in report.layers])
    axes.set(xlim=(min(0.0, *known) * 1.05, 1.25), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xticks([0, 0.5, 1])
    axes.set_title("Correlation with activations")


def panel_neurons(axes: Axes, report: ConversionReport) -> None:
    """Draw what share of each layer's neurons is saturated, dead or silent."""
    rows = np.arange(len(report.layers))
    left = np.zeros(len(rows))
    labels = {"saturated": "saturated", "dead": "dead", "silent": "silent in both"}
    for what, color in NEURON_COLORS.items():
        share = np.array([100 * (getattr(layer, what) or 0) / layer.neurons for layer in report.layers])
        axes.barh(rows, share, left=left, color=color, height=0.65, label=labels[what])
        left += share
    for row, layer in zip(rows, report.layers, strict=True):
        if layer.rate is None:
            axes.annotate("does not fire", (1, row), va="center", fontsize=7, color="#777777")
    axes.set(xlim=(0, 100), xlabel="neurons (%)")
    axes.set_title("Saturated, or never firing", pad=20)
    axes.legend(
        ncols=3, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, columnspacing=1, handlelength=1
    )


def panel_operations(axes: Axes, report: ConversionReport) -> None:
    """Draw synaptic operations beside the trained network's multiply-accumulates, both for one input."""
    rows = np.arange(len(report.layers))
    spiking = [layer.synaptic_operations for layer in report.layers]
    trained = [layer.multiply_accumulates for layer in report.layers]
    axes.barh(rows - 0.17, spiking, color=SPIKING, alpha=0.6, height=0.34, label="synaptic operations")
    axes.barh(rows + 0.17, trained, color=TRAINED, height=0.34, label="multiply-accumulates")
    some = [value for value in (*spiking, *trained) if value > 0]
    axes.set(xscale="log", xlim=(min(some, default=1) / 3, max(some, default=1) * 2), xlabel="operations")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    axes.set_title(
        f"{_count(report.synaptic_operations)} against {_count(report.multiply_accumulates)} per input", pad=20
    )
    axes.legend(
        ncols=2, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, columnspacing=1, handlelength=1
    )


def _explained(report: ConversionReport) -> dict[int, float]:
    """Return the share of variance by number of steps, at least 0; of the correlation alone where no scale is known."""
    shares = {}
    for step, error in report.errors.items():
        known = max(report.correlations[step] or 0.0, 0.0) ** 2
        shares[step] = known if error is None else max(1 - error**2, 0.0)
    return shares


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"...{name[3 - NAME_LENGTH :]}"


def _correlation(layer: LayerReport) -> str:
    return "-" if layer.correlation is None else f"{layer.correlation:.4f}"


def _count(value: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.3g}"
