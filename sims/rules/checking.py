"""`check_rule`: whether what runs is what was meant."""

import itertools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..drives.rates import UniformNoise
from ..ensemble import Simulation, simulate
from ..errors import BackendError, InputError
from ..network import SpikingLayer, SpikingNetwork
from .compiling import evaluate, program
from .evaluating import evaluated
from .front import any_rule
from .hebbian import is_shipped
from .per_layer import PerLayer, Plasticity
from .rule import Rule, traces_of, uses_modulator

SIZES = (12, 8, 5)
STEPS = 40
CALLS = 200


def check_rule(plasticity: Plasticity, seed: int = 0) -> None:
    """Compare a rule as it was written with what runs of it, on random numbers and on a random network.

    Its functions are called in Python and compiled, with the same arguments; then a small network sleeps with it on the
    backends "reference" and "cpu". A rule that passes gives the same weights, bit for bit.

    Parameters
    ----------
    plasticity
        The rule, or `PerLayer` rules for two layers.
    seed
        Of the random numbers.

    Raises
    ------
    InputError
        With the first difference; or if the rule cannot be compiled, gives anything but finite numbers, remembers more
        than its traces, or does not give the same twice.
    """
    if not isinstance(plasticity, Rule | PerLayer):
        raise InputError(f"check_rule needs a rule, such as PairSTDP(0.01, 0.01), got {plasticity!r}")
    rng = np.random.default_rng(seed)
    rule = any_rule(plasticity)
    if rule is not None and not is_shipped(rule):
        for name in ("on_post", "on_pre"):
            _check_calls(rule, name, rng)
    _check_night(plasticity, rng)


def _check_calls(rule: Rule, name: Literal["on_post", "on_pre"], rng: np.random.Generator) -> None:
    function = evaluated(rule, name)
    made = program(rule, [True], np.dtype(np.float64))
    if function is None:
        return
    names = traces_of(rule, "pre"), traces_of(rule, "post")
    for _ in range(CALLS):
        w, modulator = rng.normal(0, 1, 2).tolist()
        pre, post = (rng.exponential(1, len(each)) for each in names)
        fired = bool(rng.random() < 0.5)
        given = w, fired, pre.tolist(), post.tolist(), modulator
        with np.errstate(all="ignore"):
            meant, again = function(*given), function(*given)
        both = evaluate(made.tag, made.numbers, 0, w, fired, pre[:, None], post[:, None], modulator)
        runs = both[0] if name == "on_post" else both[1]
        traces = zip((*names[0], *names[1]), (*given[2], *given[3]), strict=True)
        told = ", ".join([f"w={w}", f"fired={fired}", *(f"{trace}={value}" for trace, value in traces)])
        what = f"{name} of {rule} for {told}, modulator={modulator}"
        if meant != again:
            raise InputError(f"{what} is {meant}, then {again}: a rule must give the same for the same arguments")
        if meant != runs:
            raise InputError(
                f"{what} is {meant} in Python, but {runs} compiled: use plain arithmetic, and exp of "
                "neurosleep.sims.rules.exponential instead of that of math or NumPy"
            )


class _Waves:
    """A modulator that goes up and down, below 0 too."""

    def values(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.sin(steps / 5.0)
        return values


def _check_night(plasticity: Plasticity, rng: np.random.Generator) -> None:
    """Let the same network sleep on both backends, and compare weights step by step."""
    layers = [
        SpikingLayer(rng.normal(0.2, 0.4, (n, m)), gain=1.0, threshold=0.7, name=str(index))
        for index, (n, m) in enumerate(itertools.pairwise(SIZES))
    ]
    network, rule = SpikingNetwork(tuple(layers)), any_rule(plasticity)
    how: dict[str, Any] = {"modulator": _Waves()} if rule is not None and uses_modulator(rule) else {}
    meant: Simulation | None = None
    runs: Simulation | None = None
    for step in range(STEPS):
        meant = _one_step(network, plasticity, meant, backend="reference", **how)
        try:
            runs = _one_step(network, plasticity, runs, backend="cpu", **how)
        except BackendError:
            if step == 0:
                return  # this backend has no such rules
            raise
        for layer, (a, b) in enumerate(zip(meant.network.layers, runs.network.layers, strict=True)):
            different = np.argwhere(~np.isclose(a.weights, b.weights, rtol=1e-12, atol=1e-15))
            if different.size:
                i, j = different[0].tolist()
                raise InputError(
                    f"{plasticity}: after step {step} the weight from {i} to {j} of layer {layer} is "
                    f"{a.weights[i, j]} as the rule was written, but {b.weights[i, j]} on the backend 'cpu'"
                )


def _one_step(network: SpikingNetwork, plasticity: Plasticity, before: Simulation | None, **how: Any) -> Simulation:
    if before is not None:
        network, how["state"] = before.network, before.state
    return simulate(network, UniformNoise(150.0), plasticity, 1, **how)
