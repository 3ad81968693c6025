"""Losses of tripartite sleep against cases worked by hand, in float64."""

import math

import pytest
import torch

from neurosleep.tripartite import losses

LN2 = math.log(2)


def values(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_reconstruction_is_half_the_mean_squared_error_of_an_input():
    # (1 + 9) / 2 features / 2 = 2.5; (4 + 0) / 2 / 2 = 1
    error = losses.reconstruction(values([1, 2], [0, 0]), values([0, -1], [2, 0]))
    assert error.tolist() == [2.5, 1.0]


def test_divergence_from_the_standard_normal():
    # mean 2, variance 1: 4/2 = 2; mean 0, variance 4: (4 - 1 - ln 4) / 2, and summed over latents
    result = losses.divergence(values([2, 0]), values([0, math.log(4)]))
    assert result.tolist() == pytest.approx([2 + (3 - 2 * LN2) / 2], abs=1e-15)


def test_divergence_from_a_class():
    # N(1, 4) from N(3, 2): (ln(2/4) + (4 + (1-3)**2)/2 - 1)/2 = (-ln 2 + 3)/2; from N(1, 4) itself: 0
    mean, log_variance = values([1], [1]), values([math.log(4)], [math.log(4)])
    prior_mean, prior_log_variance = values([3], [1]), values([LN2], [math.log(4)])
    shares = values([1, 0], [0, 1])
    result = losses.divergence_from_classes(mean, log_variance, prior_mean, prior_log_variance, shares)
    assert result.tolist() == pytest.approx([(3 - LN2) / 2, 0.0], abs=1e-15)


def test_divergence_from_classes_agrees_with_torch_and_with_the_standard_normal():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    mean, log_variance, prior_mean, prior_log_variance = draw(3, 4), draw(3, 4), draw(2, 4), draw(2, 4)
    normal = torch.distributions.Normal
    expected = [
        torch.distributions.kl_divergence(
            normal(mean[i], (log_variance[i] / 2).exp()), normal(prior_mean[c], (prior_log_variance[c] / 2).exp())
        ).sum()
        for i, c in ((0, 0), (1, 1), (2, 0))
    ]
    shares = values([1, 0], [0, 1], [1, 0])
    result = losses.divergence_from_classes(mean, log_variance, prior_mean, prior_log_variance, shares)
    torch.testing.assert_close(result, torch.stack(expected))
    flat = torch.zeros(1, 4, dtype=torch.float64)
    plain = losses.divergence_from_classes(mean, log_variance, flat, flat, torch.ones(3, 1, dtype=torch.float64))
    torch.testing.assert_close(plain, losses.divergence(mean, log_variance))


def test_divergence_from_classes_keeps_its_precision_under_autocast():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 4, generator=generator).unbind()
    prior = torch.randn(2, 3, 4, generator=generator).unbind()
    shares = torch.eye(3)[[0, 1, 2, 0, 1]]
    given = (mean, log_variance, *prior, shares)
    exact = losses.divergence_from_classes(*(values.double() for values in given))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(losses.divergence_from_classes(*given).double(), exact, rtol=1e-5, atol=1e-5)


def test_classification_is_minus_the_logarithm_of_the_right_class():
    # softmax of (ln 3, 0) is (3/4, 1/4)
    result = losses.classification(values([math.log(3), 0]), torch.tensor([1]))
    assert result.tolist() == pytest.approx([math.log(4)], abs=1e-15)


def test_distillation_at_temperature_two():
    # outputs / 2 = (ln 3, 0): softmax (3/4, 1/4); teacher (1/2, 1/2): -(ln(3/4) + ln(1/4))/2 = ln 4 - ln(3)/2; times 4
    result = losses.distillation(values([2 * math.log(3), 0]), values([0.5, 0.5]), 2.0)
    assert result.tolist() == pytest.approx([4 * (2 * LN2 - math.log(3) / 2)], abs=1e-14)


def test_distillation_pushes_down_classes_that_the_teacher_does_not_know():
    outputs = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    losses.distillation(outputs, values([0.5, 0.5, 0.0])).sum().backward()
    # gradient is T * (softmax - teacher): 2 * (1/3 - 1/2, 1/3 - 1/2, 1/3)
    assert outputs.grad[0].tolist() == pytest.approx([-1 / 3, -1 / 3, 2 / 3], abs=1e-15)
