"""A night for Brian2 (Stimberg, Brette & Goodman 2019, eLife 8:e47314): a script that computes the same spikes."""

import io
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurosleep.interchange.brian2_rules import in_brian2
from neurosleep.interchange.brian2_script import Part, written
from neurosleep.sims.drives.drive import Drive
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import PlasticityRule
from neurosleep.sims.whole import whole

Array = NDArray[Any]


def to_brian2(
    network: SpikingNetwork,
    drive: Drive,
    rule: PlasticityRule | None,
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
        Of dense layers.
    drive, mean_input, seed
        As of `simulate`; its input spikes are drawn here.
    rule
        `Hebbian`, `GatedHebbian`, or None.
    path
        Script to write, ``.py``.
    steps
        Of the night.
    overwrite
        Whether files of these names may be replaced.

    Raises
    ------
    InputError
        If the network has kernels, the rule is another, an argument does not fit, or a file exists and may not be
        overwritten.
    """
    script, data = _checked(path, overwrite)
    for number, layer in enumerate(network.layers):
        if layer.kernels is not None:
            raise InputError(f"layer {layer.name or number!r} has kernels; only dense layers can be written for Brian2")
    learning = None if rule is None else in_brian2(rule)
    names = list(network.populations)
    parts = [
        Part(below, name, layer, learning if layer.plastic else None)
        for (below, name), layer in zip(pairwise(names), network.layers, strict=True)
    ]
    text = written(parts, network, steps, script.name)
    content = io.BytesIO()
    arrays: dict[str, Any] = _drawn(network, drive, steps, mean_input, seed) | _arrays(parts)
    np.savez_compressed(content, **arrays)
    with whole(data) as half:
        half.write_bytes(content.getbuffer())
    with whole(script) as half:
        half.write_text(text, encoding="utf-8")


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


def _drawn(
    network: SpikingNetwork, drive: Drive, steps: int, mean_input: ArrayLike | None, seed: int
) -> dict[str, Array]:
    """Return the steps and neurons of the input spikes."""
    alone = SpikingNetwork((SpikingLayer(np.zeros((network.sizes[0], 1), dtype=np.float32)),), network.dt)
    spikes = SpikeRecorder()
    simulate(alone, drive, None, steps, mean_input=mean_input, seed=seed, backend="reference", log=spikes)
    step, neuron = spikes.events(0)
    return {"input_steps": step, "input_neurons": neuron}


def _arrays(parts: Sequence[Part]) -> dict[str, Array]:
    """Return weights and biases by the names that the script has for them."""
    weights: dict[str, Array] = {f"{part.name}_weights": part.layer.weights for part in parts}
    biases: dict[str, Array] = {f"{p.name}_bias": p.layer.bias for p in parts if p.layer.bias is not None}
    return weights | biases
