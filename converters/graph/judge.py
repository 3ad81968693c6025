"""What a network's output means, and how alike two networks answer: the one place that decides it.

An output (channels, *space) is read as one of three kinds. "classes": the largest channel is the answer, everywhere in
space. "sign": each number is a logit, and positive is yes. "values": the numbers themselves count, as in regression and
autoencoders.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ...sims.errors import InputError
from ...sims.operators import Shape

OutputKind = Literal["classes", "sign", "values"]


@dataclass(frozen=True, eq=False)
class Judge:
    """How answers are judged.

    Attributes
    ----------
    kind
        What the output is.
    labels
        Right answers: classes (n, *space), or 0 and 1 (n, *shape), or None. Targets of "values" are not kept: what
        counts there is how near the answers are to the trained network's.
    """

    kind: OutputKind
    labels: NDArray[np.int64] | None

    def answers(self, outputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the class or the sign of outputs (n, *shape)."""
        return outputs.argmax(1) if self.kind == "classes" else (outputs > 0).astype(np.int64)


def judge(
    shape: Shape,
    inputs: Shape,
    labels: torch.Tensor | ArrayLike | None,
    n: int,
    kind: OutputKind | None = None,
) -> Judge:
    """Tell what an output is, from its shape and the labels, and check that labels fit it.

    Without labels, one channel, or as many numbers as come in, are values; anything else is classes. Whole labels mean
    classes, or of one channel a sign; so do real ones that are all 0 or 1. Other real ones are targets of values.

    Parameters
    ----------
    shape, inputs
        Of one output, (channels, *space), and of one input.
    labels
        As they were given.
    n
        How many inputs there are.
    kind
        What the output is, if that is known.

    Raises
    ------
    InputError
        If labels have another shape or type, or name an output that is not there.
    """
    if kind is not None and kind not in get_args(OutputKind):
        raise InputError(f"output must be one of {', '.join(get_args(OutputKind))}, or None, got {kind!r}")
    if labels is None:
        alike = shape[0] == 1 or np.prod(shape) == np.prod(inputs)
        return Judge(kind or ("values" if alike else "classes"), None)
    given = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    given = given.astype(np.int64) if given.dtype.kind == "b" else given
    if given.dtype.kind not in "iuf":
        raise InputError(f"labels must be numbers, got {given.dtype} of shape {given.shape}")
    if kind is None:
        kind = _kind(shape, given, n)
    if kind == "classes":
        return Judge(kind, _classes(shape, given, n))
    full = (n, *shape)
    if given.shape != full and not (shape[0] == 1 and given.shape == (n, *shape[1:])):
        raise InputError(f"labels must be {full} for an output of that shape, got {given.dtype} of shape {given.shape}")
    if kind == "values":
        if not np.isfinite(given).all():
            raise InputError("labels of an output of values must be finite, but some are not")
        return Judge(kind, None)
    if wrong := _first(given, (given != 0) & (given != 1)):
        raise InputError(
            f"labels of one logit must be 0 or 1 (its sign is the answer), got {wrong}; if the output is a number and "
            "not a logit, give real targets, or output='values'"
        )
    return Judge(kind, given.reshape(full).astype(np.int64))


def _kind(shape: Shape, given: NDArray[Any], n: int) -> OutputKind:
    whole = given.dtype.kind in "iu"
    if shape[0] == 1:
        return "sign" if whole or not ((given != 0) & (given != 1)).any() else "values"
    return "values" if not whole and given.shape == (n, *shape) else "classes"


def _classes(shape: Shape, given: NDArray[Any], n: int) -> NDArray[np.int64]:
    wanted = (n, *shape[1:])
    if given.dtype.kind == "f" or given.shape != wanted:
        mend = "; of one-hot labels give labels.argmax(1)" if given.shape == (n, *shape) else ""
        raise InputError(f"labels must be {wanted} whole numbers, got {given.dtype} of shape {given.shape}{mend}")
    if wrong := _first(given, (given < 0) | (given >= shape[0])):
        raise InputError(
            f"labels must be from 0 to {shape[0] - 1}, as the network has {shape[0]} outputs, got {wrong}; number the "
            "classes from 0, and leave out what has no class"
        )
    return given.astype(np.int64)


