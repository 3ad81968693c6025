"""The `cpu` backend with several streams: the mini-batch of a night, event-driven and compiled (Numba).

A night has M copies of the membranes, each driven by an input noise of its own. In each step all copies do their
forward pass with the same weights; then the weights change once, by the mean over the copies of what the rule asks
for::

    w[i, j] += (inc * c[i, j] - dec * (n[j] - c[i, j])) / M * g(w[i, j])

``c[i, j]`` is the number of copies in which i and j both fired, ``n[j]`` the number in which j fired, and the gate
``g`` is that of the weight before the step. With one copy this is the ordinary night. (Tadros et al. 2022, Nature
Communications 13:7742, suggest such mini-batches in their supplement.)

Copy m draws the random numbers of the steps from ``m * MAX_STEPS`` on, to which no night comes: its noise does not
depend on how many copies there are, and the first copy's is that of an ordinary night.

Where this engine differs from `CpuEngine`: no change by the gated rule is put off (the constant rule's depressions
are, see `neurosleep.sims.kernels.separable`); and if any copy of a layer receives a spike, the leak of all its copies
is applied.
"""

from dataclasses import replace

import numpy as np

from ..kernels import minibatch
from ..rules.hebbian import GatedHebbian, Hebbian
from ..rules.per_layer import PerLayer, Plasticity
from ..rules.rule import Rule
from .compiled_base import CompiledEngine, joined
from .contract import Sleeper

CHANGES = 4096
"""Weights that are gathered, changed and put back together, if one row has no more."""


class MinibatchEngine(CompiledEngine):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    Memory: one copy of the weights, M of the membranes and spikes of a step, and a buffer of `EVENTS_PER_POPULATION`
    spikes for each population, 8 bytes each.
    """

    _night: minibatch.Copies

    def __init__(self, sleeper: Sleeper) -> None:
        network, plasticity, state, streams = sleeper.network, sleeper.plasticity, sleeper.state, sleeper.streams
        super().__init__(sleeper._replace(plasticity=_shared(plasticity, streams)))
        sizes, real = network.sizes, network.dtype
        widest = max(sizes)
        weights, owed = self._debts(state)
        silent_input = np.zeros((streams, sizes[0]), dtype=real)
        membrane = np.concatenate([silent_input, *(v.reshape(streams, -1) for v in state.membranes)], axis=1)
        self._night = minibatch.Copies(owed=owed, **self._begin(state, weights, membrane, streams)._asdict())
        room = max(CHANGES, (widest + 63) // 64 * 64)
        self._scratch = minibatch.Scratch(
            pre=np.zeros(widest, dtype=np.int32),
            post=np.zeros(widest, dtype=np.int32),
            place=np.zeros(widest, dtype=np.int32),
            columns=np.zeros(widest, dtype=np.uint32),
            both=np.zeros(widest, dtype=np.int32),
            read=np.zeros(streams, dtype=np.int64),
            falls=np.zeros(widest, dtype=real),
            values=joined([np.zeros(room)], real),
            changes=joined([np.zeros(room)], real),
        )

    def _advance(self, until: int) -> int:
        reached: int = minibatch.advance(
            self._step,
            until,
            self._seed,
            self._schedule,
            self._layers,
            self._rule,
            self._night,
            self._scratch,
            self._events,
        )
        return reached

    def _write_out(self) -> None:
        if self._owed is not None:
            minibatch.settle(self._layers, self._rule, self._night)


def _shared(plasticity: Plasticity | None, streams: int) -> Plasticity | None:
    """Return a rule whose steps are so much smaller that the mean over the copies is their sum."""
    if isinstance(plasticity, PerLayer):
        return PerLayer(tuple(_smaller(rule, streams) for rule in plasticity.rules))
    return _smaller(plasticity, streams)


def _smaller(rule: Rule | None, streams: int) -> Rule | None:
    if isinstance(rule, Hebbian | GatedHebbian):
        return replace(rule, inc=rule.inc / streams, dec=rule.dec / streams)
    return rule
