"""What the reference engines of chains and of graphs have in common: neurons, kicks, projections, drives, state."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..drives.schedule import InputSchedule
from ..drives.spans import Spans as InputSpans
from ..homeostasis.downscaling import DownscalingRule
from ..operators import Floats
from ..projections import Projection
from ..random import INPUT_STREAM, random_words, window_position
from ..rules.hebbian import PlasticityRule, is_shipped
from ..rules.modulator import modulation
from ..rules.per_layer import by_layer
from ..rules.rule import Rule
from ..state import TRACES, SimulationState
from .contract import MAX_STEPS, Events, Sleeper
from .learning import Learning
from .reference_neurons import ReferenceNeurons

Spikes = NDArray[np.bool_]


class ReferenceBase(ABC):
    """See `neurosleep.sims.engines.contract.Engine` for the contract; an engine has one sleeper.

    A subclass says what a step does.
    """

    overlap = 0

    def __init__(self, sleeper: Sleeper) -> None:
        network, state = sleeper.network, sleeper.state
        self._network = network
        self._schedule, self._kicks = sleeper.schedule, sleeper.kicks
        self._rules = by_layer(sleeper.plasticity, len(network.layers))
        self._modulator, self._modulation, self._begin = sleeper.modulator, np.ones(0), state.step
        self._seed = sleeper.seed
        self._streams = sleeper.streams
        self._step = state.step
        self._drained: list[tuple[int, Events]] = []
        self._weights = [np.array(w, order="C") for w in network.weights]
        self._names = list(network.populations)
        self._projected = [projection.weights.copy() for projection in network.projections]
        self._state = state.copied()  # its arrays are those that change, seen as (..., streams, n)
        self._state.membranes = [v.copy() for v in state.membrane_potentials(network)]
        recent = self._state.recent or [np.zeros((0, n), dtype=np.bool_) for n in network.sizes]
        self._recent = [
            past.reshape(-1, self._streams, n) for past, n in zip(recent, network.sizes, strict=True)
        ]  # each population's spikes, the last step first
        self._neurons = [
            ReferenceNeurons(network, index, sleeper.seed, self._state) for index in range(len(network.layers))
        ]
        self._counts = [np.zeros(n, dtype=np.int64) for n in network.sizes]
        targets = [self._names.index(projection.target) - 1 for projection in network.projections]
        self._projected_learning = [
            self._at_work(self._rules[target], own.shape, len(self._weights) + number)
            for number, (target, own) in enumerate(zip(targets, self._projected, strict=True))
        ]

    def _at_work(self, rule: Rule | None, shape: tuple[int, ...], number: int) -> Learning | None:
        """Return a rule of one's own at work on (n_pre, n_post) weights; its traces, of this number, change."""
        if rule is None or is_shipped(rule):
            return None
        arrays = [getattr(self._state, name) for name in TRACES]
        n_pre, n_post = shape[:2]
        none = [np.zeros((0, self._streams, n)) for n in (n_pre, n_post)]
        last = [np.zeros((self._streams, n), dtype=np.int64) for n in (n_pre, n_post)]
        own = [*none, *last] if arrays[0] is None else [array[number] for array in arrays]
        return Learning(rule, self._network.dt, own)

    def advance(self, until: int, wanted: Sequence[Sequence[bool]]) -> None:
        """Simulate up to step `until`."""
        trains: list[list[tuple[int, NDArray[np.intp]]]] = [[] for _ in self._counts]
        self._begin, self._modulation = self._step, modulation(self._modulator, self._step, until)
        copies = range(self._streams)
        while self._step < until:
            first = np.stack([input_spikes(self._schedule, self._seed, self._step, copy) for copy in copies])
            spikes = self._one_step(first)
            for past, now in zip(self._recent, spikes, strict=True):
                past[1:] = past[:-1]
                past[:1] = now
            for population, now in enumerate(spikes):
                self._counts[population] += now.sum(axis=0)
                if wanted[0][population]:
                    trains[population].append((self._step, np.flatnonzero(now[0])))
            self._step += 1
        self._drained.append((until, [_as_events(train) for train in trains]))

    @abstractmethod
    def _one_step(self, first: Spikes) -> list[Spikes]:
        """Do a step; return its spikes, (streams, n) a population, from the input's, which are given, up."""

    def drain(self) -> list[tuple[int, Events]]:
        """Return the step reached and the spikes of the last `advance`."""
        return [self._drained.pop(0)]

    def _fire(self, index: int, copy: int, impulse: Floats) -> Spikes:
        """Bring one copy of a population's membranes up to this step; return which neurons fire, (n_post,).

        `impulse` is what comes in by the layer's own weights, (n_post,).
        """
        layer, real = self._network.layers[index], impulse.dtype.type
        for projection, own in zip(self._network.projections, self._projected, strict=True):
            if projection.target == self._names[index + 1]:
                before = self._earlier(projection)[copy]
                impulse += real(projection.gain) * (before.astype(impulse.dtype) @ own)
        impulse -= real(layer.inhibition) * impulse.mean()
        if lateral := self._network.layer_neurons[index].lateral:
            fired = self._recent[index + 1][0, copy]
            impulse -= real(lateral * layer.threshold * (np.count_nonzero(fired) / fired.size))
        kick = self._kicks.get(index + 1)
        kicks = None
        if kick is not None:
            kicks = kick.spans.spikes(self._step, copy) * real(kick.amount * layer.threshold)
        return self._neurons[index].step(copy, self._step, impulse, kicks)

    def _earlier(self, projection: Projection) -> Spikes:
        """Return the spikes that arrive by a projection in this step, (streams, n_source)."""
        earlier: Spikes = self._recent[self._names.index(projection.source)][projection.delay - 1]
        return earlier

    def _learn_projections(self, index: int, post: Spikes) -> None:
        """Change the weights of the projections to a population, for one step in which it fired, (streams, n)."""
        rule = self._rules[index]
        each = zip(self._network.projections, self._projected, self._projected_learning, strict=True)
        for projection, own, learning in each:
            if rule is not None and projection.plastic and projection.target == self._names[index + 1]:
                self._dense(learning, own, self._earlier(projection), post, rule)

    @property
    def _modulator_now(self) -> float:
        return float(self._modulation[self._step - self._begin])

    def _dense(self, learning: Learning | None, weights: Floats, pre: Spikes, post: Spikes, rule: Rule) -> None:
        """Change weights (n_pre, n_post) for one step, with spikes (streams, n) of both ends."""
        if is_shipped(rule):
            learn(weights, pre, post, rule)
        elif learning is not None:
            learning.learn(weights, pre, post, self._step, self._modulator_now)

    def downscale(self, sleeper: int, rule: DownscalingRule) -> None:
        """Downscale all weights that are not frozen."""
        each = zip(self._network.plastic, self._weights, strict=True)
        self._weights = [rule.apply(w) if plastic else w for plastic, w in each]

    def set_weights(self, sleeper: int, weights: Sequence[Floats]) -> None:
        """Give layers and projections other weights."""
        new, n = [np.array(w, order="C") for w in weights], len(self._weights)
        self._weights, self._projected = new[:n], new[n:]

    def set_excitability(self, sleeper: int, excitability: Sequence[NDArray[np.float64]]) -> None:
        """Raise the threshold of every neuron by so much, in units of that of its layer."""
        for mine, new in zip(self._state.excitability or [], excitability, strict=True):
            mine[:] = new

    def weights(self, sleeper: int) -> list[Floats]:
        """Return the weights of the layers, then those of the projections."""
        return [*self._weights, *self._projected]

    def membranes(self, sleeper: int) -> list[Floats]:
        """Return a copy of the membrane potentials of the first copy."""
        return [neurons.membranes[0].copy() for neurons in self._neurons]

    def state(self, sleeper: int) -> SimulationState:
        """Return a copy of the state."""
        state = self._state.copied()
        state.step, state.membrane_steps = self._step, [self._step] * len(state.membranes)
        return state

    def spike_counts(self, sleeper: int) -> list[NDArray[np.int64]]:
        """Return the spikes of every neuron so far."""
        return self._counts


