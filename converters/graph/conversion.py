"""What a conversion kept and what it lost, as a record that prints itself."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from .judge import OutputKind
from .layer_report import LayerReport


@dataclass(frozen=True, eq=False)
class ConversionReport:
    """A trained network and its spiking conversion on the same inputs.

    Attributes
    ----------
    inputs, steps, dt
        How many inputs were shown, for how many steps of `dt` seconds.
    output
        What the output is: "classes" (the largest counts), "sign" (of a logit) or "values".
    trained_accuracy
        Share of answers of the trained network that are right, or None without labels.
    accuracies
        The same of the spiking network, by number of steps; empty without labels.
    agreement
        Share of answers that both networks have in common, by number of steps; empty if the output is values.
    correlations
        Pearson's, of both networks' outputs, each output around its mean, by number of steps: 0 if the spiking ones
        never change.
    errors
        Root mean square of the difference, in standard deviations of the trained outputs, by number of steps; None
        where the graph's notes have no scale.
    ladder
        What each step of the conversion left, after all steps: "trained", "pooling replaced" (if it was), "normalised"
        (no rate above one spike a step) and "spiking". Accuracies; without labels, agreement with the trained network;
        of values, the share of the trained outputs' variance that is explained.
    layers
        In the order of the graph.
    """

    inputs: int
    steps: int
    dt: float
    output: OutputKind
    trained_accuracy: float | None
    accuracies: dict[int, float]
    agreement: dict[int, float]
    correlations: dict[int, float | None]
    errors: dict[int, float | None]
    ladder: dict[str, float]
    layers: tuple[LayerReport, ...]

    @property
    def loss(self) -> float | None:
        """Points (of 100) that the conversion lost after all steps, or None for classes without labels.

        Of accuracy; of values, of the share of the trained outputs' variance that is explained.
        """
        if self.trained_accuracy is None and self.output != "values":
            return None
        return 100 * (self.ladder["trained"] - self.ladder["spiking"])

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
            "output": self.output,
            "trained_accuracy": self.trained_accuracy,
            "loss": self.loss,
            "accuracies": {str(step): value for step, value in self.accuracies.items()},
            "agreement": {str(step): value for step, value in self.agreement.items()},
            "correlations": {str(step): value for step, value in self.correlations.items()},
            "errors": {str(step): value for step, value in self.errors.items()},
            "ladder": self.ladder,
            "synaptic_operations": self.synaptic_operations,
            "multiply_accumulates": self.multiply_accumulates,
            "layers": layers,
        }

    def __str__(self) -> str:
        lines = [f"{self.inputs} inputs, {self.steps} steps of {1000 * self.dt:g} ms", self._ladder()]
        for step, correlation in self.correlations.items():
            if self.output == "values":
                said = f"correlation {_word(correlation)}, error {_word(self.errors[step])} standard deviations"
            else:
                said = f"same answer {100 * self.agreement[step]:.2f} %"
            accuracy = f"accuracy {100 * self.accuracies[step]:.2f} %, " if self.accuracies else ""
            lines.append(f"after {step:>4} steps: {accuracy}{said}")
        lines.append(
            f"per input: {self.synaptic_operations:,.0f} synaptic operations; the trained network needs "
            f"{self.multiply_accumulates:,} multiply-accumulates"
        )
        return "\n".join([*lines, "", *_aligned(self.table())])

    def _ladder(self) -> str:
        what = "accuracy" if self.accuracies else "same answer"
        what = "variance explained" if self.output == "values" else what
        return f"{what}: {', '.join(f'{name} {100 * share:.2f} %' for name, share in self.ladder.items())}"


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
