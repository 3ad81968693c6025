"""What is kept of an analysis: plain numbers, lists and dicts, with None where a value is not defined."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from neurosleep.analysis.activations import layer_activations
from neurosleep.analysis.correlations import class_correlations
from neurosleep.analysis.replay import TTest, compare
from neurosleep.analysis.sparseness import representational_overlap, sparseness
from neurosleep.analysis.specificity import input_change
from neurosleep.analysis.weights import block_means, weight_changes

Neurons = Sequence[Sequence[NDArray[np.int64]]]  # for each hidden layer, for each class: indices


def plain(value: Any) -> Any:
    """Return arrays and numbers as lists and Python numbers, nan as None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def representation(
    model: nn.Module,
    inputs: torch.Tensor | ArrayLike,
    labels: ArrayLike,
    tasks: Sequence[Sequence[int]],
    *,
    top: int = 100,
) -> list[dict[str, Any]]:
    """Describe how each hidden layer represents the classes (Tadros et al. 2022, Fig. 4).

    Parameters
    ----------
    model, inputs, labels
        A network, (n, ...) and (n,).
    tasks
        Classes of each task, for the overlap between tasks.
    top
        How many units count as most active in the overlap.

    Returns
    -------
    One dict a hidden layer: correlations (classes, classes), skipped (classes,), within, between, sparseness (see
    `Sparseness.summary`), cosine and jaccard (tasks, tasks).
    """
    described = []
    for activity in layer_activations(model, inputs)[:-1]:
        correlations = class_correlations(activity, labels)
        overlap = representational_overlap(activity, labels, tasks, top=top)
        described.append(
            {
                "correlations": correlations.matrix,
                "skipped": correlations.skipped,
                "within": correlations.within,
                "between": correlations.between,
                "sparseness": sparseness(activity).summary(),
                "cosine": overlap.cosine,
                "jaccard": overlap.jaccard,
            }
        )
    return list(plain(described))


def input_changes(
    before: nn.Module,
    after: nn.Module,
    neurons: Neurons,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    classes: Sequence[int],
    tasks: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:
    """Describe the input to each task's neurons, shown inputs of the class to which they are specific (Fig. 5).

    `neurons` are the specific ones of each hidden layer and class, in the order of `classes`.

    Returns
    -------
    One dict a hidden layer. Under "tasks" for each task: before, after and change (means over its neurons), their
    s.d. over neurons, and n. Under "test" whether the last task's neurons change otherwise than all others': a
    Welch test, two-sided, corrected for the number of layers; None where there are fewer than two neurons in either.
    """
    layers = len(neurons)
    changes = {
        c: input_change(before, after, [layer[index] for layer in neurons], inputs[labels == c])
        for index, c in enumerate(classes)
    }
    described = []
    for layer in range(layers):
        of_tasks = []
        for task in tasks:
            old = np.concatenate([changes[c][layer].before for c in task])
            new = np.concatenate([changes[c][layer].after for c in task])
            of_tasks.append((old, new))
        rows = [
            {
                "before": _mean(old),
                "before sd": _sd(old),
                "after": _mean(new),
                "after sd": _sd(new),
                "change": _mean(new - old),
                "change sd": _sd(new - old),
                "n": len(old),
            }
            for old, new in of_tasks
        ]
        differences = [new - old for old, new in of_tasks]
        test = _test(differences[-1], np.concatenate(differences[:-1] or [np.zeros(0)]), comparisons=layers)
        described.append({"tasks": rows, "test": test})
    return list(plain(described))


def replay(
    rates: Sequence[NDArray[np.float64]],
    neurons: Neurons,
    randoms: Sequence[NDArray[np.int64]],
    classes: Sequence[int],
    tasks: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:
    """Compare the firing of class-specific neurons during sleep with that of random ones, and of tasks (Fig. 6).

    Parameters
    ----------
    rates
        (n_units,) in Hz for each hidden layer.
    neurons
        Specific neurons of each hidden layer and class, in the order of `classes`.
    randoms
        Random neurons of each hidden layer.
    classes, tasks
        The classes, and those of each task in the order in which they were learned.

    Returns
    -------
    One dict a hidden layer: "groups", for each class and last for the random neurons: class (None), mean, sd (Hz) and
    n; "tests", for each class a two-sided Welch test against the random neurons, corrected for all classes and layers;
    "recent", a one-sided one that neurons of the last task fire more than those of all earlier ones, corrected for the
    layers. None for a test with fewer than two neurons in either group.
    """
    described = []
    for rate, groups, others in zip(rates, neurons, randoms, strict=True):
        fired = [rate[group] for group in groups]
        by_class = dict(zip(classes, fired, strict=True))
        recent = np.concatenate([by_class[c] for c in tasks[-1]])
        earlier = np.concatenate([np.zeros(0), *(by_class[c] for task in tasks[:-1] for c in task)])
        described.append(
            {
                "groups": [
                    {"class": c, "mean": _mean(x), "sd": _sd(x), "n": len(x)}
                    for c, x in [*by_class.items(), (None, rate[others])]
                ],
                "tests": [_test(x, rate[others], comparisons=len(classes) * len(rates)) for x in fired],
                "recent": _test(recent, earlier, comparisons=len(rates), one_sided=True),
            }
        )
    return list(plain(described))


def weight_blocks(
    before: nn.Module, after: nn.Module, neurons: Neurons, randoms: Sequence[NDArray[np.int64]], classes: Sequence[int]
) -> dict[str, Any]:
    """Describe what a night did to the weights between groups of neurons.

    Groups are the specific neurons of each class and, last, the random ones; in the output layer the neuron of each
    class and, last, the outputs of no class.

    Returns
    -------
    "fields": (classes, n_inputs) mean change of the weights from each input neuron into the first layer's groups.
    "blocks": for each further layer (groups below, groups above) mean change.
    """
    changes = weight_changes(before, after)
    groups = [[*layer, other] for layer, other in zip(neurons, randoms, strict=True)]
    n_outputs = changes[-1].shape[1]
    unused = np.setdiff1d(np.arange(n_outputs), classes)
    groups.append([*(np.array([c]) for c in classes), unused])
    pixels = [np.array([pixel]) for pixel in range(changes[0].shape[0])]
    fields = block_means(changes[0], pixels, groups[0][:-1]).T
    blocks = [block_means(change, *pair) for change, pair in zip(changes[1:], pairwise(groups), strict=True)]
    return {"fields": plain(fields), "blocks": plain(blocks)}


def is_above(test: dict[str, Any] | None) -> bool:
    """Whether a test of `replay` tells, at a level of 0.05 after correction, that the first group fires more."""
    return test is not None and test["p"] is not None and bool(test["p"] < 0.05 and test["statistic"] > 0)


def _test(
    first: NDArray[np.float64], second: NDArray[np.float64], *, comparisons: int, one_sided: bool = False
) -> dict[str, Any] | None:
    if min(len(first), len(second)) < 2:
        return None
    test: TTest = compare(first, second, alternative="greater" if one_sided else "two-sided", comparisons=comparisons)
    return test.to_dict()


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