def learn(weights: Floats, pre: Spikes, post: Spikes, rule: PlasticityRule) -> None:
    """Change weights (n_pre, n_post) in place by the mean over copies that fired as `pre` and `post`, (streams, n).

    ``w[i, j] += (inc * c[i, j] - dec * (n[j] - c[i, j])) / streams * g(w[i, j])``, where ``c`` counts the copies in
    which both fired, ``n`` those in which j fired, and ``g`` is the rule's factor.
    """
    real = weights.dtype.type
    fired = post.any(axis=0)
    n = post[:, fired].sum(axis=0).astype(weights.dtype)
    c = pre.T.astype(weights.dtype) @ post[:, fired].astype(weights.dtype)
    change = (real(rule.inc) * c - real(rule.dec) * (n - c)) / real(len(post))
    into_fired = weights[:, fired]
    weights[:, fired] = into_fired + change * rule.factor(into_fired)


def input_spikes(schedule: InputSchedule | InputSpans, seed: int, step: int, copy: int = 0) -> Spikes:
    """Which input neurons of a copy fire in one step, (n_inputs,) bool; recorded spikes are the same in all copies."""
    if isinstance(schedule, InputSpans):
        return schedule.spikes(step, copy)
    n = schedule.thresholds.size
    if schedule.recorded:
        spikes = np.zeros(n, dtype=np.bool_)
        spikes[schedule.ids[schedule.offsets[step] : schedule.offsets[step + 1]]] = True
        return spikes
    step += copy * MAX_STEPS  # no night comes to these steps
    spikes = random_words(seed, INPUT_STREAM, step, n) < schedule.thresholds
    if schedule.window:
        side = schedule.window
        corner = window_position(seed, step, schedule.height - side + 1, schedule.width - side + 1)
        spikes &= window_mask(schedule, *corner)
    return spikes


def window_mask(schedule: InputSchedule, row: int, column: int) -> Spikes:
    """Which input neurons lie in the window with this top-left corner, (n_inputs,) bool."""
    seen = np.zeros((schedule.height, schedule.width), dtype=np.bool_)
    seen[row : row + schedule.window, column : column + schedule.window] = True
    return seen.ravel()


def _as_events(train: list[tuple[int, NDArray[np.intp]]]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    steps = np.repeat([step for step, _ in train], [len(ids) for _, ids in train])
    ids = np.concatenate([ids for _, ids in train]) if train else np.zeros(0)
    return steps.astype(np.uint32), ids.astype(np.uint32)
