"""What is timed: a network, its input spikes and the state it begins in, the same for every contestant.

A night has two regimes. It begins *active*, with bursts, and within some hundred steps plasticity makes it *silent*:
the input still fires, the layers above hardly do. A third workload is *dense*: a large part of all neurons fires in
every step, as in untrained networks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from neurosleep.experiments import Experiment, load
from neurosleep.memory import Memory
from neurosleep.night import SpontaneousReplay, fall_asleep

from ..converters import write_back
from ..sims.drives.drive import Drive
from ..sims.drives.populations import Kicks, sources
from ..sims.drives.recorded import RecordedSpikes
from ..sims.engines.reference_base import input_spikes
from ..sims.engines.sinks import SpikeRecorder
from ..sims.ensemble import simulate
from ..sims.errors import InputError
from ..sims.network import SpikingLayer, SpikingNetwork
from ..sims.operators import Floats
from ..sims.rules.hebbian import GatedHebbian
from ..sims.rules.rule import Rule
from ..sims.state import SimulationState

RULE = GatedHebbian(0.032064, 0.003344)
"""Of the released MNIST script (Tadros et al. 2022)."""
ACTIVE_STEPS = 250
SILENT_AFTER, SILENT_STEPS = 3000, 5000
TUNED_STEPS = 50
TARGET = (5.3, 3.2)
"""Spikes per step of the two hidden layers at the beginning of a published night, which other widths are tuned to."""


def released(*settings: str) -> Experiment:
    """Return the experiment of the released MNIST script, with some values set."""
    experiment = load("src-mnist", settings)
    if not isinstance(experiment, Experiment):
        raise InputError(f"src-mnist must compare conditions, got {experiment!r}")
    return experiment


def released_night(experiment: Experiment, number: int) -> SpontaneousReplay:
    """Return its night after the task of a number, 1 for the first."""
    (night,) = experiment.conditions["src"].stages(number, {}, 0)
    if not isinstance(night, SpontaneousReplay):
        raise InputError(f"the night of src must be spontaneous replay, got {night!r}")
    return night


@dataclass(frozen=True, eq=False)
class Workload:
    """A window of a night.

    Attributes
    ----------
    name, regime
        For example "784-1200-1200-10" and "active".
    network
        In float32, with the weights as they are when the window begins.
    raster
        (steps, n_inputs) bool, the input spikes.
    membranes
        Membrane potential of every layer, (n_post,), when the window begins.
    rule
        How weights change.
    about
        Where network and window come from.
    """

    name: str
    regime: str
    network: SpikingNetwork
    raster: NDArray[np.bool_]
    membranes: list[Floats]
    about: str
    rule: Rule = RULE

    @property
    def steps(self) -> int:
        """Length of the window."""
        return len(self.raster)

    @property
    def width(self) -> int:
        """Neurons of the first hidden layer."""
        return self.network.sizes[1]

    @cached_property
    def input_ids(self) -> list[NDArray[np.int64]]:
        """The input neurons that fire in each step, in ascending order."""
        return [np.flatnonzero(row) for row in self.raster]

    @cached_property
    def drive(self) -> Drive:
        """The input spikes as a drive."""
        return RecordedSpikes(self.raster)

    @property
    def state(self) -> SimulationState:
        """The state when the window begins; steps are counted from there."""
        return SimulationState(0, [v.copy() for v in self.membranes], [0] * len(self.membranes))

    def gated(self) -> GatedHebbian:
        """Return the rule, where it is the one that peers are written for."""
        if not isinstance(self.rule, GatedHebbian):
            raise InputError(f"this peer has the gated rule alone, got {self.rule!r}")
        return self.rule

    def spikes(self) -> list[NDArray[np.int64]]:
        """Spikes of each population in each step, (steps,), input first."""
        recorder = SpikeRecorder()
        simulate(self.network, self.drive, self.rule, self.steps, state=self.state, log=recorder)
        return [np.bincount(recorder.events(p)[0], minlength=self.steps) for p in range(len(self.network.sizes))]


@dataclass(frozen=True, eq=False)
class Trained:
    """A network as it falls asleep, what drives its night, and for how many steps."""

    network: SpikingNetwork
    drive: Drive | Mapping[str, Drive | Kicks]
    mean_input: NDArray[np.float64]
    steps: int
    about: str


def nights(tasks: int = 5, data_dir: str | None = None) -> list[Trained]:
    """Learn tasks of two digits each with the released network and parameters, and sleep after each but the last.

    Parameters
    ----------
    tasks
        How many, 1 to 5.
    data_dir
        Folder that holds MNIST; if None, the smaller set of the same digits that ships with this package.

    Returns
    -------
    The network before each of its nights.
    """
    settings = () if data_dir else ("dataset=mnist-small", "epochs=5", "images_per_task=2000")
    experiment = released(*settings)
    stream, trainer = experiment.stream.make(0, data_dir), experiment.training
    model = experiment.network.make(784, 10, 0)
    generator = torch.Generator().manual_seed(0)
    memory, found = Memory(), []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for number, task in enumerate(stream.tasks[:tasks]):
            trainer.train(model, task.inputs, task.labels, generator=generator)
            memory.observe(model, task.inputs)
            night = released_night(experiment, number + 1)
            network, drive, steps = fall_asleep(model, memory, night).network, night.drive, night.steps
            images = f"{number + 1} x {len(task.inputs)} digits of {experiment.stream.dataset}"
            about = f"trained on {images}, {trainer.epochs} epochs"
            found.append(Trained(network, drive, np.asarray(memory.mean_input), steps, about))
            if number + 1 < tasks:
                slept = simulate(network, drive, RULE, steps, mean_input=memory.mean_input, seed=number)
                write_back(slept.network, model)
    return found


def widened(source: Trained, width: int) -> Trained:
    """Return a network 784-width-width-10 that is statistically like the trained one.

    Every weight is drawn from the trained weights of its layer. The thresholds of the hidden layers are then chosen by
    bisection so that they fire as often as the trained network's do at the beginning of a night.
    """
    rng = np.random.default_rng(width)
    sizes = (source.network.sizes[0], width, width, source.network.sizes[-1])
    raster = draw_input(source, 0, active_steps(width))
    layers: list[SpikingLayer] = []
    for layer, (n_pre, n_post), wanted in zip(source.network.layers, pairwise(sizes), (*TARGET, None), strict=True):
        weights = rng.choice(layer.weights.ravel(), (n_pre, n_post))
        drawn = SpikingLayer(weights, layer.gain, layer.threshold, layer.decay)
        if wanted is not None:
            drawn, raster = tuned(drawn, raster, wanted)
        layers.append(drawn)
    about = f"weights drawn from those of the trained network, thresholds tuned to {TARGET} spikes a step"
    return replace(source, network=SpikingNetwork(tuple(layers), source.network.dt), about=about)


def active_steps(width: int) -> int:
    """Return how long the active regime is looked at: narrow networks fall silent sooner."""
    return min(ACTIVE_STEPS, ACTIVE_STEPS * width // 1200)


def tuned(
    layer: SpikingLayer, raster: NDArray[np.bool_], wanted: float, rule: Rule = RULE
) -> tuple[SpikingLayer, NDArray[np.bool_]]:
    """Find the threshold at which a layer fires `wanted` times a step; also returns its spikes, (steps, n_post)."""
    low, high = -4.0, 4.0  # log2 of the factor on the threshold
    nearest = math.inf
    for _ in range(12):
        middle = (low + high) / 2
        tried = replace(layer, threshold=layer.threshold * 2**middle)
        recorder = SpikeRecorder()
        simulate(SpikingNetwork((tried,)), RecordedSpikes(raster), rule, len(raster), log=recorder)
        fired = recorder.raster(1, layer.n_post)
        rate = fired.sum() / len(raster)
        if abs(rate - wanted) < nearest:
            nearest, best = abs(rate - wanted), (tried, fired)
        if nearest < 0.03 * wanted:
            break
        low, high = (middle, high) if rate > wanted else (low, middle)
    return best


def draw_input(source: Trained, first: int, steps: int, seed: int = 0) -> NDArray[np.bool_]:
    """Return the input spikes of some steps of a night, (steps, n_inputs)."""
    schedule, _ = sources(source.drive, source.network, source.mean_input, seed, 1)
    return np.stack([input_spikes(schedule, seed, step) for step in range(first, first + steps)])


def active(source: Trained) -> Workload:
    """Return the first steps of a night."""
    return replace(night(source, active_steps(source.network.sizes[1])), regime="active")


def night(source: Trained, steps: int) -> Workload:
    """Return a night from its beginning, active and then silent."""
    raster = draw_input(source, 0, steps)
    membranes = SimulationState.asleep(source.network).membranes
    return Workload(_name(source.network), "night", source.network, raster, membranes, source.about)


def silent(source: Trained, after: int = SILENT_AFTER, steps: int = SILENT_STEPS) -> Workload:
    """Return steps of the same night after plasticity has quietened it."""
    before = RecordedSpikes(draw_input(source, 0, after))
    night = simulate(source.network, before, RULE, after)
    membranes = night.state.membrane_potentials(night.network)
    raster = draw_input(source, after, steps)
    return Workload(_name(night.network), "silent", night.network, raster, membranes, source.about)


def dense(width: int = 1200, steps: int = 100, share: float = 0.4) -> Workload:
    """Return an untrained network of which the given share of each hidden layer fires in every step.

    Weights are uniform and positive, up to 1.5 times as large for some neurons as for others, so that a layer does not
    fire as one; 30 % of the input neurons fire. Thresholds are found by bisection.
    """
    rng = np.random.default_rng(width)
    raster = rng.random((steps, 784)) < 0.3
    pre, layers = raster[:TUNED_STEPS], []
    for n_pre, n_post in pairwise((784, width, width, 10)):
        weights = (rng.uniform(0, 0.02, (n_pre, n_post)) * rng.uniform(0.5, 1.5, n_post)).astype(np.float32)
        layer, pre = tuned(SpikingLayer(weights), pre, share * n_post)
        layers.append(layer)
    network = SpikingNetwork(tuple(layers))
    about = f"uniform weights, thresholds tuned so that {share:.0%} of each layer fire in every step"
    return Workload(_name(network), "dense", network, raster, SimulationState.asleep(network).membranes, about)


def _name(network: SpikingNetwork) -> str:
    return "-".join(map(str, network.sizes))
