"""Homeostasis in the course of a night: rates are counted, and every so many steps the rules are applied."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..operators import Floats
from ..sleeping import SleepingNetwork
from .columns import Columns, columns_of, n_columns
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
        network: SleepingNetwork,
        streams: int,
        step: int,
        before: Homeostat | None,
    ) -> None:
        self._rules, self.every, self._network, self._streams = rules, every, network, streams
        self._columns = columns_of(network) if any(changes_columns(rule) for rule in rules) else []
        fits = before is not None and len(before.begun) == len(rules) * len(network.weights)
        self._before = before if before is not None and fits else _begun(rules, self._columns, network, step)
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
        n_weights = len(self._network.weights)
        for number, rule in enumerate(self._rules):
            if isinstance(rule, DownscalingRule):
                plastic = enumerate(self._network.plastic)
                weights[:n_weights] = [rule.apply(weights[i]) if may else weights[i] for i, may in plastic]
            elif isinstance(rule, SynapticHomeostasis):
                begun = past.begun[number * n_weights :]
                for index, columns in enumerate(self._columns):
                    if columns.plastic:
                        told = _Told(rule, columns.name, step)
                        weights[index] = _regulated(told, rule, columns, weights[index], rates, begun[index])
            if isinstance(rule, IntrinsicHomeostasis):
                for index, layer in enumerate(self._network.layers):
                    told = _Told(rule, layer.name or f"number {index + 1}", step)
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


def changes_columns(rule: HomeostasisRule) -> bool:
    """Whether a rule changes the weights into each neuron by its rate."""
    return isinstance(rule, SynapticHomeostasis) and not isinstance(rule, DownscalingRule)


def _begun(
    rules: Sequence[HomeostasisRule], columns: Sequence[Columns], network: SleepingNetwork, step: int
) -> Homeostat:
    """Return what is remembered where homeostasis begins."""
    begun: list[Values] = []
    for rule in rules:
        begin = getattr(rule, "begin", None)
        if begin is None or not changes_columns(rule):
            begun += [np.zeros(0)] * len(network.weights)
            continue
        for each, weights in zip(columns, network.weights, strict=True):
            like = np.zeros(n_columns(weights))
            begun.append(_Told(rule, each.name, step).values(begin, "begin", each.of(weights), like=like))
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


def _regulated(
    told: _Told, rule: Any, columns: Columns, weights: Floats, rates: Sequence[Values], begun: Values
) -> Floats:
    """Return weights as a rule changes them, in their precision; `rates` are those of all layers."""
    kept = (begun,) if hasattr(rule, "begin") else ()
    changed = told.values(rule.apply, "apply", columns.of(weights), columns.rates(rates), *kept)
    rounded = columns.back(changed, weights)
    told.finite(rounded, "apply")
    return rounded
