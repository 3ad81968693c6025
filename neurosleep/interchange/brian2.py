"""A night for Brian2 (Stimberg, Brette & Goodman 2019, eLife 8:e47314): a script that computes the same spikes."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.interchange.brian2_neurons import Population
from neurosleep.interchange.brian2_rules import in_brian2
from neurosleep.interchange.brian2_script import Part, written
from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.drives.populations import Drives, Kicks, Silence, settled_drive, sources
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.per_layer import Plasticity, by_layer
from neurosleep.sims.whole import whole

Array = NDArray[Any]


def to_brian2(
    network: SpikingNetwork,
    drive: Drive | Mapping[str, Drive | Kicks],
    rule: Plasticity | None,
    path: str | os.PathLike[str],
    *,
    steps: int,
    mean_input: ArrayLike | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a night as a Brian2 script, to go on with there: equations, rule, weights and input spikes.

    The script needs Brian2 and NumPy alone. Weights and input spikes lie beside it, in an ``.npz`` of the same name.
    ``python night.py`` runs it and tells how often each population fired; ``python night.py result.npz`` saves every
    spike (``<population>_steps``, ``<population>_neurons``) and the weights as they are at the end
    (``<population>_weights``).

    Spikes are those of `simulate`, step by step, where sums are exact, as with weights that are multiples of a power of
    two; elsewhere they are until a membrane comes within rounding of its threshold.

    Parameters
    ----------
    network
        Of dense layers, with neurons and projections of any kind but threshold noise and plastic projections.
    drive, mean_input, seed
        As of `simulate`; input spikes and kicks are drawn here.
    rule
        `Hebbian`, `GatedHebbian`, `SoftBounds`, `HardBounds`, `PairSTDP`, `TripletSTDP`, `Oja`, `BCM`, `PerLayer` of
        one of these, or None.
    path
        Script to write, ``.py``.
    steps
        Of the night.
    overwrite
        Whether files of these names may be replaced.

    Raises
    ------
    InputError
        If the network has kernels, threshold noise or plastic projections, the rule is another, an argument does not
        fit, or a file exists and may not be overwritten.
    """
    script, data = _checked(path, overwrite)
    _check_network(network)
    rules = [
        in_brian2(own) if layer.plastic and own is not None else None
        for own, layer in zip(by_layer(rule, len(network.layers)), network.layers, strict=True)
    ]
    drawn, kicks = _drawn(network, settled_drive(drive), steps, mean_input, seed)
    names, parts = list(network.populations), []
    for number, layer in enumerate(network.layers):
        below, name = names[number : number + 2]
        to_it = {k: projection.gain for k, projection in enumerate(network.projections) if projection.target == name}
        its = Population(name, layer, network.layer_neurons[number], network.dt, kicks.get(name, 0.0), to_it)
        parts.append(Part(below, its, rules[number]))
    text, content = written(parts, network, steps, script.name), io.BytesIO()
    np.savez_compressed(content, **_weights(network), **drawn)
    with whole(data) as numbers, whole(script) as code:  # neither takes its place before both are on the disk
        numbers.write_bytes(content.getbuffer())
        code.write_text(text, encoding="utf-8")


def _checked(path: str | os.PathLike[str], overwrite: bool) -> tuple[Path, Path]:
    script = Path(path)
    if script.suffix != ".py":
        raise InputError(f"a script for Brian2 must be named .py, got {script.name!r}")
    if not script.parent.is_dir():
        raise InputError(f"there is no folder {script.parent}; make it first")
    for file in (script, script.with_suffix(".npz")):
        if file.exists() and not (overwrite and file.is_file()):
            raise InputError(f"{file} exists already; choose another name, or allow to overwrite it")
    return script, script.with_suffix(".npz")


def _check_network(network: SpikingNetwork) -> None:
    """Check that there is nothing that the script would leave out."""
    for number, layer in enumerate(network.layers):
        if layer.kernels is not None:
            raise InputError(f"layer {layer.name or number!r} has kernels; only dense layers can be written for Brian2")
    for name, neurons in zip(list(network.populations)[1:], network.layer_neurons, strict=True):
        if neurons.threshold_noise:
            raise InputError(f"the threshold noise of {name!r} cannot be written for Brian2, as its numbers are ours")
    for projection in network.projections:
        if projection.plastic:
            raise InputError(f"{projection}: plastic projections cannot be written for Brian2; only fixed ones can")


def _weights(network: SpikingNetwork) -> dict[str, Any]:
    """Return weights and biases by the names that the script has for them."""
    layers = dict(zip(list(network.populations)[1:], network.layers, strict=True))
    arrays: dict[str, Any] = {f"{name}_weights": layer.weights for name, layer in layers.items()}
    arrays |= {f"{name}_bias": layer.bias for name, layer in layers.items() if layer.bias is not None}
    return arrays | {f"projection{k}_weights": projection.weights for k, projection in enumerate(network.projections)}


def _drawn(
    network: SpikingNetwork, drive: Drive | Drives, steps: int, mean_input: ArrayLike | None, seed: int
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the steps and neurons of input spikes and of kicks, and what a kick at a population adds to a membrane."""
    arrays, amounts = dict[str, Any](), dict[str, float]()
    own, spikes = drive, SpikeRecorder()
    if isinstance(drive, Drives):
        own = drive.input
        kicks = sources(Drives({"input": Silence(), **drive.kicks}), network, None, seed, 1)[1]
        for number, kick in kicks.items():
            name, raster = list(network.populations)[number], [kick.spans.spikes(step) for step in range(steps)]
            arrays[f"{name}_kicked_steps"], arrays[f"{name}_kicked_neurons"] = np.nonzero(raster)
            amounts[name] = kick.amount * network.layers[number - 1].threshold
    alone = SpikingNetwork((SpikingLayer(np.zeros((network.sizes[0], 1), dtype=np.float32)),), network.dt)
    simulate(alone, own, None, steps, mean_input=mean_input, seed=seed, log=spikes)
    arrays["input_steps"], arrays["input_neurons"] = spikes.events(0)
    return arrays, amounts
