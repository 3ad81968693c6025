"""How a rule of one's own changes the weights of one layer or projection in one step: the specification.

Every synapse is asked for itself, in plain Python. Traces are kept as they were right after their neuron's last spike.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..network import Sharing
from ..operators import Floats
from ..rules.evaluating import Evaluated, evaluated
from ..rules.rule import Rule, traces_of
from ..rules.traces import left, left_tables
from .geometry import Geometry, asked

Spikes = NDArray[np.bool_]


class Traces:
    """Traces of the neurons at one end of some synapses.

    Parameters
    ----------
    rule, where
        Which traces.
    dt
        Seconds a step.
    values
        (traces, streams, n) as they were right after each neuron's last spike; changed in place.
    last
        (streams, n) step of that spike; changed in place.
    """

    def __init__(
        self,
        rule: Rule,
        where: Literal["pre", "post"],
        dt: float,
        values: NDArray[np.float64],
        last: NDArray[np.int64],
    ) -> None:
        self._values, self._last = values, last
        kinds = traces_of(rule, where).values()
        self._tables = [left_tables(trace.seconds(rule) / dt) for trace in kinds]
        self._keep = [trace.kind == "all" for trace in kinds]

    def now(self, step: int) -> NDArray[np.float64]:
        """Return all traces as they are in a step, before its spikes, (traces, streams, n)."""
        parts = [v * left(*table, step - self._last) for v, table in zip(self._values, self._tables, strict=True)]
        return np.array(parts).reshape(self._values.shape)

    def rise(self, spikes: Spikes, step: int) -> None:
        """Let the traces of the neurons that fire in a step, (streams, n), rise."""
        for value, now, keep in zip(self._values, self.now(step), self._keep, strict=True):
            value[spikes] = now[spikes] + 1.0 if keep else 1.0
        self._last[spikes] = step


class Learning:
    """A rule at work on the weights of one layer or projection; `arrays` are its traces, see `Traces`."""

    def __init__(self, rule: Rule, dt: float, arrays: Sequence[NDArray[Any]]) -> None:
        pre, post, pre_last, post_last = arrays
        self._rule = rule
        self._pre, self._post = Traces(rule, "pre", dt, pre, pre_last), Traces(rule, "post", dt, post, post_last)
        self._on_pre, self._on_post = evaluated(rule, "on_pre"), evaluated(rule, "on_post")

    def learn(self, weights: Floats, pre: Spikes, post: Spikes, step: int, modulator: float) -> None:
        """Change weights (n_pre, n_post) in place for one step, with spikes (streams, n) of both ends."""
        before = self._post.now(step)
        with np.errstate(all="ignore"):  # a rule may count on exp(-1000) being 0
            if self._on_pre is not None:
                self._ask(self._on_pre, weights.T, pre, post, (self._pre.now(step), before), step, modulator)
            self._pre.rise(pre, step)
            if self._on_post is not None:
                self._ask(self._on_post, weights, post, pre, (self._pre.now(step), before), step, modulator)
        self._post.rise(post, step)

    def _ask(
        self,
        function: Evaluated,
        weights: Floats,
        firing: Spikes,
        other: Spikes,
        traces: tuple[NDArray[np.float64], NDArray[np.float64]],
        step: int,
        modulator: float,
    ) -> None:
        """Change weights (n_other, n_firing) of the neurons that fire; of several copies by the mean."""
        copies, own, real = len(firing), function is self._on_post, weights.dtype.type
        at_pre, at_post = (values.transpose(1, 2, 0).tolist() for values in traces)  # by copy and neuron
        for k in np.flatnonzero(firing.any(axis=0)):
            in_copies = np.flatnonzero(firing[:, k])
            for i in range(len(weights)):
                w = float(weights[i, k])
                pre, post = (i, k) if own else (k, i)
                new, change = w, 0.0
                for m in in_copies:
                    new = function(w, bool(other[m, i]), at_pre[m][pre], at_post[m][post], modulator)
                    change += (new - w) / copies
                weights[i, k] = real(new) if copies == 1 else weights[i, k] + real(change)
                if not np.isfinite(weights[i, k]):
                    raise InputError(
                        f"{self._rule} makes {weights[i, k]} of the weight {w} in step {step}: weights must stay finite"
                    )


def learn_shared(
    where: Geometry, weights: Floats, seen: Floats, post: Spikes, rule: Rule, sharing: Sharing, modulator: float
) -> None:
    """Change kernels in place for one step by a rule with `on_post` alone; see `geometry.learn_shared`.

    Each synapse whose neuron fired asks for the change that the rule gives it, and the weight changes once.
    """
    function, real = evaluated(rule, "on_post"), weights.dtype.type
    if function is None:
        return
    counts = asked(where, weights, seen, post, sharing)
    c, n, norm = np.broadcast_arrays(*counts)
    flat, both, fired, counted = weights.reshape(-1), c.ravel(), n.ravel(), norm.ravel()
    with np.errstate(all="ignore"):
        for k in np.flatnonzero(fired):
            w = float(flat[k])
            together = float(both[k])
            change = together * (function(w, True, (), (), modulator) - w) if together else 0.0
            alone = float(fired[k]) - together
            change += alone * (function(w, False, (), (), modulator) - w) if alone else 0.0
            flat[k] += real(change / max(float(counted[k]), 1.0))