def _first(given: NDArray[Any], wrong: NDArray[np.bool_]) -> str:
    return str(given[wrong][0]) if wrong.any() else ""


class Comparison:
    """The answers of a network beside the trained one's, summed up over batches.

    Parameters
    ----------
    judge
        What counts.
    scaled
        Whether outputs are in the trained network's units; otherwise there is no error.
    """

    def __init__(self, judge: Judge, *, scaled: bool = True) -> None:
        self.judge, self.scaled, self.seen = judge, scaled, 0
        self.same = self.right = self.places = 0
        self.sums: NDArray[np.float64] = np.zeros(5)
        self.difference = 0.0

    def add(
        self, trained: NDArray[np.floating], ours: NDArray[np.floating], labels: NDArray[np.int64] | None = None
    ) -> None:
        """Take the outputs (b, *shape) of both networks for the next inputs; their labels, if the judge has not all."""
        a, r = trained.astype(np.float64), ours.reshape(trained.shape).astype(np.float64)
        sums = np.stack([x.reshape(len(a), -1).sum(0) for x in (a, r, a * a, r * r, a * r)])
        self.sums = sums + (self.sums if self.seen else 0)
        self.difference += float(((a - r) ** 2).sum())
        span = slice(self.seen, self.seen + len(a))
        self.seen += len(a)
        if self.judge.kind != "values":
            answers = self.judge.answers(r)
            self.places += answers.size
            self.same += int((answers == self.judge.answers(a)).sum())
            if self.judge.labels is not None:
                right = self.judge.labels[span] if labels is None else labels
                self.right += int((answers == right).sum())

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, or None without labels."""
        return None if self.judge.labels is None else self.right / self.places

    @property
    def agreement(self) -> float | None:
        """Share of answers that are the trained network's, or None if the output is values."""
        return self.same / self.places if self.places else None

    def _moments(self) -> tuple[float, float, float]:
        """Return variance, variance and covariance of both, summed over outputs, each output around its own mean."""
        a, r, aa, rr, ar = self.sums
        n = max(self.seen, 1)
        parts = ((aa, a, a), (rr, r, r), (ar, a, r))
        around = [float((products - x * y / n).sum()) for products, x, y in parts]
        raw = [float(products.sum()) for products, _, _ in parts]
        still = around[0] <= 1e-12 * raw[0]  # an output that never changes is measured from 0
        return (raw[0], raw[1], raw[2]) if still else (around[0], around[1], around[2])

    @property
    def correlation(self) -> float | None:
        """Pearson's, of each output around its mean: 0 if ours never change; None if the trained are all 0."""
        trained, ours, both = self._moments()
        if trained <= 0:
            return None
        return both / float(np.sqrt(trained * ours)) if ours > 1e-12 * trained else 0.0

    @property
    def error(self) -> float | None:
        """Root mean square of the difference, in standard deviations of the trained outputs; None without a scale.

        0 is the same, 1 is what an output fixed at its mean would have.
        """
        trained = self._moments()[0]
        if not self.scaled or (trained <= 0 and self.difference > 0):
            return None
        return float(np.sqrt(self.difference / trained)) if trained > 0 else 0.0

    @property
    def score(self) -> float:
        """Accuracy; without labels, agreement; of values, the share of the trained outputs' variance explained."""
        for share in (self.accuracy, self.agreement):
            if share is not None:
                return share
        if self.error is not None:
            return 1 - self.error**2
        correlation = max(self.correlation or 0.0, 0.0)
        return 0.0 if self.scaled else correlation**2
