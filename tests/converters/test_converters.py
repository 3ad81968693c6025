"""What converts, what does not and how it says so, and that both functions leave nothing behind."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from neurosleep.converters import Calibration, ConversionError, calibrate, to_spiking, write_back
from neurosleep.converters.chain import linear_stages
from neurosleep.converters.tracing import traced
from neurosleep.networks import ClassicDropout, relu_network
from neurosleep.sims.errors import InputError

X = torch.from_numpy(np.random.default_rng(0).random((40, 6), dtype=np.float32))


def linear(n_pre: int, n_post: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(n_pre, n_post, bias)
    nn.init.uniform_(layer.weight, 0.0, 1.0, generator=torch.Generator().manual_seed(n_pre * 31 + n_post))
    return layer


class Functional(nn.Module):
    """An own module with functional ReLU, dropout and flatten, and a nested part."""

    def __init__(self) -> None:
        super().__init__()
        self.first = linear(6, 5)
        self.rest = nn.Sequential(nn.Sequential(linear(5, 4), nn.ReLU()), nn.Dropout(0.3), linear(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(functional.relu(self.first(torch.flatten(x, 1))), 0.2, self.training)
        return self.rest(x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layer(x)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else x


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear(6, 6)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + y


class Skipping(nn.Module):
    """Owns a convolution that its forward never uses: what counts is the path."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Conv2d(1, 1, 3)
        self.layer = linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def shared() -> nn.Module:
    layer = linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(linear(6, 3)))


def pruned() -> nn.Module:
    return nn.Sequential(prune.identity(linear(6, 3), "weight"))


