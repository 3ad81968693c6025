"""Homeostasis in the course of a night: rates are counted, and every so many steps the rules are applied."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..network import SpikingLayer, SpikingNetwork
from ..operators import Floats
from .downscaling import DownscalingRule
from .homeostat import Homeostat
from .rule import HomeostasisRule, IntrinsicHomeostasis, SynapticHomeostasis, Values

if TYPE_CHECKING:
    from ..engines.contract import Engine


class Regulation:
    """The homeostasis of one sleeper of an engine that was just made.

    Parameters
    ----------
    rules, every
        What is applied, and how often.
    network, streams
        Of the sleeper, as the engine begins with them.
    step, before
        Where it begins, and what is remembered; None where homeostasis begins.
    """

    def __init__(
        self,
        rules: Sequence[HomeostasisRule],
        every: int,
        network: SpikingNetwork,
        streams: int,
        step: int,
        before: Homeostat | None,
    ) -> None:
        self._rules, self.every, self._network, self._streams = rules, every, network, streams
        fits = before is not None and len(before.begun) == len(rules) * len(network.layers)
        self._before = before if before is not None and fits else _begun(rules, network, step)
        self._counted: list[NDArray[np.int64]] = [np.zeros(n, dtype=np.int64) for n in network.sizes[1:]]

    def homeostat(self, engine: "Engine", sleeper: int) -> Homeostat:
        """Return what is to be remembered now."""
        step, before, begun = self._before
        now = engine.spike_counts(sleeper)[1:]
        counts = [a + (b - c) for a, b, c in zip(before, now, self._counted, strict=True)]
        return Homeostat(step, counts, begun)

    def apply(self, engine: "Engine", sleeper: int, step: int) -> None:
        """Apply all rules before a step, one after the other, by the rates since they were last applied.

        Raises
        ------
        InputError
            If a rule fails, or does not return what it should. Nothing is changed then.
        """
        past = self.homeostat(engine, sleeper)
        seconds = (step - past.step) * self._network.dt * self._streams
        rates = [counts / seconds for counts in past.counts]
        intrinsic = any(isinstance(rule, IntrinsicHomeostasis) for rule in self._rules)
        weights = list(engine.weights(sleeper))
        excitability = list(engine.state(sleeper).excitability or []) if intrinsic else []
        layers = self._network.layers
        for number, rule in enumerate(self._rules):
            begun = past.begun[number * len(layers) :]
            for index, layer in enumerate(layers):
                told = _Told(rule, layer.name or f"number {index + 1}", step)
                if isinstance(rule, SynapticHomeostasis) and layer.plastic:
                    weights[index] = _regulated(told, rule, layer, weights[index], rates[index], begun[index])
                if isinstance(rule, IntrinsicHomeostasis):
                    new = told.values(rule.excitability, "excitability", excitability[index].copy(), rates[index])
                    if (new <= -1).any():
                        raise told.wrong(f"excitability must be above -1, got {new.min()}")
                    excitability[index] = new
        if any(isinstance(rule, SynapticHomeostasis) for rule in self._rules):
            engine.set_weights(sleeper, weights)
        if intrinsic:
            engine.set_excitability(sleeper, excitability)
        self._counted = [counts.copy() for counts in engine.spike_counts(sleeper)[1:]]
        self._before = _forgotten(step, past)


def _begun(rules: Sequence[HomeostasisRule], network: SpikingNetwork, step: int) -> Homeostat:
    """Return what is remembered where homeostasis begins."""
    begun: list[Values] = []
    for rule in rules:
        for index, layer in enumerate(network.layers):
            told, begin = _Told(rule, layer.name or f"number {index + 1}", step), getattr(rule, "begin", None)
            columns = _columns(layer, layer.weights)
            expected = np.zeros(columns.shape[1])
            begun.append(np.zeros(0) if begin is None else told.values(begin, "begin", columns, like=expected))
    return Homeostat(step, [np.zeros(n, dtype=np.int64) for n in network.sizes[1:]], begun)


def _forgotten(step: int, past: Homeostat) -> Homeostat:
    return Homeostat(step, [np.zeros_like(counts) for counts in past.counts], past.begun)


class _Told(NamedTuple):
    """A rule at work, and where: it calls its methods, and says what is wrong with what they return."""

    rule: object
    layer: str
    step: int

    def wrong(self, what: str) -> InputError:
        where = f"homeostasis {type(self.rule).__name__}, layer {self.layer}, step {self.step}"
        return InputError(f"{where}: {what}; mend the rule")

    def values(self, method: Any, what: str, *arguments: Values, like: Values | None = None) -> Values:
        """Return what a method makes of some values: as many as the first of them, or as `like`."""
        expected = arguments[0] if like is None else like
        shape = expected.shape
        try:
            got = method(*arguments)
        except Exception as error:  # of a rule that anybody may have written
            raise self.wrong(f"{what}() failed: {type(error).__name__}: {error}") from error
        if not isinstance(got, np.ndarray) or got.dtype != expected.dtype or got.shape != shape:
            came = f"{got.dtype} of shape {got.shape}" if isinstance(got, np.ndarray) else type(got).__name__
            raise self.wrong(f"{what}() must return {expected.dtype} of shape {shape}, got {came}")
        return self.finite(got, what)

    def finite(self, values: NDArray[Any], what: str) -> NDArray[Any]:
        if not np.isfinite(values).all():
            raise self.wrong(f"{what}() gives {np.count_nonzero(~np.isfinite(values))} values that are not finite")
        return values


def _regulated(told: _Told, rule: Any, layer: SpikingLayer, weights: Floats, rates: Values, begun: Values) -> Floats:
    """Return the weights of a layer as a rule changes them, in their precision."""
    if isinstance(rule, DownscalingRule):
        return rule.apply(weights)
    columns = _columns(layer, weights)
    per_column = rates.reshape(columns.shape[1], -1).mean(axis=1)
    kept = (begun,) if hasattr(rule, "begin") else ()
    changed = told.values(rule.apply, "apply", columns, per_column, *kept)
    with np.errstate(over="ignore"):  # beyond the largest float32 there is infinity, which is refused
        rounded = changed.astype(weights.dtype)
    told.finite(rounded, "apply")
    return rounded if layer.kernels is None else np.ascontiguousarray(rounded.T).reshape(weights.shape)


def _columns(layer: SpikingLayer, weights: Floats) -> Values:
    """Return a copy of weights as float64, the incoming ones of a neuron, or of a channel, in a column."""
    matrix = weights if layer.kernels is None else weights.reshape(len(weights), -1).T
    return np.array(matrix, dtype=np.float64, order="C")
