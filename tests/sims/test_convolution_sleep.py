"""Convolutional layers asleep: the change of a shared kernel by hand, conversion, nights, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurosleep.converters import Calibration, ConversionError, calibrate, to_spiking, write_back
from neurosleep.converters.chain import linear_stages
from neurosleep.memory import Memory
from neurosleep.networks import ClassicDropout, relu_network
from neurosleep.night import SpontaneousReplay, sleep
from neurosleep.sims.checkpoint import load, simulate_resumable
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.recorded import RecordedSpikes
from neurosleep.sims.engines.sinks import SpikeRecorder
from neurosleep.sims.ensemble import Member, simulate
from neurosleep.sims.errors import BackendError, InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork
from neurosleep.sims.operators import AveragePool
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

BACKENDS = ["cpu", "reference"]
X = torch.from_numpy(np.random.default_rng(0).random((20, 2, 8, 8), dtype=np.float32))


def one_step(layer: SpikingLayer, image: list[list[int]], backend: str) -> np.ndarray:
    """Return the kernels after one step in which these pixels fire; every increase is 1 and every decrease 1 / 4."""
    raster = np.array(image).reshape(1, -1).repeat(2, axis=0)
    done = simulate(SpikingNetwork((layer,)), RecordedSpikes(raster), Hebbian(1.0, 0.25), 1, backend=backend)
    return done.network.layers[0].weights


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("sharing", "expected"),
    [
        # The kernel's taps are 1: a position fires where three of its four pixels do. These are the two above,
        # with the pixels (1 1 / 1 1) and (1 0 / 1 1), so that only the tap at the upper right misses one of two.
        ("mean", [[1 + 1.0, 1 + (1.0 - 0.25) / 2], [1 + 1.0, 1 + 1.0]]),
        ("sum", [[1 + 2.0, 1 + 1.0 - 0.25], [1 + 2.0, 1 + 2.0]]),
        ("positions", [[1 + 2 / 4, 1 + 0.75 / 4], [1 + 2 / 4, 1 + 2 / 4]]),
    ],
)
def test_a_kernel_changes_as_by_hand(backend: str, sharing: str, expected: list[list[float]]) -> None:
    image = [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    layer = SpikingLayer(np.ones((1, 1, 2, 2)), kernels=Kernels((1, 3, 3)), threshold=3.0, sharing=sharing)
    np.testing.assert_array_equal(one_step(layer, image, backend)[0, 0], expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_taps_in_the_padding_are_no_synapses(backend: str) -> None:
    """With one pixel and a padding of one, each of the four positions meets it with another tap, and nothing else."""
    layer = SpikingLayer(np.ones((1, 1, 2, 2)), kernels=Kernels((1, 1, 1), padding=(1, 1)), sharing="positions")
    np.testing.assert_array_equal(one_step(layer, [[1]], backend)[0, 0], [[2, 2], [2, 2]])
    row = SpikingLayer(np.array([[[1.0, 1.0, 1.0]]]), kernels=Kernels((1, 2), padding=(1,)))
    np.testing.assert_array_equal(one_step(row, [[1, 0]], backend)[0, 0], [2, 1 + 0.375, 0.75])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pool_sends_the_share_of_its_window(backend: str) -> None:
    """Windows (1 1 / 0 1) and (0 0 / 0 0): the first sends 3 / 4, and counts as fired for plasticity."""
    image = [[1, 1, 0, 0], [0, 1, 0, 0]]
    pool = AveragePool((2, 2), (2, 2), (0, 0))
    layer = SpikingLayer(np.ones((1, 1, 1, 2)), kernels=Kernels((1, 2, 4), pool=pool), threshold=0.75)
    np.testing.assert_array_equal(one_step(layer, image, backend)[0, 0], [[2.0, 0.75]])
    silent = replace(layer, threshold=0.7501)
    np.testing.assert_array_equal(one_step(silent, image, backend)[0, 0], [[1.0, 1.0]])


def dense_and_kernels() -> tuple[SpikingNetwork, SpikingNetwork]:
    rng = np.random.default_rng(1)
    sizes = [(12, 9), (9, 5)]
    weights = [rng.normal(0.005, 0.02, size) for size in sizes]
    dense = [SpikingLayer(w, gain=60.0, decay=0.9) for w in weights]
    kernels = [
        SpikingLayer(w.T[:, :, None].copy(), kernels=Kernels((len(w), 1)), gain=60.0, decay=0.9) for w in weights
    ]
    return SpikingNetwork(tuple(dense)), SpikingNetwork(tuple(kernels))


@pytest.mark.parametrize("rule", [None, GatedHebbian(0.01, 0.002), Hebbian(0.002, 0.0007)])
@pytest.mark.parametrize("sharing", ["mean", "sum", "positions"])
def test_with_one_position_a_night_is_the_dense_one(rule: GatedHebbian | Hebbian | None, sharing: str) -> None:
    dense, kernels = dense_and_kernels()
    kernels = SpikingNetwork(tuple(replace(layer, sharing=sharing) for layer in kernels.layers))
    a, b = (simulate(network, UniformNoise(150.0), rule, 400, seed=4) for network in (dense, kernels))
    for x, y in zip(a.spike_counts, b.spike_counts, strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.spike_counts[-1].sum() > 20
    for x, y in zip(a.network.layers, b.network.layers, strict=True):
        if isinstance(rule, Hebbian):  # the dense engine takes depressions later, so that roundings differ
            np.testing.assert_allclose(x.weights.T, y.weights[:, :, 0], rtol=0, atol=1e-13)
        else:
            np.testing.assert_array_equal(x.weights.T, y.weights[:, :, 0])


def unrolled(layer: SpikingLayer) -> SpikingLayer:
    """Return the dense layer that sends what a layer of kernels sends: its answer to each neuron alone."""
    torch_layer = nn.functional.conv2d if layer.weights.ndim == 4 else nn.functional.conv1d
    one = torch.eye(layer.n_pre, dtype=torch.float64).reshape(-1, *layer.input_shape)
    *pools, how = layer.operators
    for pool in pools:
        one = nn.functional.avg_pool2d(one, pool.size, pool.stride, pool.padding)
    kernels = torch.from_numpy(how.kernels)
    rows = torch_layer(one, kernels, None, how.stride, how.padding, how.dilation, how.groups).flatten(1).numpy()
    bias = None if layer.bias is None else np.repeat(layer.bias, layer.n_post // len(layer.bias))
    return SpikingLayer(rows.copy(), layer.gain, layer.threshold, layer.decay, layer.inhibition, bias)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": (1, 2)},
        {"dilation": (2, 3), "bias": True},
        {"groups": 2, "padding": (2, 0), "bias": True},
        {"pool": AveragePool((2, 2), (2, 2), (0, 0))},
        {"pool": AveragePool((2, 4), (1, 2), (1, 1)), "groups": 2, "inhibition": 0.5},
    ],
)
def test_kernels_send_what_the_dense_layer_sends(backend: str, options: dict[str, object]) -> None:
    rng = np.random.default_rng(2)
    given = dict(options)
    weights = rng.integers(-8, 16, (6, 4 // int(given.get("groups", 1)), 3, 2)) / 64
    given["bias"] = rng.integers(-4, 5, 6) / 32 if given.get("bias") else None
    neurons = {"bias": given.pop("bias"), "inhibition": given.pop("inhibition", 0.0)}
    layer = SpikingLayer(weights, kernels=Kernels((4, 8, 9), **given), gain=2.0, decay=0.5, **neurons)
    both = [SpikeRecorder(), SpikeRecorder()]
    a, b = (
        simulate(SpikingNetwork((one,)), UniformNoise(150.0), None, 60, seed=3, backend=backend, log=log)
        for one, log in zip((layer, unrolled(layer)), both, strict=True)
    )
    np.testing.assert_array_equal(both[0].raster(1, layer.n_post), both[1].raster(1, layer.n_post))
    np.testing.assert_allclose(a.state.membrane_potentials(a.network)[0], b.state.membrane_potentials(b.network)[0])
    assert a.spike_counts[1].sum() > 20


def small_model(bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, stride=2, bias=bias),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(54, 7, bias=bias),
            nn.ReLU(),
            nn.Linear(7, 3, bias=bias),
        )


def pooled_model() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding="same"),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 3, groups=2),
            nn.ReLU(),
            ClassicDropout(0.25),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )


def rates(network: SpikingNetwork, x: np.ndarray) -> np.ndarray:
    """What the normalised network answers if it computes with rates instead of spikes."""
    for layer in network.layers:
        if layer.kernels is not None:
            layer = unrolled(layer)
        x = np.maximum(layer.gain * x @ layer.weights + (0 if layer.bias is None else layer.bias), 0)
    return x


@pytest.mark.parametrize("make", [small_model, pooled_model])
@pytest.mark.parametrize("normalization", ["max", "percentile", "diehl"])
def test_conversion_preserves_the_function(make: Callable[[], nn.Module], normalization: str) -> None:
    model, x = make().double().eval(), X.double()
    network = to_spiking(model, x, normalization=normalization, decay=1.0)
    assert all(layer.kernels is not None for layer in network.layers[:2])
    expected, got = model(x).relu().detach().numpy(), rates(network, x.flatten(1).numpy())
    assert expected.max() > 0
    np.testing.assert_allclose(got * (expected.max() / got.max()), expected, atol=1e-12)


@pytest.mark.parametrize("make", [small_model, pooled_model])
def test_weights_go_back_where_they_came_from(make: Callable[[], nn.Module]) -> None:
    model = make()
    network = to_spiking(model, X, normalization="max", decay=1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    write_back(network, model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    write_back(network.with_weights([layer.weights * 2 for layer in network.layers]), model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] * (2 if name.endswith("weight") else 1))
    with pytest.raises(ConversionError, match=r"submodule '0' has weights of shape"):
        write_back(network, nn.Sequential(nn.Conv2d(2, 4, 5), *list(make())[1:]))


def night(**options: object) -> SpontaneousReplay:
    given = {"thresholds": 0.4, "normalization": "max"} | options
    return SpontaneousReplay(200, MeanRate(150.0), GatedHebbian(0.02, 0.004), **given)  # type: ignore[arg-type]


def test_only_plastic_layers_change() -> None:
    model = small_model()
    memory = Memory()
    memory.observe(model, X)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record = sleep(model, memory, night(plastic=("2", "8"), downscaling=GradedDownscaling()), seed=1)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"2.weight", "8.weight"}
    assert [change.layer for change in record.weight_changes if change.largest_change > 0] == ["2", "8"]
    assert all(record.spikes[population] > 0 for population in ("input", "hidden1", "hidden2"))


def test_a_dense_network_can_be_frozen_in_part() -> None:
    model = relu_network((12, 8, 8, 3), init=0.5, generator=torch.Generator().manual_seed(0))
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(1))
    network = to_spiking(model, x, normalization="max", plastic=["4"], decay=0.9)
    done = [simulate(network, UniformNoise(200.0), GatedHebbian(0.1, 0.1), 200, backend=b) for b in BACKENDS]
    for a, b, old in zip(done[0].network.layers, done[1].network.layers, network.layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=1e-5)
        assert np.array_equal(a.weights, old.weights) == (a.name != "4")


def test_a_night_of_a_convolutional_network(tmp_path: Path) -> None:
    """Logged, saved, stopped and gone on with, on both engines."""
    model, other, third = small_model(), small_model(), small_model()
    memory = Memory()
    memory.observe(model, X[:10])
    memory.observe(model, X[10:])
    np.testing.assert_allclose(memory.mean_input, X.flatten(1).double().mean(0))
    memory.save(tmp_path / "memory.npz")
    memory = Memory.load(tmp_path / "memory.npz")
    assert memory.calibration is not None
    assert memory.calibration.input_shape == (2, 8, 8)
    record = sleep(model, memory, night(), seed=1, log=tmp_path / "night.h5", precision="float64")
    slow = sleep(other, memory, night(), seed=1, backend="reference", precision="float64")
    saved = sleep(third, memory, night(), seed=1, checkpoint=tmp_path / "night.npz", precision="float64")
    assert record.spikes == slow.spikes == saved.spikes
    assert min(record.spikes.values()) > 0
    for (name, a), b, c in zip(
        model.state_dict().items(), other.state_dict().values(), third.state_dict().values(), strict=True
    ):
        assert torch.equal(a, c), name
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    with SpikeReader(tmp_path / "night.h5") as reader:
        assert reader.populations == {"input": 128, "hidden1": 256, "hidden2": 54, "hidden3": 7, "output": 3}


@pytest.mark.parametrize("stage", [MagnitudePruning(0.3), GradedDownscaling()])
def test_downscaling_alone_needs_no_memory(stage: MagnitudePruning | GradedDownscaling) -> None:
    model = small_model()
    old = [module.weight.detach().clone() for module in model if hasattr(module, "weight")]
    sleep(model, None, stage)
    for before, module in zip(old, [m for m in model if hasattr(m, "weight")], strict=True):
        dense = before.ndim == 2
        expected = stage.apply(np.ascontiguousarray(before.numpy().T) if dense else before.numpy())
        np.testing.assert_array_equal(module.weight.detach().numpy(), expected.T if dense else expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_downscaling_by_night(backend: str) -> None:
    network = to_spiking(small_model(), X, normalization="max", decay=1.0)
    done = simulate(network, UniformNoise(1.0), None, 10, backend=backend, downscaling=MagnitudePruning(0.5))
    for old, new in zip(network.layers, done.network.layers, strict=True):
        np.testing.assert_array_equal(new.weights, MagnitudePruning(0.5).apply(old.weights))


def test_a_checkpoint_knows_its_network(tmp_path: Path) -> None:
    network = to_spiking(small_model(), X, normalization="max", decay=1.0)
    member = Member(network, UniformNoise(50.0), GatedHebbian(0.01, 0.001))
    simulate_resumable(member, 20, tmp_path / "night")
    assert load(tmp_path / "night", network).state.step == 20
    first = network.layers[0]
    for other in (replace(first, sharing="sum"), replace(first, plastic=False)):
        changed = replace(member, network=SpikingNetwork((other, *network.layers[1:])))
        with pytest.raises(InputError, match="another night"):
            simulate_resumable(changed, 20, tmp_path / "night")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ([nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)], r"submodule '2' \(MaxPool2d\) is not supported; .* stride"),
        ([nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()], r"submodule '1' \(BatchNorm2d\).*fuse_conv_bn_eval"),
        ([nn.Conv2d(2, 4, 3), nn.AvgPool2d(2), nn.ReLU()], r"'1' \(AvgPool2d\) must stand behind a ReLU"),
        ([nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2)], r"'2' \(AvgPool2d\) has no layer of weights behind it"),
        ([nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Linear(6, 2)], r"'2' \(Linear\) gets channels and space: put a Flatten"),
        ([nn.Flatten(), nn.Linear(128, 4), nn.ReLU(), nn.Conv2d(1, 1, 1)], r"'3' \(Conv2d\) gets flattened values"),
        ([nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(2), nn.Linear(36, 2)], r"'2' \(Flatten\) must flatten all axes"),
        ([nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2)], r"'3' \(Linear\) does not fit .* takes? 9"),
        ([nn.Conv2d(3, 4, 3)], r"submodule '0' \(Conv2d\) does not fit inputs of shape \(2, 8, 8\)"),
        ([nn.Conv2d(2, 4, 9)], r"submodule '0' \(Conv2d\) does not fit .* windows"),
        ([nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")], r"'0' \(Conv2d\) pads with 'circular'"),
        ([nn.Conv2d(2, 4, 2, padding="same")], r"'0' \(Conv2d\) has padding='same' with kernels of even reach"),
        ([nn.ConvTranspose2d(2, 4, 3)], r"submodule '0' \(ConvTranspose2d\) is not supported"),
    ],
)
def test_what_cannot_sleep_is_named(model: list[nn.Module], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        to_spiking(nn.Sequential(*model), X, normalization="max", decay=1.0)


def test_several_streams_learn_by_their_mean_and_the_first_has_the_noise_of_one() -> None:
    network = to_spiking(small_model(), X, normalization="max", decay=1.0).astype(np.float64)
    how = {"steps": 30, "seed": 3, "streams": 2}
    fast, slow = (simulate(network, UniformNoise(200.0), GatedHebbian(0.01, 0.002), backend=b, **how) for b in BACKENDS)
    for a, b in zip(fast.spike_counts, slow.spike_counts, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.any()
    for old, a, b in zip(network.layers, fast.network.layers, slow.network.layers, strict=True):
        assert not np.array_equal(old.weights, a.weights)
        np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=1e-12)
    one, two = (_first_copy(network, streams) for streams in (1, 2))
    for population in range(len(network.sizes)):
        for a, b in zip(one.events(population), two.events(population), strict=True):
            np.testing.assert_array_equal(a, b)


def _first_copy(network: SpikingNetwork, streams: int) -> SpikeRecorder:
    recorder = SpikeRecorder()
    simulate(network, UniformNoise(200.0), GatedHebbian(0.0, 0.0), 30, seed=3, streams=streams, log=recorder)
    return recorder


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    model = small_model()
    with pytest.raises(ConversionError, match=r"takes inputs of shape \(n, channels, \*space\)"):
        calibrate(model, X.flatten(1))
    with pytest.raises(ConversionError, match="give the Calibration an input_shape"):
        to_spiking(model, Calibration((1.0,) * 4), normalization="max", decay=1.0)
    with pytest.raises(InputError, match=r"plastic must name layers among '0', '2', '6', '8', got \('1',\)"):
        to_spiking(model, X, plastic=("1",), normalization="max", decay=1.0)
    with pytest.raises(InputError, match=r"no sharing 'median'.*known: mean, sum, positions"):
        night(sharing="median")
    with pytest.raises(ConversionError, match=r"submodule '0' \(Conv2d\) is not supported here"):
        linear_stages(model)
    network = to_spiking(model, X, normalization="max", decay=1.0)
    with pytest.raises(BackendError, match="one stream a network, got streams=2"):
        simulate(network, UniformNoise(10.0), None, 1, streams=2, backend="cuda")
    with pytest.raises(InputError, match="128 inputs"):
        simulate(network, MaskedMeanRate(10.0, 3, (8, 8)), None, 1, mean_input=np.zeros(128))
    log = SpikeLog(tmp_path / "night.h5", network.populations, dt=0.001, seed=0, weights_every=10)
    log.begin_epoch("night", seed=0)
    with log, pytest.raises(InputError, match="snapshots of dense weights only"):
        simulate(network, UniformNoise(10.0), None, 1, log=log)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": np.zeros((2, 3, 3, 3))}, r"kernels take \(3, and 2 axes of space\), got shape \(2, 8, 8\)"),
        ({"weights": np.zeros((2, 2, 3, 3), dtype=np.int64)}, "must be a float32 or float64 array of kernels"),
        ({"weights": np.full((2, 2, 3, 3), np.nan)}, "36 of 36 are not finite"),
        ({"kernels": Kernels((2, 8, 8), padding=(1,))}, "padding must be 2 whole numbers"),
        ({"threshold": 0.0}, "threshold must be finite and positive"),
        ({"bias": np.zeros(5)}, r"bias must be \(2,\) finite numbers"),
        ({"sharing": "all"}, "sharing must be one of"),
    ],
)
def test_wrong_layers_are_named(options: dict[str, object], message: str) -> None:
    given = {"weights": np.zeros((2, 2, 3, 3)), "name": "conv", "kernels": Kernels((2, 8, 8))} | options
    with pytest.raises(InputError, match=message):
        SpikingLayer(**given)  # type: ignore[arg-type]


def test_layers_must_fit() -> None:
    below = SpikingLayer(np.zeros((2, 2, 3, 3)), kernels=Kernels((2, 8, 8)), name="a")
    with pytest.raises(InputError, match=r"layer 'b' takes inputs of shape \(8, 3, 3\), .* has shape \(2, 6, 6\)"):
        SpikingNetwork((below, SpikingLayer(np.zeros((2, 8, 3, 3)), kernels=Kernels((8, 3, 3)), name="b")))
