"""How weights of a graph change in one step, by what all synapses ask for that they stand for: the specification."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..network import Sharing
from ..operators import Floats
from ..rules.evaluating import evaluated
from ..rules.hebbian import is_shipped
from ..rules.rule import Rule
from .geometry import Geometry, counts, values_seen

Spikes = NDArray[np.bool_]


class Use(NamedTuple):
    """One pathway's use of weights.

    Attributes
    ----------
    where
        Which neuron meets which weight.
    negative
        (channels,) whether the gain behind the weights is negative: synapses act with their sign turned.
    """

    where: Geometry
    negative: Spikes


class Met(NamedTuple):
    """What one use saw in a step: values at the weights (streams, ...), and which places behind them fired."""

    seen: Floats
    fired: Spikes


class Asked(NamedTuple):
    """Synapses in which both neurons fired, and in which the postsynaptic one did, for each weight.

    Both (2, channels, presynaptic channels of a group, taps): of positive gains, then of negative ones. What they ask
    for is divided by `norm`.
    """

    c: Floats
    n: Floats
    norm: Floats


def learn_together(
    weights: Floats, uses: Sequence[Use], met: Sequence[Met], rule: Rule, sharing: Sharing, step: int
) -> None:
    """Change weights (channels, presynaptic channels of a group, taps) in place for one step.

    A weight changes by the mean over parts of ``plus * g(w) - minus * g(-w)``, where ``plus = (inc * c - dec * (n - c))
    / norm`` counts synapses behind positive gains and ``minus`` those behind negative ones. Parts are the copies
    (streams); where `norm` is the same in all copies there is one part, in which counts are of all copies.
    """
    parts = _asked(uses, met, weights.dtype, sharing)
    change = _shipped if is_shipped(rule) else _own
    asked = np.any([part.n.any(axis=0) for part in parts], axis=0)
    changed = change(weights, parts, rule)[asked]
    if not np.isfinite(changed).all():
        raise InputError(f"{rule} makes a weight infinite or NaN in step {step}: weights must stay finite")
    weights[asked] = changed


def _asked(uses: Sequence[Use], met: Sequence[Met], dtype: "np.dtype[Any]", sharing: Sharing) -> list[Asked]:
    """Return what is asked for by each copy, or by all together."""
    copies = [_of_copy(uses, met, dtype, copy) for copy in range(len(met[0].seen))]
    synapses = copies[0].norm
    if sharing == "mean" and synapses.max() > 1:
        return [Asked(c, n, np.maximum(n.sum(axis=0), 1)) for c, n, _ in copies]
    c, n = np.sum([part.c for part in copies], axis=0), np.sum([part.n for part in copies], axis=0)
    each = np.maximum(synapses, 1) if sharing == "positions" else np.ones_like(synapses)
    return [Asked(c, n, each * dtype.type(len(copies)))]


def _of_copy(uses: Sequence[Use], met: Sequence[Met], dtype: "np.dtype[Any]", copy: int) -> Asked:
    """Return the counts of one copy, all uses added up, and how many synapses each weight stands for, as `norm`."""
    both, fired, synapses = np.zeros(1, dtype), np.zeros(1, dtype), np.zeros(1, dtype)
    for (where, negative), (seen, post) in zip(uses, met, strict=True):
        c, n, there = counts(where, values_seen(where, seen[copy]), post[copy], dtype)
        c, n = (np.broadcast_to(x, c.shape).reshape(len(negative), -1, c.shape[-1]) for x in (c, n))
        signs = np.stack([~negative, negative])[..., np.newaxis, np.newaxis]
        both, fired, synapses = both + signs * c, fired + signs * n, synapses + there
    return Asked(both, fired, synapses)


def _shipped(weights: Floats, parts: Sequence[Asked], rule: Any) -> Floats:
    real = weights.dtype.type
    each = [(real(rule.inc) * c - real(rule.dec) * (n - c)) / norm for c, n, norm in parts]
    plus, minus = sum(each[1:], each[0]) / real(len(each))
    changed: Floats = weights + (plus * rule.factor(weights) - minus * rule.factor(-weights))
    return changed


def _own(weights: Floats, parts: Sequence[Asked], rule: Rule) -> Floats:
    """Return weights as a rule with `on_post` alone changes them, in float64, rounded once."""
    function, changed = evaluated(rule, "on_post"), weights.copy()
    if function is None:
        return changed

    def wanted(w: float, both: float, fired: float) -> float:
        together = both * (function(w, True, (), (), 1.0) - w) if both else 0.0
        alone = fired - both
        return together + (alone * (function(w, False, (), (), 1.0) - w) if alone else 0.0)

    norms = [np.broadcast_to(part.norm, weights.shape) for part in parts]
    with np.errstate(all="ignore"):  # a rule may count on exp(-1000) being 0
        for at in zip(*np.nonzero(np.any([part.n.any(axis=0) for part in parts], axis=0)), strict=True):
            w, change = float(weights[at]), 0.0
            for (c, n, _), norm in zip(parts, norms, strict=True):
                plus, minus = wanted(w, float(c[0][at]), float(n[0][at])), wanted(-w, float(c[1][at]), float(n[1][at]))
                change += (plus - minus) / float(norm[at])
            changed[at] += weights.dtype.type(change / len(parts))
    return changed