def test_own_modules_convert_by_what_they_compute() -> None:
    model = Functional().eval()
    network = to_spiking(model, X, normalization="max", decay=1.0)
    assert [layer.name for layer in network.layers] == ["first", "rest.0.0", "rest.2"]
    assert network.sizes == (6, 5, 4, 3)
    x = X.numpy()
    for layer in network.layers:
        x = np.maximum(layer.gain * x @ layer.weights + layer.bias, 0)
    expected = model(X).relu().detach().numpy()
    np.testing.assert_allclose(x * expected.max(), expected, rtol=1e-5)
    assert to_spiking(Skipping(), X, normalization="max", decay=1.0).sizes == (6, 6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: nn.Sequential(linear(6, 4), nn.Tanh()),
            r"submodule '1' \(Tanh\) is not supported; supported: Linear, ReLU",
        ),
        (lambda: nn.Sequential(nn.Sequential(nn.BatchNorm1d(6)), linear(6, 4)), r"submodule '0.0' \(BatchNorm1d\)"),
        (lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()), r"submodule '0' \(Conv2d\)"),
        (lambda: nn.Sequential(linear(6, 4), nn.LeakyReLU(), linear(4, 2)), r"submodule '1' \(LeakyReLU\)"),
        (
            lambda: nn.Sequential(linear(6, 4), linear(4, 2)),
            r"submodule '1' \(Linear\) follows the linear layer '0' with no ReLU",
        ),
        (Residual, r"the operation 'add' \(add\) does not take its input from the layer before it alone"),
        (Branching, "Branching cannot be traced .* control flow"),
        (TwoInputs, "must take one input, got a second one, 'y'"),
        (shared, r"submodule '0' \(Linear\) shares its weight with an earlier layer"),
        (weight_normed, r"submodule '0' \(ParametrizedLinear\) is not supported"),
        (pruned, r"submodule '0' \(Linear\) computes its weight from others"),
        (lambda: nn.Sequential(nn.Flatten(), nn.ReLU()), "has no Linear layer on its path"),
        (
            lambda: nn.Sequential(linear(6, 4)).to(torch.bfloat16),
            "weights of torch.bfloat16; supported: float32 and float64",
        ),
    ],
)
def test_what_cannot_convert_is_named(model: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        to_spiking(model(), X, normalization="max", decay=1.0)


def test_a_subclass_of_a_layer_is_not_taken_for_it() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    with pytest.raises(ConversionError, match=r"submodule '0' \(Doubled\) is not supported"):
        to_spiking(nn.Sequential(Doubled(6, 2)), X, normalization="max", decay=1.0)


@pytest.mark.parametrize(
    ("calibration", "how", "message"),
    [
        (X[:0], {}, "n at least 1"),
        (X[:, :5], {}, r"inputs must be \(n, 6\)"),
        (X[0], {}, "inputs must be"),
        (X * torch.nan, {}, "240 values that are not finite"),
        (Calibration((1.0,)), {}, "the calibration has 1 layers, but the model has 2"),
        (Calibration((1.0, 0.0)), {}, "layer '2' has activation scale 0.0"),
        (Calibration((1.0, float("nan"))), {}, "activation scale nan"),
        (Calibration((1.0, 1.0), 99.0), {}, "measured percentile 99.0, but the normalization needs 100"),
        (X, {"thresholds": (1.0, 2.0, 3.0)}, "one for each of the 2 linear layers, got 3"),
        (X, {"thresholds": (1.0, -2.0)}, "layer '2': threshold must be"),
        (X, {"normalization": "best"}, "must be one of max, percentile, diehl, released, none"),
        (X, {"gain_scale": -1.0}, "gain must be"),
        (X, {"decay": 0.0}, "decay must be"),
    ],
)
def test_wrong_conversions(calibration: object, how: dict[str, object], message: str) -> None:
    model = nn.Sequential(linear(6, 4), nn.ReLU(), linear(4, 2))
    with pytest.raises(InputError, match=message):
        to_spiking(model, calibration, **{"normalization": "max", "decay": 1.0, **how})


def test_calibration_measures_as_in_testing() -> None:
    model = relu_network((6, 20, 3), dropout=0.5, init=1.0, generator=torch.Generator().manual_seed(0)).train()
    hidden = (X @ model[1].weight.detach().T).relu() * 0.5
    out = hidden @ model[4].weight.detach().T
    for percentile in (100.0, 99.9, 50.0):
        for batch_size in (7, 1000):
            scales = calibrate(model, X, percentile=percentile, batch_size=batch_size).scales
            expected = [np.percentile(a.numpy(), percentile) for a in (hidden, out.relu())]
            np.testing.assert_allclose(scales, expected, rtol=1e-5)
    softmax = calibrate(model, X, output="softmax").scales[1]
    assert softmax == pytest.approx(float(out.softmax(1).max()))
    assert model.training
    with pytest.raises(InputError, match="'relu' or 'softmax'"):
        calibrate(model, X, output="sigmoid")
    with pytest.raises(InputError, match="above 0 and at most 100"):
        calibrate(model, X, percentile=0)


def test_merged_calibrations_take_the_larger() -> None:
    assert Calibration((1.0, 5.0)).merged(Calibration((2.0, 4.0))) == Calibration((2.0, 5.0))
    with pytest.raises(InputError, match="cannot be merged"):
        Calibration((1.0,)).merged(Calibration((1.0,), 99.0))


def test_percentile_defaults_to_99_9() -> None:
    model = nn.Sequential(linear(6, 4, bias=False))
    gain = to_spiking(model, X, normalization="percentile", decay=1.0).layers[0].gain
    assert gain == pytest.approx(1 / calibrate(model, X, percentile=99.9).scales[0])


def test_write_back_puts_old_weights_back_if_writing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(linear(6, 4), nn.ReLU(), linear(4, 2))
    before = [p.clone() for p in model.parameters()]
    network = to_spiking(model, X, normalization="max", decay=1.0)
    changed = network.with_weights([layer.weights * 2 for layer in network.layers])
    copy, calls = torch.Tensor.copy_, []

    def failing(self: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("device lost")
        return copy(self, other)

    monkeypatch.setattr(torch.Tensor, "copy_", failing)
    with pytest.raises(RuntimeError, match="device lost"):
        write_back(changed, model)
    monkeypatch.undo()
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)


def test_write_back_keeps_precision_bias_and_dropout() -> None:
    model = nn.Sequential(linear(6, 4).double(), nn.ReLU(), ClassicDropout(0.2), linear(4, 2).double())
    bias = model[0].bias.clone()
    network = to_spiking(model, X.double(), normalization="max", decay=1.0)
    write_back(network.astype(np.float32), model)
    assert model[0].weight.dtype == torch.float64
    assert torch.equal(model[0].bias, bias)
    with pytest.raises(ConversionError, match=r"not all finite in torch.float32; nothing was written"):
        write_back(network.with_weights([layer.weights * 1e300 for layer in network.layers]), model.float())


class Leaky(nn.Module):
    """A network whose forward is no chain, as one that spikes over time; it declares the chain of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(0.9))
        self.into = linear(6, 5)
        self.layers = nn.ModuleDict({"out": linear(5, 3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = torch.zeros(len(x), 5)
        for _ in range(3):
            v = self.decay * v + self.into(x)
            v = torch.where(v > 1, 0.0, v)
        return self.layers["out"](v)

    def spiking_chain(self) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), self.into, nn.ReLU(), self.layers["out"])


def test_a_module_may_declare_its_chain() -> None:
    model = Leaky()
    stages = linear_stages(model)
    assert [stage.name for stage in stages] == ["into", "layers.out"]
    for stage in stages:
        assert model.get_submodule(stage.name) is stage.module
    network = to_spiking(model, X, normalization="max", decay=1.0)
    same = to_spiking(nn.Sequential(model.into, nn.ReLU(), model.layers["out"]), X, normalization="max", decay=1.0)
    assert [layer.name for layer in network.layers] == ["into", "layers.out"]
    assert [layer.gain for layer in network.layers] == [layer.gain for layer in same.layers]

    bias = model.into.bias.clone()
    write_back(network.with_weights([layer.weights + 1 for layer in network.layers]), model)
    for layer, module in zip(network.layers, (model.into, model.layers["out"]), strict=True):
        np.testing.assert_array_equal(module.weight.detach().numpy().T, layer.weights + 1)
    assert torch.equal(model.into.bias, bias)
    with pytest.raises(ConversionError, match=r"submodule 'into': the slept weights are not all finite"):
        write_back(network.with_weights([layer.weights * np.float64(1e300) for layer in network.layers]), model)


class WithConstant(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.arange(6)


def test_reading_leaves_nothing_behind() -> None:
    model = WithConstant()
    before = set(vars(model))
    with pytest.raises(ConversionError, match="the operation '_tensor_constant0'"):
        linear_stages(model)
    assert set(vars(model)) == before


def test_a_model_is_traced_once_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import neurosleep as ns
    from neurosleep.converters import chain

    read: list[nn.Module] = []
    monkeypatch.setattr(chain, "traced", lambda model: (read.append(model), traced(model))[1])
    model = Leaky()
    for use in (
        lambda: ns.Memory().observe(model, X),
        lambda: calibrate(model, X),
        lambda: to_spiking(model, X, normalization="max", decay=1.0),
        lambda: ns.sleep(model, None, ns.MagnitudePruning(0.1)),
    ):
        read.clear()
        use()
        assert len(read) == 1


def test_a_night_changes_a_module_by_its_declared_chain() -> None:
    import neurosleep as ns

    torch.manual_seed(0)  # of biases, with some of which no weight changes
    model, memory = Leaky(), ns.Memory()
    memory.observe(model, X)
    before = [stage.module.weight.clone() for stage in linear_stages(model)]
    stage = ns.SpontaneousReplay(300, ns.MeanRate(100.0), ns.GatedHebbian(0.01, 0.01), 1.0, normalization="none")
    record = ns.sleep(model, memory, stage)
    assert [change.layer for change in record.weight_changes] == ["into", "layers.out"]
    assert record.spikes["hidden1"] > 0
    assert [not torch.equal(a.module.weight, b) for a, b in zip(linear_stages(model), before, strict=True)] == [
        change.potentiated + change.depressed > 0 for change in record.weight_changes
    ]
    assert record.weight_changes[0].depressed > 0


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (
            lambda model: nn.Sequential(model.into, nn.ReLU(), linear(5, 3)),
            r"Leaky.spiking_chain\(\) has a linear layer at '2' that is no submodule of the model",
        ),
        (lambda model: [model.into], r"Leaky.spiking_chain must be a method that returns a module.* got list"),
        (lambda model: None, "got NoneType"),
        (
            lambda model: nn.Sequential(model.into, nn.Tanh(), model.layers["out"]),
            r"submodule 'spiking_chain\(\).1' \(Tanh\) is not supported",
        ),
        (
            lambda model: nn.Sequential(model.into, model.layers["out"]),
            r"submodule 'layers.out' \(Linear\) follows the linear layer 'into' with no ReLU",
        ),
        (lambda model: model.layers, "ModuleDict cannot be traced"),
        (lambda model: nn.Sequential(nn.ReLU()), "Sequential has no Linear layer|Leaky has no Linear layer"),
    ],
)
def test_wrong_chains_are_named(chain: Callable[[nn.Module], object], message: str) -> None:
    class Declaring(Leaky):
        def spiking_chain(self) -> object:
            return chain(self)

    Declaring.__name__ = "Leaky"
    with pytest.raises(ConversionError, match=message):
        linear_stages(Declaring())


def test_a_chain_may_be_the_one_layer_itself() -> None:
    class Single(Leaky):
        def spiking_chain(self) -> nn.Module:
            return nn.Sequential(nn.Sequential(self.into), nn.ReLU())

    assert [stage.name for stage in linear_stages(Single())] == ["into"]


@pytest.mark.parametrize("dropout", [nn.Dropout(0.2), ClassicDropout(0.2)])
def test_without_normalization_weights_act_as_they_are(dropout: nn.Module) -> None:
    model = nn.Sequential(linear(6, 4), nn.ReLU(), dropout, linear(4, 2))
    for scale in (1.0, 2.5):
        network = to_spiking(model, Calibration((3.0, 7.0)), normalization="none", gain_scale=scale, decay=1.0)
        for layer, module in zip(network.layers, (model[0], model[3]), strict=True):
            assert layer.gain == scale
            np.testing.assert_array_equal(layer.weights, module.weight.detach().numpy().T)
            np.testing.assert_array_equal(layer.bias, module.bias.detach().numpy() * np.float32(scale))
    assert [layer.gain for layer in to_spiking(model, X, normalization="none", decay=1.0).layers] == [1.0, 1.0]


def test_without_normalisation_a_silent_layer_converts() -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    silent = Calibration((0.0, 0.0))
    network = to_spiking(model, silent, normalization="none", gain_scale=3.0, decay=1.0)
    assert [layer.gain for layer in network.layers] == [3.0, 3.0]
    with pytest.raises(InputError, match="a silent layer"):
        to_spiking(model, silent, normalization="max", decay=1.0)
