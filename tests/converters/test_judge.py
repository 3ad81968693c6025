"""What an output means, and that a ruined network of each kind does not pass."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurosleep.converters.graph.judge import Comparison, Judge, judge
from neurosleep.converters.graph.report import VerificationError, conversion_report, verify
from neurosleep.converters.graph.to_graph import to_spiking_graph
from neurosleep.figures.conversion import draw
from neurosleep.sims.awake.present import present
from neurosleep.sims.errors import InputError


@pytest.mark.parametrize(
    ("shape", "inputs", "labels", "kind"),
    [
        ((10,), (784,), np.array([0, 9]), "classes"),
        ((10,), (784,), None, "classes"),
        ((3, 2, 2), (1, 2, 2), np.zeros((2, 2, 2), int), "classes"),
        ((1,), (4,), np.array([0, 1]), "sign"),
        ((1,), (4,), np.array([0.0, 1.0]), "sign"),
        ((1,), (4,), np.array([True, False]), "sign"),
        ((1,), (4,), np.array([[0], [1]]), "sign"),
        ((1, 2, 2), (3, 2, 2), np.ones((2, 2, 2), np.uint8), "sign"),
        ((1,), (4,), np.array([0.5, 1.0]), "values"),
        ((1,), (4,), None, "values"),
        ((5,), (4,), np.full((2, 5), 0.5), "values"),
        ((784,), (1, 28, 28), None, "values"),
        ((1, 28, 28), (1, 28, 28), None, "values"),
    ],
)
def test_the_kind_of_an_output(shape: Any, inputs: Any, labels: Any, kind: str) -> None:
    assert judge(shape, inputs, labels, 2).kind == kind


@pytest.mark.parametrize(
    ("shape", "labels", "kind", "says"),
    [
        ((10,), np.array([0, 10]), None, "from 0 to 9, as the network has 10 outputs, got 10"),
        ((10,), np.array([-1, 1]), None, "got -1; number the classes from 0"),
        ((2, 3, 3), np.full((2, 3, 3), 255), None, "from 0 to 1, .* got 255"),
        ((2, 3, 3), np.zeros(2, int), None, r"\(2, 3, 3\) whole numbers"),
        ((4,), np.eye(4, dtype=int)[:2], None, "of one-hot labels give labels.argmax"),
        ((1,), np.array([-1, 1]), None, "must be 0 or 1 .* got -1"),
        ((1,), np.array([0, 7]), None, "output='values'"),
        ((4,), np.array([0.5, np.nan]), None, "whole numbers, got float64"),
        ((1,), np.array([0.5, np.nan]), None, "finite"),
        ((4,), np.array(["a", "b"]), None, "numbers"),
        ((4,), None, "argmax", "classes, sign, values"),
    ],
)
def test_labels_outside_the_outputs_are_refused(shape: Any, labels: Any, kind: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        judge(shape, (3,), labels, 2, kind)


def test_numbers_by_hand() -> None:
    trained = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    one = Comparison(Judge("values", None))
    for part in (slice(0, 2), slice(2, 3)):
        one.add(trained[part], trained[part] + [1.0, -10.0])
    assert one.correlation == pytest.approx(1)
    assert one.error == pytest.approx(np.sqrt(3 * 101 / 202))
    assert one.score == pytest.approx(1 - 303 / 202)
    sign = Comparison(Judge("sign", np.array([[1], [0], [0]])))
    sign.add(np.array([[2.0], [-1.0], [3.0]]), np.array([[2.0], [0.0], [-3.0]]))
    assert (sign.accuracy, sign.agreement) == (1.0, pytest.approx(2 / 3))
    flat = Comparison(Judge("values", None))
    flat.add(np.ones((3, 1)), np.zeros((3, 1)))
    assert (flat.correlation, flat.error) == (0.0, 1.0)


def trained(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def logit() -> tuple[nn.Sequential, torch.Tensor, Any]:
    model = trained(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 1))
    x = torch.rand(60, 6)
    with torch.no_grad():
        model[-1].bias -= model(x).median()
        return model, x, (model(x)[:, 0] > 0).long()


def regression() -> tuple[nn.Sequential, torch.Tensor, Any]:
    model, x, _ = logit()
    with torch.no_grad():
        return model, x, model(x)[:, 0]


def autoencoder() -> tuple[nn.Sequential, torch.Tensor, Any]:
    return trained(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 6)), torch.rand(60, 6), None


def segmentation() -> tuple[nn.Sequential, torch.Tensor, Any]:
    model = trained(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 1))
    x = torch.rand(20, 1, 5, 5)
    with torch.no_grad():
        model[-1].bias -= model(x).mean((0, 2, 3))
        return model, x, model(x).argmax(1)


@pytest.mark.parametrize("case", [logit, regression, autoencoder, segmentation])
def test_a_good_network_passes_and_a_ruined_one_does_not(case: Any) -> None:
    model, x, labels = case()
    graph = to_spiking_graph(model, x, normalization="max")
    report = verify(model, graph, x, labels, steps=200, max_loss=5)
    assert list(report.ladder) == ["trained", "normalised", "spiking"]
    assert report.ladder["trained"] == 1
    assert report.ladder["normalised"] == pytest.approx(1, abs=1e-6)
    silent = replace(graph.populations[0], threshold=1e6)
    ruined = replace(graph, populations=(silent, *graph.populations[1:]))
    with pytest.raises(VerificationError, match="points less"):
        verify(model, ruined, x, labels, steps=200, max_loss=5)


@pytest.mark.parametrize("case", [logit, regression, autoencoder])
def test_a_shifted_output_is_another_network(case: Any) -> None:
    model, x, labels = case()
    graph = to_spiking_graph(model, x, normalization="max")
    output = graph.populations[-1]
    assert output.bias is not None
    shifted = replace(graph, populations=(*graph.populations[:-1], replace(output, bias=output.bias - 100)))
    with pytest.raises(VerificationError):
        verify(model, shifted, x, labels, steps=100, max_loss=0.5)
    with pytest.raises(VerificationError):
        verify(model, shifted, x, labels, steps=100, min_correlation=0.9)


def test_one_logit_is_judged_by_its_sign() -> None:
    model, x, labels = logit()
    graph = to_spiking_graph(model, x)
    report = conversion_report(model, graph, x, labels, steps=50, look_at=(3,))
    shown = present(graph, x.numpy(), 50, look_at=(3,)).answers
    assert report.trained_accuracy == 1.0
    for step in (3, 50):
        assert report.accuracies[step] == ((shown[step][:, 0] > 0) == labels.numpy().astype(bool)).mean()
    assert report.accuracies[3] < 1
    with torch.no_grad():
        model[-1].bias -= 100  # the graph is still that of the network before
    with pytest.raises(VerificationError, match=r"points more .* is the graph made from this network"):
        verify(model, graph, x, labels, steps=50, max_loss=0.5)


def test_every_position_of_a_segmentation_counts() -> None:
    model, x, labels = segmentation()
    graph = to_spiking_graph(model, x)
    report = conversion_report(model, graph, x, labels, steps=30, batch_size=7)
    answers = present(graph, x.numpy(), 30).answers[30].reshape(20, 3, 5, 5).argmax(1)
    assert report.accuracies[30] == pytest.approx((answers == labels.numpy()).mean())
    assert report.output == "classes"


def test_values_are_said_and_drawn(tmp_path: Any) -> None:
    model, x, _ = autoencoder()
    report = conversion_report(model, to_spiking_graph(model, x), x, steps=20)
    assert (report.agreement, report.accuracies, report.trained_accuracy) == ({}, {}, None)
    assert "variance explained: trained 100.00 %" in str(report)
    assert "same answer" not in str(report)
    assert report.to_dict()["output"] == "values"
    assert draw(report, tmp_path / "values.png").stat().st_size > 10_000


def test_pooling_that_was_replaced_is_a_rung() -> None:
    model = trained(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    x = torch.rand(30, 1, 6, 6)
    with torch.no_grad():
        labels = model(x).argmax(1)
    report = conversion_report(model, to_spiking_graph(model, x, max_pool="average"), x, labels, steps=30)
    assert list(report.ladder) == ["trained", "pooling replaced", "normalised", "spiking"]
    assert report.ladder["pooling replaced"] < 1
