"""The same night as PyTorch and NumPy users write it: dense as the formula stands, and event-driven with care.

Every peer is a function of a workload and a number of steps, and computes the spike counts of all neurons and the final
weights. None uses anything of this package's engines.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..sims.operators import Floats
from .workloads import Workload


class Outcome(NamedTuple):
    """What a contestant computed.

    Attributes
    ----------
    counts
        Spikes of every neuron, one (n,) array a population, input first.
    weights
        Final weights, (n_pre, n_post) each.
    seconds
        Time of the steps, without what comes before and after them: weights copied in and out, say.
    """

    counts: list[NDArray[np.int64]]
    weights: list[Floats]
    seconds: float


Peer = Callable[[Workload, int], Outcome]


@torch.inference_mode()
def dense_torch(workload: Workload, steps: int) -> Outcome:
    """PyTorch, every step as the formula stands: a matrix product, and a change of the whole weight matrix."""
    rule, layers = workload.gated(), workload.network.layers
    raster = torch.from_numpy(workload.raster).float()
    weights = [torch.tensor(layer.weights) for layer in layers]
    membranes = [torch.tensor(v) for v in workload.membranes]
    counts = [torch.zeros(n) for n in workload.network.sizes]
    begin = time.perf_counter()
    for t in range(steps):
        pre = raster[t]
        counts[0] += pre
        for i, layer in enumerate(layers):
            w, v = weights[i], membranes[i]
            v.mul_(layer.decay).add_(pre @ w, alpha=layer.gain)
            post = (v >= layer.threshold).float()
            gate = 2 * (1 - 1 / (1 + torch.exp(-w / rule.gate_width)))
            w += gate * (rule.inc * torch.outer(pre, post) - rule.dec * torch.outer(1 - pre, post))
            v *= 1 - post
            counts[i + 1] += post
            pre = post
    seconds = time.perf_counter() - begin
    return Outcome([c.to(torch.int64).numpy() for c in counts], [w.numpy() for w in weights], seconds)


@torch.inference_mode()
def event_torch(workload: Workload, steps: int) -> Outcome:
    """PyTorch, event-driven: a fused gather and sum of rows, and a change of the columns of neurons that fired.

    Weights are pre-major: rows are gathered more often than columns are changed. The gate is written as a sigmoid,
    which is the same function and one kernel instead of five.
    """
    rule, layers = workload.gated(), workload.network.layers
    inputs = [torch.from_numpy(ids) for ids in workload.input_ids]
    weights = [torch.tensor(layer.weights) for layer in layers]
    membranes = [torch.tensor(v) for v in workload.membranes]
    change = [torch.full((layer.n_pre, 1), -rule.dec) for layer in layers]
    fired: list[list[torch.Tensor]] = [[] for _ in workload.network.sizes]
    touched = [0] * len(layers)
    start = torch.zeros(1, dtype=torch.int64)
    begin = time.perf_counter()
    for t in range(steps):
        pre = inputs[t]
        for i, layer in enumerate(layers):
            if not len(pre):
                break
            fired[i].append(pre)
            w, v = weights[i], membranes[i]
            rows = torch.nn.functional.embedding_bag(pre, w, start, mode="sum")[0]
            v.mul_(layer.decay ** (t + 1 - touched[i])).add_(rows, alpha=layer.gain)
            touched[i] = t + 1
            if v.max().item() < layer.threshold:
                break
            pre, below = (v >= layer.threshold).nonzero().view(-1), pre
            change[i][below] = rule.inc
            old = w.index_select(1, pre)
            gate = (old * (-1 / rule.gate_width)).sigmoid_()
            w.index_copy_(1, pre, old.addcmul_(gate, change[i], value=2))
            change[i][below] = -rule.dec
            v[pre] = 0
        else:
            fired[-1].append(pre)
    seconds = time.perf_counter() - begin
    counts = [_count([ids.numpy() for ids in lists], n) for lists, n in zip(fired, workload.network.sizes, strict=True)]
    return Outcome(counts, [w.numpy() for w in weights], seconds)


def event_numpy(workload: Workload, steps: int) -> Outcome:
    """NumPy, event-driven: rows gathered and summed, silent layers skipped, columns of fired neurons changed."""
    rule, layers = workload.gated(), workload.network.layers
    inc, dec, two = np.float32(rule.inc), np.float32(rule.dec), np.float32(2)
    steepness = np.float32(-1 / rule.gate_width)
    gains = [np.float32(layer.gain) for layer in layers]
    weights = [layer.weights.copy() for layer in layers]
    membranes = [v.copy() for v in workload.membranes]
    change = [np.full((layer.n_pre, 1), -dec) for layer in layers]
    fired: list[list[NDArray[np.int64]]] = [[] for _ in workload.network.sizes]
    touched = [0] * len(layers)
    begin = time.perf_counter()
    with np.errstate(over="ignore"):
        for t in range(steps):
            pre = workload.input_ids[t]
            for i, layer in enumerate(layers):
                if not len(pre):
                    break
                fired[i].append(pre)
                w, v = weights[i], membranes[i]
                rows = np.add.reduce(w.take(pre, 0), 0)
                rows *= gains[i]
                v *= np.float32(layer.decay ** (t + 1 - touched[i]))
                v += rows
                touched[i] = t + 1
                if v.max() < layer.threshold:
                    break
                pre, below = np.flatnonzero(v >= layer.threshold), pre
                change[i][below] = inc
                old = w.take(pre, 1)
                gate = old * steepness
                np.exp(gate, out=gate)
                gate += 1
                np.divide(two, gate, out=gate)
                np.subtract(two, gate, out=gate)
                gate *= change[i]
                w[:, pre] = np.add(old, gate, out=old)
                change[i][below] = -dec
                v[pre] = 0
            else:
                fired[-1].append(pre)
    seconds = time.perf_counter() - begin
    counts = [_count(lists, n) for lists, n in zip(fired, workload.network.sizes, strict=True)]
    return Outcome(counts, weights, seconds)


def _count(fired: list[NDArray[np.int64]], n: int) -> NDArray[np.int64]:
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *fired]), minlength=n)


PEERS: dict[str, Peer] = {
    "dense PyTorch": dense_torch,
    "event-driven PyTorch": event_torch,
    "event-driven NumPy": event_numpy,
}
