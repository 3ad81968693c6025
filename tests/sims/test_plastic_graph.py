"""Graphs asleep on the reference: a chain as a graph is the chain, what pools send, shared weights, what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosleep.sims.checkpoint import Resumable, digest, load, simulate_resumable
from neurosleep.sims.drives.populations import Kicks
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, simulate, simulate_ensemble
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.homeostasis.excitability import IntrinsicExcitability
from neurosleep.sims.homeostasis.scaling import IncomingNormalisation, SynapticScaling
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.neurons import Adaptation, Neurons
from neurosleep.sims.operators import AveragePool, Gather, MaxPool, Scale
from neurosleep.sims.plastic_graph import GraphLayer, Pathway, PlasticGraph, Sliding, Weights, as_graph
from neurosleep.sims.projections import Projection
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.rules.keep_sign import KeepSign
from neurosleep.sims.rules.per_layer import PerLayer
from neurosleep.sims.rules.rule import Rule
from neurosleep.sims.rules.stdp import PairSTDP
from neurosleep.sims.segments import TimedSegment
from neurosleep.sims.silencing import Silencing, silence
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

DRIVE = UniformNoise(200.0)
KICKED = {"input": DRIVE, "hidden1": Kicks(DRIVE, 0.6)}
GATED = GatedHebbian(0.01, 0.002)


@dataclass(frozen=True)
class Soft(Rule):
    """Coincidences draw a weight to 1, others to 0."""

    share: float

    def on_post(self, w, fired):
        return w + self.share * (1 - w) if fired else w - 0.1 * self.share * w


def dense_chain(**how: Any) -> SpikingNetwork:
    rng = np.random.default_rng(1)
    layers = (
        SpikingLayer(rng.normal(0.01, 0.03, (12, 9)), gain=40.0, inhibition=0.3, name="a"),
        SpikingLayer(rng.normal(0.01, 0.03, (9, 5)), gain=60.0, decay=0.9, bias=rng.normal(0, 0.1, 5), name="b"),
    )
    return SpikingNetwork(layers, **how)


def kernel_chain(sharing: Any = "mean", plastic: bool = True) -> SpikingNetwork:
    rng = np.random.default_rng(2)
    pool = AveragePool((2, 2), (2, 2), (0, 0))
    bias = rng.normal(0, 0.1, 4)
    first, second = Kernels((2, 6, 6), padding=(1, 1)), Kernels((4, 6, 6), stride=(2, 1), groups=2, pool=pool)
    layers = (
        SpikingLayer(rng.normal(0, 0.04, (4, 2, 3, 3)), 40.0, bias=bias, kernels=first, plastic=plastic),
        SpikingLayer(rng.normal(0.01, 0.03, (4, 2, 2, 2)), 60.0, kernels=second, sharing=sharing),
        SpikingLayer(rng.normal(0.01, 0.03, (8, 3)), 40.0),
    )
    return SpikingNetwork(layers)


FEATURES = {
    "neurons": {"neurons": Neurons(2, Adaptation(0.2, 0.01), 0.1, "subtract", 0.2)},
    "projections": {"projections": (Projection("output", "hidden1", np.full((5, 9), -0.05), 2, 1.0, True),)},
}


@pytest.mark.parametrize(
    ("chain", "how"),
    [
        (dense_chain(), {"plasticity": GATED}),
        (dense_chain(), {"plasticity": GATED, "streams": 3}),
        (dense_chain(), {"plasticity": Hebbian(0.002, 0.0007), "streams": 3}),
        (dense_chain(), {"plasticity": Soft(0.01), "streams": 2}),
        (dense_chain(), {"plasticity": Soft(0.01)}),
        (dense_chain(**FEATURES["neurons"]), {"plasticity": GATED}),
        (dense_chain(**FEATURES["projections"]), {"plasticity": Soft(0.01), "streams": 2}),
        (dense_chain(), {"plasticity": PerLayer((None, GATED)), "drive": KICKED}),
        (dense_chain(), {"plasticity": GATED, "homeostasis": [SynapticScaling(20.0), IntrinsicExcitability(20.0)]}),
        (kernel_chain(), {"plasticity": GATED}),
        (kernel_chain("sum"), {"plasticity": GATED}),
        (kernel_chain("positions"), {"plasticity": Hebbian(0.002, 0.0007)}),
        (kernel_chain(plastic=False), {"plasticity": Soft(0.01), "downscaling": MagnitudePruning(0.3)}),
        (kernel_chain(), {"plasticity": GATED, "homeostasis": IncomingNormalisation(of="norm")}),
        (kernel_chain().astype(np.float32), {"plasticity": GATED, "downscaling": MagnitudePruning(0.1)}),
    ],
)
def test_a_chain_as_a_graph_is_the_chain(chain: SpikingNetwork, how: dict[str, Any]) -> None:
    how = {"drive": DRIVE, "steps": 100, "seed": 3, "homeostasis_every": 25, "backend": "reference"} | how
    recorders = SpikeRecorder(), SpikeRecorder()
    a, b = (simulate(n, log=r, **how) for n, r in zip((chain, as_graph(chain)), recorders, strict=True))
    assert all(counts.sum() > 0 for counts in a.spike_counts)
    assert any((x != y).any() for x, y in zip(chain.weights, a.network.weights, strict=True))
    for population, n in enumerate(chain.sizes):
        np.testing.assert_array_equal(recorders[0].raster(population, n), recorders[1].raster(population, n))
    for x, y in zip(a.network.weights, b.network.weights, strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(a.network.projections, b.network.projections, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for name, arrays in {"membranes": a.state.membranes, **a.state.kept}.items():
        for x, y in zip(arrays, {"membranes": b.state.membranes, **b.state.kept}[name], strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_segments_change_gains_and_thresholds_of_all_pathways() -> None:
    chain = kernel_chain()
    parts = (TimedSegment("a", 40, DRIVE, GATED, gain=1.5), TimedSegment("b", 80, DRIVE, None, threshold=0.5))
    a, b = (simulate(n, DRIVE, GATED, 80, segments=parts, backend="reference") for n in (chain, as_graph(chain)))
    np.testing.assert_array_equal(a.segment_spikes, b.segment_spikes)
    for x, y in zip(a.network.weights, b.network.weights, strict=True):
        np.testing.assert_array_equal(x, y)
    turned = replace(as_graph(chain).layers[0].pathways[0], gain=np.array([-2.0, 1.0, 1.0, 1.0]))
    first, *others = as_graph(chain).layers
    graph = replace(as_graph(chain), layers=(replace(first, pathways=(turned,)), *others))
    silent = graph.with_factors(0.0, 2.0).layers[0]
    assert np.signbit(silent.pathways[0].gain).tolist() == [True, False, False, False]
    assert silent.threshold == 2 * graph.layers[0].threshold


def residual(sharing: Any = "mean", rule: Any = "winner") -> PlasticGraph:
    """A stem, a block whose kernels are used twice and have a shortcut past them, a pool, and an output."""
    rng = np.random.default_rng(4)
    slide = Sliding((1, 1), (1, 1), (1, 1))
    normal = lambda *shape: rng.normal(0.02, 0.04, shape)  # noqa: E731
    shape = (4, 6, 6)
    pool = MaxPool((2, 2), (2, 2), (0, 0), rule)
    gains = np.array([20.0, 30.0, -20.0, 25.0])
    layers = (
        GraphLayer("stem.relu", shape, (Pathway("input", "stem", slide, gain=gains),), bias=np.full(shape, 0.02)),
        GraphLayer("block.relu#below", shape, (Pathway("stem.relu", "block", slide, gain=np.array(20.0)),)),
        GraphLayer(
            "block.relu",
            shape,
            (
                Pathway("block.relu#below", "block", slide, gain=np.array(20.0)),
                Pathway("stem.relu", gain=np.array(0.7)),
            ),
        ),
        GraphLayer("output", (3,), (Pathway("block.relu", "head", before=(pool,), gain=np.array(10.0)),)),
    )
    parameters = (
        Weights("stem", normal(4, 2, 3, 3), sharing=sharing),
        Weights("block", normal(4, 4, 3, 3), sharing=sharing),
        Weights("head", normal(36, 3)),
    )
    return PlasticGraph((2, 6, 6), parameters, layers)


def test_a_night_can_be_saved_stopped_and_gone_on_with(tmp_path: Path) -> None:
    """Sums before a pool with winners are part of the checkpoint."""
    graph, homeostasis = residual(), [IncomingNormalisation(), IntrinsicExcitability(20.0)]
    member = Member(graph, DRIVE, GATED, homeostasis=homeostasis, homeostasis_every=30, streams=2)
    whole = simulate_ensemble([member], 100, backend="reference")[0]
    assert whole.state.sent is not None
    assert whole.state.sent[0].shape == (2, 144)
    assert whole.state.sent[0].sum() == whole.spike_counts[3].sum() > 0

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "night.npz"
    how = {"backend": "reference", "chunk": 10, "seconds": 0.0}
    with Resumable(member, 100, path) as resumable, shorter_pieces(20):
        calls = iter(range(5))
        with pytest.raises(KeyboardInterrupt):
            resumable.simulate(on_progress=lambda n: next(calls, None) is None and stop(n), **how)
    saved = load(path, graph)
    assert 0 < saved.state.step < 100
    done = simulate_resumable(member, 100, path, **how)
    for a, b in zip(whole.network.weights, done.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, arrays in whole.state.kept.items():
        for a, b in zip(arrays, done.state.kept[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
    content = dict(np.load(path))
    for name, damaged in (("sent0", content["sent0"][:, :-1]), ("membrane_steps", np.zeros(3, dtype=np.int64))):
        np.savez(tmp_path / "damaged.npz", **(content | {name: damaged}))
        with pytest.raises(InputError, match=f"is not a checkpoint of a night of this network.*{name} must be"):
            load(tmp_path / "damaged.npz", graph)
    slower = replace(graph, layers=(replace(graph.layers[0], threshold=2.0), *graph.layers[1:]))
    others = residual("sum"), residual(rule="any"), slower
    for other in others:
        with pytest.raises(InputError, match=r"checkpoint of (another night|a night of this network)"):
            simulate_resumable(replace(member, network=other), 100, path, **how)
    assert len({digest(replace(member, network=n), 100) for n in (graph, *others)}) == 4


@contextmanager
def shorter_pieces(steps: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neurosleep.sims.checkpoint.FIRST_PIECE", steps)
        yield


def one_way(
    before: tuple[Any, ...], n_in: int, n_seen: int, weights: np.ndarray | None = None, **how: Any
) -> PlasticGraph:
    """One weight from each place that is seen to a neuron of its own, so that its spikes are what is sent."""
    eye = np.eye(n_seen) if weights is None else weights
    pathway = Pathway("input", "w", before=before, **how)
    return PlasticGraph((1, n_in), (Weights("w", eye),), (GraphLayer("out", (eye.shape[1],), (pathway,), decay=0.5),))


def raster(graph: PlasticGraph, inputs: list[list[int]]) -> list[list[int]]:
    recorder = SpikeRecorder()
    simulate(graph, RecordedSpikes(np.array(inputs)), None, len(inputs), backend="reference", log=recorder)
    return recorder.raster(1, graph.sizes[1]).astype(int).tolist()


def test_what_pools_send() -> None:
    inputs = [[0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]]
    # Sums so far, with this step's: (0 1 | 0 1), (1 2 | 0 1), (2 2 | 1 1), (3 2 | 1 1); the first of equals wins.
    winner, anyone = (one_way((MaxPool((2,), (2,), (0,), rule),), 4, 2) for rule in ("winner", "any"))
    assert raster(winner, inputs) == [[1, 1], [1, 0], [1, 1], [1, 0]]
    assert raster(anyone, inputs) == [[1, 1], [1, 0], [1, 1], [1, 0]]
    late = [*inputs, [0, 1, 0, 1]]  # (3 3 | 1 2): the first of equals is silent, the second place has the most
    assert raster(winner, late)[-1] == [0, 1]
    assert raster(anyone, late)[-1] == [1, 1]
    padded = one_way((MaxPool((3,), (2,), (1,), "winner"),), 4, 2)
    assert raster(padded, [[0, 0, 0, 1]]) == [[0, 1]]


def test_places_behind_weights_fired_if_any_neuron_did_that_they_feed() -> None:
    """Four places become two neurons; the left one fires, so that its two places learn, and the others do not."""
    pool = AveragePool((2,), (2,), (0,))
    kernels, slide = np.full((1, 1, 1), 1.0), Sliding((1,), (0,), (1,))
    pathway = Pathway("input", "w", slide, after=(pool,))
    graph = PlasticGraph((1, 4), (Weights("w", kernels, sharing="sum"),), (GraphLayer("out", (1, 2), (pathway,), 0.5),))
    done = simulate(graph, RecordedSpikes(np.array([[1, 0, 0, 0]] * 2)), Hebbian(1.0, 0.25), 1, backend="reference")
    assert done.network.weights[0].ravel().tolist() == [1 + 1.0 - 0.25]
    unfed = replace(pathway, after=(Gather(np.array([[0, -1]])),))
    graph = replace(graph, layers=(replace(graph.layers[0], pathways=(unfed,)),))
    done = simulate(graph, RecordedSpikes(np.array([[1, 0, 0, 0]] * 2)), Hebbian(1.0, 0.25), 1, backend="reference")
    assert done.network.weights[0].ravel().tolist() == [2.0]


def test_what_arrives_below_0_is_active_too() -> None:
    """A factor before the kernels is negative, and the bias lets their neurons fire."""
    pathway = Pathway("input", "w", Sliding((1,), (0,), (1,)), before=(Scale(np.array(-1.0)),))
    layer = GraphLayer("out", (1, 4), (pathway,), 0.5, bias=np.full((1, 4), 2.0))
    graph = PlasticGraph((1, 4), (Weights("w", np.ones((1, 1, 1)), sharing="sum"),), (layer,))
    done = simulate(graph, RecordedSpikes(np.array([[1, 0, 0, 0]])), Hebbian(1.0, 0.25), 1, backend="reference")
    assert done.network.weights[0].ravel().tolist() == [1 + 1.0 - 3 * 0.25]


def test_weights_change_at_the_end_of_the_step() -> None:
    """The same weights lead to both populations; the second one does not feel what the first one has learned."""
    layers = tuple(
        GraphLayer(name, (1,), (Pathway("input", "w"),), threshold=threshold)
        for name, threshold in (("a", 1.0), ("b", 1.5))
    )
    graph = PlasticGraph((1,), (Weights("w", np.ones((1, 1)), sharing="sum"),), layers)
    done = simulate(graph, RecordedSpikes(np.array([[1]])), Hebbian(1.0, 0.0), 1, backend="reference")
    assert [counts.tolist() for counts in done.spike_counts] == [[1], [1], [0]]
    assert done.network.weights[0].tolist() == [[2.0]]


def test_silenced_neurons_and_logs_with_names_of_modules(tmp_path: Path) -> None:
    graph = residual()
    drive, state = silence(Silencing({"block.relu": [0, 5], "input": [1]}), graph, DRIVE)
    log = SpikeLog(tmp_path / "night.h5", graph.populations, dt=0.001, seed=0, membranes_every=10, dtype=np.float64)
    log.begin_epoch("night", seed=0)
    with log:
        done = simulate(graph, drive, GATED, 50, state=state, log=log, backend="reference")
    assert done.spike_counts[3][[0, 5]].tolist() == [0, 0]
    assert done.spike_counts[0][1] == 0 < done.spike_counts[0][0]
    with SpikeReader(tmp_path / "night.h5") as reader:
        assert list(reader.populations) == ["input", "stem.relu", "block.relu#below", "block.relu", "output"]
        assert reader.counts("block.relu#below") == done.spike_counts[2].sum() > 0


def test_homeostasis_of_weights_goes_by_channels() -> None:
    """Channel 2 has a negative gain: its weights below 0 are excitatory, and those are scaled.

    The weights of the block lead to two populations, whose mean rate counts.
    """
    graph = residual()
    rule = SynapticScaling(10_000.0, share=0.5)  # all neurons fire too rarely
    done = simulate(graph, DRIVE, None, 10, homeostasis=rule, homeostasis_every=10, backend="reference")
    factor = 1 + 0.5 * (1 - done.spike_counts[1].reshape(4, 36).mean(axis=1) / 0.01 / 10_000)
    felt = graph.weights[0] * np.array([1, 1, -1, 1]).reshape(-1, 1, 1, 1)
    grown = np.abs(done.network.weights[0]) > np.abs(graph.weights[0])
    np.testing.assert_array_equal(grown, felt > 0)
    ratio = np.where(felt > 0, done.network.weights[0] / graph.weights[0], np.nan).reshape(4, -1)
    np.testing.assert_allclose(np.nanmean(ratio, axis=1), factor, rtol=1e-12)
    counts = np.concatenate([done.spike_counts[i].reshape(4, 36) for i in (2, 3)], axis=1)
    ratio = (done.network.weights[1] / graph.weights[1]).reshape(4, -1).max(axis=1)
    np.testing.assert_allclose(ratio, 1 + 0.5 * (1 - counts.mean(axis=1) / 0.01 / 10_000), rtol=1e-12)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"plasticity": PairSTDP(0.01, 0.01)},
            "PairSTDP has traces and on_pre, which weights of a graph cannot follow",
        ),
        (
            {"plasticity": PerLayer((GATED, None, GATED, GATED))},
            "weights 'block' lead to 'block.relu#below', 'block.relu'",
        ),
        ({"plasticity": KeepSign(Soft(0.01))}, "KeepSign is for chains of dense layers"),
        ({"plasticity": PerLayer((GATED,))}, "1 rules, but the network has 4 layers"),
        ({"drive": {"hidden1": Kicks(DRIVE, 1.0)}}, "no population 'hidden1' to drive"),
        ({"state": "any"}, "the state has sent of shapes"),
    ],
)
def test_what_a_graph_cannot_do_is_said(how: dict[str, Any], message: str) -> None:
    if "state" in how:
        how = {"state": simulate(residual(rule="any"), DRIVE, None, 1, backend="reference").state}
    with pytest.raises(InputError, match=message):
        simulate(residual(), steps=1, **({"drive": DRIVE, "plasticity": GATED, "backend": "reference"} | how))


def test_homeostasis_without_meaning_is_refused() -> None:
    graph = residual()
    below, block = graph.layers[1:3]
    turned = replace(below, pathways=(replace(below.pathways[0], gain=np.array(-20.0)),))
    turn = Gather(np.arange(144)[::-1].reshape(4, 6, 6))
    mixed = replace(block, pathways=(replace(block.pathways[0], after=(turn,)), block.pathways[1]))
    for layers, message in (((turned, block), "pathways turn their sign"), ((below, mixed), "is rearranged before")):
        other = replace(graph, layers=(graph.layers[0], *layers, graph.layers[3]))
        with pytest.raises(InputError, match=rf"weights 'block' has no meaning: .*{message}.*IntrinsicExcitability"):
            simulate(other, DRIVE, None, 1, homeostasis=SynapticScaling(10.0), backend="reference")
        others = [IntrinsicExcitability(10.0), MagnitudePruning(0.1)]
        simulate(other, DRIVE, None, 1, homeostasis=others, backend="reference")


def test_kernels_of_a_chain_cannot_keep_signs_either() -> None:
    with pytest.raises(InputError, match="KeepSign is for chains of dense layers: weights of layer '', a convolution"):
        simulate(kernel_chain(), DRIVE, KeepSign(Soft(0.01)), 1, backend="reference")


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    graph = residual()
    for name in ("a/b", "."):
        with pytest.raises(InputError, match="name of a population must be text without '/'"):
            replace(graph.layers[0], name=name)
    turned = replace(graph.layers[0].pathways[0], after=(Scale(np.array([1.0, 1.0, -1.0, 1.0])),))
    with pytest.raises(InputError, match=r"'input' to 'stem\.relu': behind the weights 'stem' come other"):
        replace(graph, layers=(replace(graph.layers[0], pathways=(turned,)), *graph.layers[1:]))
    log = SpikeLog(tmp_path / "night.h5", graph.populations, dt=0.001, seed=0, weights_every=10)
    log.begin_epoch("night", seed=0)
    with log, pytest.raises(InputError, match="snapshots of dense weights only, and this network is no chain"):
        simulate(graph, DRIVE, None, 1, log=log, backend="reference")
    with pytest.raises(InputError, match="weights must stay finite"):
        simulate(graph.astype(np.float32), DRIVE, Soft(1e40), 50, backend="reference")
