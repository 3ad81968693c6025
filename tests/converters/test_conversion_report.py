"""The conversion report: what it counts, what it raises, and its figure."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from neurosleep.converters import ConversionError, to_spiking
from neurosleep.converters.graph.from_chain import as_graph
from neurosleep.converters.graph.layer_report import multiply_accumulates
from neurosleep.converters.graph.relu_graph import relu_graph
from neurosleep.converters.graph.report import VerificationError, conversion_report, verify
from neurosleep.converters.graph.to_graph import to_spiking_graph
from neurosleep.figures.conversion import draw, panel_steps
from neurosleep.sims.awake.graph import Population, Projection, SpikingGraph
from neurosleep.sims.awake.present import present
from neurosleep.sims.errors import InputError
from neurosleep.sims.operators import AveragePool, Convolution, Dense


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 12),
        nn.ReLU(),
        nn.Linear(12, 5),
    ).eval()
    with torch.no_grad():
        output = model[-1]
        output.bias -= model(inputs(200)).mean(0)  # so that answers differ among inputs
    return model


def inputs(n: int = 30, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def by_hand() -> tuple[nn.Module, SpikingGraph, torch.Tensor]:
    """Return four units of activations x, 2 x, x and 0, whose neurons are good, saturated, dead and silent."""
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [2.0], [1.0], [-1.0]]))
        model[2].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))
    into = Dense(np.array([[1.0, 2.0, 0.0, -1.0]]))  # the third neuron lost its weight
    out = Dense(model[2].weight.detach().numpy().T.astype(np.float64))
    graph = SpikingGraph(
        (1,),
        (
            Population("0", (4,), (Projection("input", (into,)),)),
            Population("2", (2,), (Projection("0", (out,)),), reset="none"),
        ),
        notes={"scales": {"0": 1.0, "2": 1.0}},
    )
    return model, graph, torch.tensor([[0.25], [0.75]])


def test_neurons_are_told_apart() -> None:
    report = conversion_report(*by_hand(), steps=40)
    hidden, output = report.layers
    assert (hidden.neurons, hidden.saturated, hidden.dead, hidden.silent) == (4, 1, 1, 1)
    assert (output.saturated, output.dead, output.silent, output.rate) == (None, None, None, None)
    rates = np.array([[0.25, 0.5, 0, 0], [0.75, 1, 0, 0]])
    activations = np.array([[0.25, 0.5, 0.25, 0], [0.75, 1.5, 0.75, 0]])
    assert hidden.rate == pytest.approx(rates.mean())
    assert hidden.error == pytest.approx(np.abs(rates - activations).mean())
    assert hidden.correlation == pytest.approx(np.corrcoef(rates.ravel(), activations.ravel())[0, 1])
    assert hidden.multiply_accumulates == 4
    assert output.multiply_accumulates == 8
    np.testing.assert_array_equal(
        sorted(hidden.pairs.T.tolist()), sorted(np.stack([activations, rates], -1).reshape(-1, 2).tolist())
    )


def test_a_neuron_is_not_dead_if_its_activation_asks_for_less_than_one_spike() -> None:
    model, graph, x = by_hand()
    report = conversion_report(model, graph, x / 100, steps=40)
    assert (report.layers[0].dead, report.layers[0].silent) == (0, 4)


@pytest.mark.parametrize("per", ["layer", "channel"])
@pytest.mark.parametrize("readout", ["potential", "spikes"])
def test_numbers_are_those_of_all_inputs_at_once(per: Any, readout: Any) -> None:
    model, x = network(), inputs()
    graph = to_spiking_graph(model, x, per=per, readout=readout)
    labels = np.arange(30) % 5
    report = conversion_report(model, graph, x, labels, steps=60, look_at=(10, 30), batch_size=7)
    shown = present(graph, x.numpy(), 60, look_at=(10, 30))
    activations = relu_graph(model, x).activations(x)
    for layer, population in zip(report.layers, graph.populations, strict=True):
        scale = np.asarray(graph.notes["scales"][layer.name])
        scale = scale.reshape(-1, *[1] * (len(population.shape) - 1)) if scale.ndim else scale
        fires = population.reset != "none"
        sent = shown.spike_counts[layer.name] if fires else shown.potentials[layer.name]
        a = np.maximum(activations[layer.name], 0) if fires else activations[layer.name]
        r = sent / 60 * scale
        assert layer.correlation == pytest.approx(np.corrcoef(a.ravel(), r.ravel())[0, 1], abs=1e-5)
        assert layer.error == pytest.approx(np.abs(a - r).mean(), rel=1e-4)
        if fires:
            assert layer.rate == pytest.approx(shown.spike_counts[layer.name].mean() / 60)
        assert layer.synaptic_operations == pytest.approx(shown.synaptic_operations[layer.name].mean())
    with torch.no_grad():
        trained = model(x).argmax(1).numpy()
    assert report.trained_accuracy == pytest.approx((trained == labels).mean())
    assert list(report.accuracies) == [10, 30, 60]
    for step, accuracy in report.accuracies.items():
        answer = shown.answers[step].argmax(1)
        assert accuracy == pytest.approx((answer == labels).mean())
        assert report.agreement[step] == pytest.approx((answer == trained).mean())
    assert report.loss == pytest.approx(100 * (report.trained_accuracy - report.accuracies[60]))


def test_rates_approach_activations_as_one_over_the_number_of_steps() -> None:
    model, x = network(), inputs(10)
    graph = to_spiking_graph(model, x, normalization="max")
    errors = [[layer.error for layer in conversion_report(model, graph, x, steps=n).layers] for n in (50, 800)]
    for early, late in zip(*errors, strict=True):
        assert early is not None
        assert late is not None
        assert late < early / 8  # 16 times as many steps


@pytest.mark.parametrize(
    "operators",
    [
        (Convolution(np.ones((4, 2, 3, 3)), (1, 1), (1, 1), (1, 1)),),
        (Convolution(np.ones((4, 1, 3, 2)), (2, 1), (2, 1), (1, 2), groups=2),),
        (Dense(np.ones((2 * 7 * 6, 3))),),
        (AveragePool((3, 2), (2, 2), (1, 0)), Dense(np.ones((2 * 4 * 3, 3)))),
        (),
    ],
)
def test_a_network_in_which_all_fire_costs_what_the_trained_one_does_in_each_step(operators: Any) -> None:
    projection = Projection("input", operators)
    graph = SpikingGraph((2, 7, 6), (Population("a", projection.target_shape((2, 7, 6)), (projection, projection)),))
    shown = present(graph, np.ones((1, 2, 7, 6)), 3)
    assert 3 * multiply_accumulates(graph)[0] == shown.synaptic_operations["a"][0]


def test_worst_layer_comes_first_and_all_is_written() -> None:
    model, x = network(), inputs()
    graph = to_spiking_graph(model, x)
    middle = graph.populations[1]
    damaged = replace(graph, populations=(graph.populations[0], replace(middle, threshold=4.0), graph.populations[2]))
    report = conversion_report(model, damaged, x, np.zeros(30, int), steps=50)
    rows = report.table()
    assert [row["name"] for row in rows][-1] == "0"
    correlations = [row["correlation"] for row in rows]
    assert correlations == sorted(correlations)
    text = str(report)
    for word in ("30 inputs, 50 steps of 1 ms", "after   50 steps: accuracy", "multiply-accumulates", "saturated"):
        assert word in text
    read = json.loads(json.dumps(report.to_dict()))
    assert read["layers"][0]["name"] == rows[0]["name"]
    assert read["accuracies"]["50"] == report.accuracies[50]
    assert "pairs" not in read["layers"][0]


def test_without_labels_only_agreement_is_known() -> None:
    model, x = network(), inputs()
    report = conversion_report(model, to_spiking_graph(model, x), x, steps=100)
    assert (report.trained_accuracy, report.loss, report.accuracies) == (None, None, {})
    assert list(report.agreement) == [5, 10, 20, 50, 100]
    assert report.agreement[100] > 0.8
    assert "accuracy" not in str(report)


def test_a_network_that_sleeps_has_no_scales_but_correlates() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.ReLU())
    x = torch.rand(20, 8)
    report = conversion_report(model, as_graph(to_spiking(model, x, normalization="max", decay=1.0)), x, steps=200)
    assert [layer.error for layer in report.layers] == [None, None]
    assert [layer.saturated for layer in report.layers] == [None, None]
    assert all(layer.correlation is not None and layer.correlation > 0.6 for layer in report.layers)


def test_progress_and_training_mode() -> None:
    model, x, done = network(), inputs(), list[int]()
    model.train()
    conversion_report(model, to_spiking_graph(model, x), x, steps=2, batch_size=12, on_progress=done.append)
    assert done == [12, 12, 6]
    assert all(module.training for module in model.modules())


def test_poisson_input_is_reproducible() -> None:
    model, x = network(), inputs()
    graph = to_spiking_graph(model, x)
    a, b, c = (conversion_report(model, graph, x, steps=20, coding="poisson", seed=s).to_dict() for s in (0, 0, 1))
    assert a == b
    assert a != c


def test_verify_returns_the_report_or_names_the_worst_layer() -> None:
    model, x = network(), inputs()
    graph = to_spiking_graph(model, x)
    with torch.no_grad():
        labels = model(x).argmax(1)
    assert verify(model, graph, x, labels, steps=400, max_loss=5, min_correlation=0.98).steps == 400
    assert len(labels.unique()) > 2
    with pytest.raises(VerificationError, match=r"correctly after 2 steps, .* at most 0.5 may be lost; worst layer '"):
        verify(model, graph, x, labels, steps=2, max_loss=0.5)
    with pytest.raises(VerificationError, match=r"at least 0.9999999 in every layer after 20 steps; worst layer '\d'"):
        verify(model, graph, x, steps=20, min_correlation=0.9999999)
    assert issubclass(VerificationError, ConversionError)
    with pytest.raises(InputError, match="max_loss with labels"):
        verify(model, graph, x, max_loss=1)
    with pytest.raises(InputError, match="max_loss with labels"):
        verify(model, graph, x)


def test_a_layer_that_never_fires_fails_verification() -> None:
    model, graph, x = by_hand()
    silent = replace(graph.populations[0], threshold=1000.0)
    with pytest.raises(VerificationError, match=r"worst layer '\d': correlation 0.0000"):
        verify(model, replace(graph, populations=(silent, graph.populations[1])), x, steps=5, min_correlation=0.1)


def test_what_does_not_fit_is_refused() -> None:
    model, x = network(), inputs()
    graph = to_spiking_graph(model, x)
    with pytest.raises(InputError, match=r"labels must be \(30,\) whole numbers, got int64 of shape \(29,\)"):
        conversion_report(model, graph, x, np.zeros(29, int))
    with pytest.raises(InputError, match="whole numbers, got float32"):
        conversion_report(model, graph, x, torch.zeros(30))
    with pytest.raises(InputError, match="not finite"):
        conversion_report(model, graph, x * torch.nan)
    other, _, one = by_hand()
    with pytest.raises(InputError, match=r"is the graph made from this model\?"):
        conversion_report(other, graph, one)
    for batch_size in (0, 10**30, 1.5, "all"):
        with pytest.raises(InputError, match="batch_size must be"):
            conversion_report(model, graph, x, batch_size=batch_size)


def test_figure(tmp_path: Path) -> None:
    model, x = network(), inputs()
    graph = to_spiking_graph(model, x)
    with_labels = conversion_report(model, graph, x, np.arange(30) % 5, steps=20)
    without = conversion_report(model, graph, x, steps=20)
    for report, name in ((with_labels, "labels.png"), (without, "none.svg")):
        assert draw(report, tmp_path / name).stat().st_size > 10_000
    axes = Figure().subplots()
    panel_steps(axes, with_labels)
    spiking, trained = axes.get_lines()
    np.testing.assert_allclose(spiking.get_xydata(), [(s, 100 * v) for s, v in with_labels.accuracies.items()])
    assert with_labels.trained_accuracy is not None
    np.testing.assert_allclose(trained.get_ydata(), 100 * with_labels.trained_accuracy)


def test_neurons_of_a_graph_without_scales_are_dead_if_they_should_answer_at_all() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.5], [-0.5]]))
        model[0].bias.zero_()
    graph = to_spiking_graph(model, np.ones((2, 1), dtype=np.float32))
    never = replace(graph.populations[0], threshold=1e9)
    graph = replace(graph, populations=(never, *graph.populations[1:]), notes={})
    report = conversion_report(model, graph, np.ones((3, 1), dtype=np.float32), steps=5)
    layer = next(x for x in report.layers if x.name == "0")
    assert (layer.dead, layer.silent, layer.saturated) == (1, 1, None)
