"""`neurosleep bench --suite graph`: a ResNet-18 asleep, beside a loop of dense products in PyTorch.

The network is ResNet-18 in its form for CIFAR: a 3 x 3 stem without maximum pooling, 64-128-256-512 channels, 32 x 32
inputs, batch normalisation as gains and currents; weights, gains and currents are random numbers. Thresholds are set
so that every hidden population fires at a stated rate. Both sides begin in the same state with the same recorded input
and learn by the gated rule, with steps so small that no spike changes: cost does not depend on how far weights move.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from neurosleep.files import write_text
from neurosleep.tables import table

from ..sims.drives.populations import sources
from ..sims.drives.recorded import RecordedSpikes
from ..sims.engines.contract import Sleeper
from ..sims.engines.cpu_graph import GraphEngine
from ..sims.operators import AveragePool, Flatten
from ..sims.plastic_graph import INPUT, GraphLayer, Pathway, PlasticGraph, Sliding, Weights
from ..sims.rules.hebbian import GatedHebbian
from ..sims.state import SimulationState
from . import machine
from .harness import spread

STEP = 1e-9
RATES = (0.005, 0.02, 0.08)
INPUT_RATE = 0.04
STEPS = 100
SETTLING = 1000
"""Steps in which thresholds find themselves."""


def run(quick: bool, rounds: int | None, out: Path) -> None:
    """Measure everything, print a table, and write bench.json into a folder."""
    begin = time.perf_counter()
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    blocks = ((8, 1), (16, 2)) if quick else ((64, 1), (128, 2), (256, 2), (512, 2))
    found = contest(resnet(blocks), rounds or (1 if quick else 5), 10 if quick else STEPS, 200 if quick else SETTLING)
    results = {"suite": "graph", "machine": machine.describe(), **found, "seconds": time.perf_counter() - begin}
    write_text(out / "bench.json", json.dumps(results, indent=1))
    click.echo(as_text(results))


def resnet(blocks: tuple[tuple[int, int], ...], seed: int = 0) -> PlasticGraph:
    """Return a ResNet with two basic blocks for each (channels, stride), float32."""
    rng = np.random.default_rng(seed)
    weights: list[Weights] = []
    layers: list[GraphLayer] = []

    def convolution(name: str, source: str, below: int, channels: int, size: int, stride: int) -> Pathway:
        values = rng.normal(0, np.sqrt(2 / (below * size * size)), (channels, below, size, size))
        weights.append(Weights(name, values.astype(np.float32)))
        how = Sliding((stride, stride), (size // 2, size // 2), (1, 1))
        return Pathway(source, name, how, gain=rng.uniform(0.7, 1.3, channels))

    def population(name: str, channels: int, side: int, *pathways: Pathway) -> str:
        current = rng.normal(0, 0.01, (channels, 1, 1)).repeat(side, 1).repeat(side, 2).astype(np.float32)
        layers.append(GraphLayer(name, (channels, side, side), pathways, 1.0, 0.9, bias=current))
        return name

    below, side = blocks[0][0], 32
    source = population("relu", below, side, convolution("conv1", INPUT, 3, below, 3, 1))
    for stage, (channels, first_stride) in enumerate(blocks, 1):
        for block, stride in enumerate((first_stride, 1)):
            name, side = f"layer{stage}.{block}", side // stride
            conv1 = convolution(f"{name}.conv1", source, below, channels, 3, stride)
            middle = population(f"{name}.relu1", channels, side, conv1)
            conv2 = convolution(f"{name}.conv2", middle, channels, channels, 3, 1)
            same = stride == 1 and below == channels
            short = Pathway(source) if same else convolution(f"{name}.down", source, below, channels, 1, stride)
            source, below = population(f"{name}.relu2", channels, side, conv2, short), channels
    weights.append(Weights("fc", rng.normal(0, 0.05, (below, 10)).astype(np.float32)))
    pooled = AveragePool((side, side), (side, side), (0, 0)), Flatten()
    layers.append(GraphLayer("output", (10,), (Pathway(source, "fc", before=pooled),), 1.0, 0.9))
    return PlasticGraph((3, 32, 32), tuple(weights), tuple(layers))


def contest(network: PlasticGraph, rounds: int, steps: int, settling: int) -> dict[str, Any]:
    """Time both sides in turns at every rate; returns plain numbers, strings, lists and dicts."""
    rows = []
    for rate in tqdm(RATES, unit="rate"):
        fitted, state, raster = at_rate(network, rate, settling, steps)
        ours, theirs = [], []
        engine_counts: list[int] = []
        loop_counts: list[int] = []
        few = max(2, steps // 10)
        for _ in range(rounds):
            seconds, engine_counts = _ours(fitted, state, raster, steps)
            ours.append(1e3 * seconds / steps)
            seconds, loop_counts = _dense(fitted, state, raster, few)
            theirs.append(1e3 * seconds / few)
        same = _ours(fitted, state, raster, few)[1]
        rows.append(
            {
                "rate": rate,
                "rates": [float(c / n / steps) for c, n in zip(engine_counts, fitted.sizes[1:], strict=True)],
                "spikes_per_step": float(sum(engine_counts) / steps),
                "ms_per_step": spread(ours),
                "dense_ms_per_step": spread(theirs),
                "ratio": spread(np.array(theirs) / np.array(ours)),
                "most_different": max(abs(a - b) / max(a, b, 1) for a, b in zip(same, loop_counts, strict=True)),
            }
        )
    sizes = {"neurons": sum(network.sizes), "weights": sum(w.size for w in network.weights)}
    return {**sizes, "steps": steps, "rounds": rounds, "rows": rows}


def at_rate(
    network: PlasticGraph, rate: float, settling: int, steps: int
) -> tuple[PlasticGraph, SimulationState, NDArray[np.bool_]]:
    """Return the network with thresholds at which hidden populations fire at a rate, a state, and input from there."""
    rng = np.random.default_rng(1)
    raster = rng.random((settling + steps, network.sizes[0])) < INPUT_RATE
    schedule, _ = sources(RecordedSpikes(raster), network, None, 0, 1)
    engine = GraphEngine(Sleeper(network, schedule, None, 0, SimulationState.asleep(network)))
    silence, sizes = [(False,) * len(network.sizes)], np.array(network.sizes[1:])
    before, thresholds = np.zeros(len(sizes)), engine.thresholds
    span = max(1, settling // 40)
    for stop in range(span, settling + 1, span):
        engine.advance(stop, silence)
        engine.drain()
        counts = np.array([c.sum() for c in engine.spike_counts(0)[1:]])
        fired, before = (counts - before) / span / sizes, counts
        factors = np.clip((fired + rate / 50) / rate, 0.3, 3) ** (0.25 if stop < 0.7 * settling else 0.1)
        thresholds[:-1] *= factors[:-1].astype(thresholds.dtype)  # the output may stay silent
    layers = tuple(replace(x, threshold=float(t)) for x, t in zip(network.layers, thresholds, strict=True))
    state = engine.state(0)
    done = state.step
    state.step, state.membrane_steps = 0, [0] * len(layers)
    return replace(network, layers=layers), state, raster[done : done + steps]


def _ours(
    network: PlasticGraph, state: SimulationState, raster: NDArray[np.bool_], steps: int
) -> tuple[float, list[int]]:
    schedule, _ = sources(RecordedSpikes(raster), network, None, 0, 1)
    engine = GraphEngine(Sleeper(network, schedule, GatedHebbian(STEP, STEP), 0, state))
    silence = [(False,) * len(network.sizes)]
    engine.advance(0, silence)  # loads the machine code
    engine.drain()
    begin = time.process_time()
    engine.advance(steps, silence)
    engine.drain()
    return time.process_time() - begin, [int(c.sum()) for c in engine.spike_counts(0)[1:]]


@torch.no_grad()
def _dense(
    network: PlasticGraph, state: SimulationState, raster: NDArray[np.bool_], steps: int
) -> tuple[float, list[int]]:
    """Do the same with whole arrays: convolutions, counts of coincidences as products, the gate on all weights."""
    weights = {w.name: torch.from_numpy(w.values.copy()) for w in network.parameters}
    membranes = {
        x.name: torch.from_numpy(v.reshape(1, *x.shape).copy())
        for x, v in zip(network.layers, state.membranes, strict=True)
    }
    currents = {x.name: 0.0 if x.bias is None else torch.from_numpy(x.bias)[None] for x in network.layers}
    gains = {p.weights: torch.from_numpy(p.gain.astype(np.float32)) for x in network.layers for p in x.pathways}
    changes = [_change(p, weights[p.weights]) for x in network.layers for p in x.pathways if p.weights is not None]
    ways = [(x, p) for x in network.layers for p in x.pathways if p.weights is not None]
    counts = dict.fromkeys(membranes, 0)
    inputs = torch.from_numpy(raster[:steps].astype(np.float32)).reshape(steps, 1, *network.input_shape)
    begin = time.process_time()
    for step in range(steps):
        spikes = {INPUT: inputs[step]}
        for layer in network.layers:
            impulse = sum(_impulse(p, spikes[p.source], weights, gains) for p in layer.pathways)
            v = membranes[layer.name].mul_(layer.decay).add_(impulse).add_(currents[layer.name])
            fired = v >= layer.threshold
            v.masked_fill_(fired, 0.0)
            spikes[layer.name] = fired.float()
            counts[layer.name] += int(fired.sum())
        for (layer, pathway), change in zip(ways, changes, strict=True):
            change(spikes[pathway.source], spikes[layer.name])
    return time.process_time() - begin, list(counts.values())


def _impulse(
    pathway: Pathway, x: torch.Tensor, weights: dict[str, torch.Tensor], gains: dict[str | None, torch.Tensor]
) -> torch.Tensor:
    if pathway.weights is None:
        return x
    if pathway.sliding is None:
        return x.mean(dim=(2, 3)) @ weights[pathway.weights]
    made = functional.conv2d(x, weights[pathway.weights], None, pathway.sliding.stride, pathway.sliding.padding)
    return made * gains[pathway.weights][:, None, None]


def _change(pathway: Pathway, w: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a function that changes weights by presynaptic and postsynaptic spikes; each array is made once."""
    flat = w.reshape(len(w), -1)
    gate = torch.empty_like(flat)
    met: list[torch.Tensor] = []  # which tap meets a place, (taps, positions)

    def apply(c: torch.Tensor, n: torch.Tensor) -> None:
        torch.sigmoid(torch.mul(flat, -1000.0, out=gate), out=gate).mul_(2)
        asked = c.mul_(2 * STEP).sub_(n, alpha=STEP).div_(n.clamp_min(1))  # inc c - dec (n - c), with inc = dec
        flat.addcmul_(asked, gate)

    def dense(x: torch.Tensor, post: torch.Tensor) -> None:
        pre = (x.mean(dim=(2, 3)) > 0).float()
        apply(pre.T @ post, post.expand(len(w), -1))

    if pathway.sliding is None:
        return dense
    how = pathway.sliding

    def kernels(x: torch.Tensor, post: torch.Tensor) -> None:
        size = w.shape[2:]
        seen = functional.unfold(x, size, padding=how.padding, stride=how.stride)[0]
        if not met:
            met.append(functional.unfold(torch.ones_like(x[:, :1]), size, padding=how.padding, stride=how.stride)[0])
        fired = post.reshape(len(w), -1)
        n = (fired @ met[0].T)[:, None].expand(-1, w.shape[1], -1).reshape(len(w), -1)
        apply(fired @ seen.T, n)

    return kernels


def as_text(results: dict[str, Any]) -> str:
    """Return what was measured as a table with a head."""
    head = (
        f"ResNet asleep: {results['weights']:,} weights, {results['neurons']:,} neurons, gated rule, float32, "
        f"{results['steps']} steps, {results['rounds']} rounds in turns, one thread, processor time"
    )
    rows = [
        {
            "spikes of each hidden population": f"{row['rate']:.1%}",
            "spikes a step": f"{row['spikes_per_step']:,.0f}",
            "ms a step": f"{row['ms_per_step']['median']:.3g}",
            "dense PyTorch": f"{row['dense_ms_per_step']['median']:.3g}",
            "times as fast": f"{row['ratio']['median']:.1f}",
            "most different": f"{row['most_different']:.1%}",
        }
        for row in results["rows"]
    ]
    return "\n".join([machine.one_line(results["machine"]), head, table(rows)])
