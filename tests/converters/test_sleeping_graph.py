"""Any feed-forward network falls asleep as a graph: it computes the same, with weights that are its own."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import neurosleep as ns
from neurosleep.converters import ConversionError, write_back
from neurosleep.converters.batches import Batches
from neurosleep.converters.graph.fan_out import fan_outs
from neurosleep.converters.input_coding import InputCoding
from neurosleep.converters.reading import Reading, read
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import SpikingNetwork
from neurosleep.sims.operators import Floats, Gather, MaxPool, Scale
from neurosleep.sims.passing import linear, of_largest
from neurosleep.sims.plastic_graph import INPUT, Pathway, PlasticGraph
from tests.networks.feedforward import NETWORKS, SHAPE, Applied, Random, trained

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
RANDOM = torch.Generator().manual_seed(21)
IMAGES = torch.rand(12, *SHAPE, dtype=torch.float64, generator=RANDOM)
RULE = ns.GatedHebbian(inc=0.02, dec=0.01)
NIGHT = ns.SpontaneousReplay(
    30, ns.MeanRate(300.0), RULE, normalization="max", thresholds=0.6, decay=1.0, inhibition=0.0
)


def passed(pathway: Pathway, network: PlasticGraph, values: Floats) -> Floats:
    for operator in pathway.before:
        values = of_largest(operator, values) if isinstance(operator, MaxPool) else linear(operator, values)
    if pathway.weights is not None:
        values = linear(pathway.operator(network.by_name[pathway.weights].values), values)
    values = values * pathway.gain.reshape(pathway.gain.shape + (1,) * (values.ndim - 2) * pathway.gain.ndim)
    for operator in pathway.after:
        values = linear(operator, values)
    return values


def rates_of(network: PlasticGraph, rates: Floats) -> dict[str, Floats]:
    """Return what a network of analogue neurons answers: its impulses, rectified and at most one spike a step."""
    sent = {INPUT: rates}
    for layer in network.layers:
        total = (
            np.zeros((len(rates), *layer.shape))
            if layer.bias is None
            else np.tile(layer.bias, (len(rates), *[1] * len(layer.shape)))
        )
        for pathway in layer.pathways:
            total = total + passed(pathway, network, sent[pathway.source]).reshape(total.shape)
        sent[layer.name] = total if layer is network.layers[-1] else np.clip(total, 0, 1 + 1e-9)
    return sent


def fallen_asleep(
    model: nn.Module, coding: InputCoding | None = None, plastic: list[str] | None = None
) -> tuple[Reading, ns.Memory, PlasticGraph]:
    coding = coding or InputCoding()
    reading = read(model, SHAPE, coding)
    calibration = reading.scales(Batches(IMAGES).through(reading.inputs))
    network = reading.network(calibration, normalization="max", decay=1.0, plastic=plastic, coding=coding)
    assert isinstance(network, PlasticGraph)
    return reading, calibration, network


def check_function(model: nn.Module, coding: InputCoding | None = None) -> PlasticGraph:
    """Check that what sleeps computes what the module does, in units of its scales."""
    _, calibration, network = fallen_asleep(model, coding)
    rates = (coding or InputCoding()).rates(IMAGES).numpy()
    answer = rates_of(network, rates)[network.layers[-1].name] * calibration.scales[-1]
    with torch.no_grad():
        right = model(IMAGES).numpy()
    np.testing.assert_allclose(answer.reshape(right.shape), right, rtol=0, atol=1e-8 * np.abs(right).max())
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_what_sleeps_computes_what_its_module_does(name: str) -> None:
    model = trained(NETWORKS[name])
    network = check_function(model)
    for weights in network.parameters:  # the module's own numbers
        path = weights.name.partition("[")[0]
        own = model.get_submodule(path).weight.detach().numpy()
        assert np.isin(weights.values, own).all()


@pytest.mark.parametrize("kind", ["shifted", "on-off", "rectified"])
def test_coded_inputs_come_back_exactly(kind: str) -> None:
    coding = InputCoding(kind).measured(np.zeros(1), np.ones(1))  # type: ignore[arg-type]  # one of them
    for name in ("resnet", "even_same"):
        check_function(trained(NETWORKS[name]), coding)


@pytest.mark.parametrize("seed", [k for k in range(32) if k not in (25, 28, 29)])  # a unit of these is silent
def test_random_networks_compute_the_same_and_take_their_own_weights_back(seed: int) -> None:
    model = trained(lambda: Random(seed), seed)
    network = check_function(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reading = read(model, SHAPE)
    reading.write(dict(zip(network.weight_names, network.weights, strict=True)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    reading.write({each.name: each.values + 1 for each in network.parameters})
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{each.name.partition('[')[0]}.weight" for each in network.parameters}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_night_changes_plastic_weights_alone(name: str) -> None:
    model = trained(NETWORKS[name])
    memory = ns.Memory()
    memory.observe(model, IMAGES)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ns.sleep(
        model,
        memory,
        ns.SpontaneousReplay(0, ns.MeanRate(300.0), RULE, normalization="max", thresholds=1.0),
        backend="reference",
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    record = ns.sleep(model, memory, NIGHT, backend="reference")
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    told = {
        each.layer.partition("[")[0] + ".weight" for each in record.weight_changes if each.potentiated or each.depressed
    }
    assert changed == told
    assert len(changed) > 1
    assert 0 < record.spikes["input"] < record.synaptic_operations


def test_batch_norm_folded_by_hand_gives_the_same_spikes() -> None:
    model = trained(NETWORKS["vgg"])
    folded = nn.Sequential(fuse_conv_bn_eval(model[0], model[1]), nn.Identity(), *model[2:])
    counts = []
    for each in (model, folded):
        memory = ns.Memory()
        memory.observe(each, IMAGES)
        member = ns.Member.of(
            each,
            memory,
            ns.SpontaneousReplay(60, ns.MeanRate(300.0), None, normalization="max", thresholds=0.6),
            seed=3,
        )
        counts.append(ns.simulate_ensemble([member], 60, backend="reference")[0].spike_counts)
    for mine, theirs in zip(*counts, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert all(each.any() for each in counts[0])


def test_weights_of_float32_networks_are_their_own_to_the_bit() -> None:
    model = trained(NETWORKS["resnet"]).float()
    reading = read(model, SHAPE)
    network = reading.network(
        reading.scales(Batches(IMAGES).through(reading.inputs)), normalization="diehl", decay=1.0, plastic=["0", "7"]
    )
    assert [each.name for each in network.parameters if each.plastic] == ["0", "7"]  # type: ignore[attr-defined]
    for name, values in zip(network.weight_names, network.weights, strict=True):
        own = model.get_submodule(name).weight.detach().numpy()
        np.testing.assert_array_equal(values, own.T if own.ndim == 2 else own)
        assert values.dtype == np.float32


def test_joined_values_have_parts_of_the_weights_and_padding_has_no_synapses() -> None:
    network = fallen_asleep(trained(NETWORKS["squeezenet"]))[2]
    assert {x.name: x.values.shape for x in network.parameters if "last" in x.name or "out" in x.name} == {
        "last[0:3]": (2, 3, 1, 1),
        "last[3:6]": (2, 3, 1, 1),
        "out[0:2]": (3, 2, 1, 1),
        "out[2:5]": (3, 3, 1, 1),
        "out[5:8]": (3, 3, 1, 1),
    }
    pathways = [pathway for layer in network.layers for pathway in layer.pathways]
    assert not any(isinstance(o, Gather) for p in pathways if p.weights and p.weights != "squeeze" for o in p.before)
    even = fallen_asleep(trained(NETWORKS["even_same"]))[2]
    assert not any(isinstance(o, Gather) for layer in even.layers for p in layer.pathways for o in p.before)
    counts = fan_outs(even)["input"].reshape(SHAPE)
    assert counts[0].tolist() == (4 * np.outer([1, 2, 2, 2, 2, 2], [1, 2, 2, 2, 2, 2])).tolist()


def test_shared_weights_are_one_array_and_weights_in_a_row_leave_the_last() -> None:
    model = trained(NETWORKS["shared"])
    network = fallen_asleep(model)[2]
    assert network.weight_names == ["stem", "conv", "fc"]
    assert [[p.weights for p in layer.pathways] for layer in network.layers] == [["stem"], ["conv"], ["conv"], ["fc"]]
    mobile = trained(NETWORKS["mobilenet"])
    reading, _, network = fallen_asleep(mobile)
    assert set(reading.parameters) - set(network.weight_names) == {"block.6"}
    with pytest.raises(InputError, match=r"plastic names 'block.6', which no ReLU follows before the next layer"):
        reading.plastic(["block.6"])
    tied = Applied(
        lambda m, x: m.c(m.b(m.a(x).relu()).relu() + x),
        a=nn.Conv2d(3, 3, 1),
        b=nn.Conv2d(3, 3, 1),
        c=nn.Conv2d(3, 3, 1),
    )
    tied.b.weight = tied.a.weight
    assert fallen_asleep(tied.double())[2].weight_names == ["a", "c"]


def test_signs_and_factors_are_found_in_gains() -> None:
    model = trained(NETWORKS["slopes"])
    layers = {layer.name: layer for layer in fallen_asleep(model)[2].layers}
    above, below = layers["0"].pathways[0], layers["0#below"].pathways[0]
    ratio = above.gain / below.gain
    assert ratio[0] < 0
    np.testing.assert_allclose(ratio, ratio[0])
    assert above.gain.shape == (4,)
    assert [pathway.gain.ndim for pathway in layers["3"].pathways] == [0, 0]
    assert [float(np.sign(pathway.gain)) for pathway in layers["3"].pathways] == [1.0, -1.0]
    assert not any(isinstance(o, Scale) for pathway in layers["3"].pathways for o in pathway.before)
    dense = fallen_asleep(trained(NETWORKS["densenet"]))[2]
    joined = {layer.name: layer for layer in dense.layers}["stem#2"]
    assert [pathway.gain.shape for pathway in joined.pathways] == [(4,), (2,)]


def test_ceilings_are_the_largest_scales() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Hardtanh(0.0, 0.01), nn.Flatten(), nn.Linear(32, 3)).double()
    with torch.no_grad():
        model[3].bias.add_(2)
    reading = read(model, SHAPE)
    calibration = reading.scales(Batches(IMAGES).through(reading.inputs))
    assert calibration.scales[0] == 0.01
    for normalization in ("max", "diehl", "released"):
        network = reading.network(calibration, normalization=normalization, decay=1.0)
        np.testing.assert_allclose(network.layers[0].pathways[0].gain, 1 / 0.01)
    assert reading.network(calibration, normalization="none", decay=1.0).layers[0].pathways[0].gain == 1


def test_maximum_pooling_by_option() -> None:
    reading, calibration, network = fallen_asleep(trained(NETWORKS["vgg"]))
    pools = [o for layer in network.layers for p in layer.pathways for o in p.before if isinstance(o, MaxPool)]
    assert [pool.rule for pool in pools] == ["any", "any"]
    settings = {"normalization": "max", "decay": 1.0}
    winner = reading.network(calibration, max_pool="winner", **settings)
    assert winner.layers[1].pathways[0].before[0].rule == "winner"
    with pytest.raises(ConversionError, match=r"'4', '8' gets what maximum pooling sends.*max_pool='refuse'"):
        reading.network(calibration, max_pool="refuse", **settings)
    with pytest.raises(InputError, match="max_pool"):
        reading.network(calibration, max_pool="all", **settings)


def test_a_chain_stays_a_chain_unless_its_inputs_need_a_graph() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    assert type(read(model, (4,))).__name__ == "Chain"
    assert type(read(model, (4,), InputCoding("on-off"))).__name__ == "Graph"
    memory = ns.Memory()
    memory.observe(model, torch.rand(5, 4))
    asleep = ns.Member.of(model, memory, ns.SpontaneousReplay(1, ns.MeanRate(10.0), None, thresholds=1.0))
    assert isinstance(asleep.network, SpikingNetwork)


def conv() -> nn.Module:
    return nn.Conv2d(3, 3, 3, padding=1)


class Transposed(nn.Module):
    def __init__(self, apart: bool = False) -> None:
        super().__init__()
        self.apart = apart
        self.first, self.bias = nn.Linear(8, 4), nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x.flatten(1)[:, :8]).relu()
        weight = self.first.weight.detach() if self.apart else self.first.weight
        return nn.functional.linear(y, weight.t(), self.bias)


def infinite() -> nn.Module:
    model = NETWORKS["resnet"]()
    with torch.no_grad():
        model[3].conv2.weight[0, 0, 0, 0] = float("nan")
    return model


def masked() -> nn.Module:
    model = NETWORKS["resnet"]()
    nn.utils.parametrizations.weight_norm(model[3].conv1)
    return model


REFUSED = {
    "operator": (lambda: nn.Sequential(conv(), nn.GELU(), conv()), r"'1' \(GELU\) is not supported: .*train with ReLU"),
    "multiplied": (
        lambda: Applied(lambda m, x: m.a(x) * m.b(x), a=conv(), b=conv()),
        "multiplies or divides by a value",
    ),
    "transposed kernels": (lambda: nn.Sequential(conv(), nn.ConvTranspose2d(3, 3, 3)), r"\(ConvTranspose2d\) is not"),
    "transposed": (Transposed, "computes its weight from .*nothing could be written back"),
    "transposed apart": (lambda: Transposed(True), "computes its weight from a part or the transpose of 'first'"),
    "weight norm": (masked, r"'3.conv1' .* computes its weight from others \(pruning or weight norm\)"),
    "NaN": (infinite, r"'3.conv2' \(Conv2d\): 1 of 144 numbers in its weights are NaN"),
    "constants": (
        lambda: Applied(lambda m, x: nn.functional.conv2d(x, torch.ones(2, 3, 3, 3)).relu() + 1),
        "no weights of its own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_sleep_is_told_in_one_line(case: str) -> None:
    make, message = REFUSED[case]
    model = make()
    with pytest.raises(ConversionError, match=message) as caught:
        fallen_asleep(model)
    assert "\n" not in str(caught.value)


def test_frozen_weights_stay_and_a_frozen_network_does_not_sleep() -> None:
    model = trained(NETWORKS["resnet"])
    memory = ns.Memory()
    memory.observe(model, IMAGES)
    for parameter in model[:4].parameters():
        parameter.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ns.sleep(model, memory, NIGHT, backend="reference")
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"4.conv1.weight", "4.conv2.weight", "4.shortcut.0.weight", "7.weight"}
    with pytest.raises(InputError, match=r"plastic names '0', whose weights are frozen"):
        read(model, SHAPE).plastic(["0"])
    with pytest.raises(InputError, match=r"plastic must name layers among '0', '3.conv1'"):
        read(model, SHAPE).plastic(["elsewhere"])
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(InputError, match="sleep could change no layer"):
        ns.sleep(model, memory, NIGHT, backend="reference")


def test_writing_is_all_or_nothing() -> None:
    model = trained(NETWORKS["squeezenet"]).float()
    reading = read(model, SHAPE)
    weights = fallen_asleep(model)[2].by_name
    before = {key: value.clone() for key, value in model.state_dict().items()}
    new = {name: each.values + 1 for name, each in weights.items()}
    for wrong, message in (
        (new | {"out[2:5]": np.full((3, 3, 1, 1), np.inf, np.float32)}, "not all finite"),
        (new | {"out[2:5]": np.ones((3, 2, 1, 1))}, "does not fit"),
    ):
        with pytest.raises(ConversionError, match=message):
            reading.write(wrong)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("coding", ["rates", "on-off"])
def test_weights_of_a_night_by_hand_are_written_back(coding: str) -> None:
    model, other = trained(NETWORKS["squeezenet"]), trained(NETWORKS["squeezenet"])
    memory = ns.Memory(coding=coding)
    memory.observe(model, IMAGES)
    simulation = ns.simulate_ensemble([ns.Member.of(model, memory, NIGHT)], NIGHT.steps, backend="reference")[0]
    write_back(simulation.network, other)
    ns.sleep(model, memory, NIGHT, backend="reference")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
    with pytest.raises(ConversionError, match="the model has no weights 'stem'"):
        write_back(simulation.network, trained(NETWORKS["resnet"]))


def test_downscaling_needs_no_shape_and_a_memory_of_another_network_is_refused() -> None:
    model = trained(NETWORKS["resnet"])
    record = ns.sleep(model, None, ns.MagnitudePruning(0.5))
    assert [each.layer for each in record.weight_changes][:2] == ["0", "3.conv1"]
    memory = ns.Memory()
    memory.observe(model, IMAGES)
    other = read(trained(NETWORKS["vgg"]), SHAPE)
    with pytest.raises(InputError, match=r"the calibration is of 0, 3.conv1.*but the network has the units 0, 4"):
        other.network(memory.calibration, normalization="max", decay=1.0)
    with pytest.raises(InputError, match="percentile"):
        read(model, SHAPE).network(memory.calibration, normalization="percentile", decay=1.0)
