"""What is minimised: one value for each input, so that current and replayed inputs can be weighted and added.

(Robinson et al. 2022, arXiv 2209.05245, Methods; van de Ven et al. 2020, Nature Communications 11:4069, Methods.)
"""

import torch
from torch.nn import functional


def reconstruction(features: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Return half the mean squared error over an input's features, (n,), for two (n, features)."""
    return (features - decoded).square().mean(1) / 2


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of the latent Gaussians from the standard normal, (n,), in nats.

    ``sum over latents of (mean**2 + exp(log_variance) - 1 - log_variance) / 2`` for two (n, latents).
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def divergence_from_classes(
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    prior_mean: torch.Tensor,
    prior_log_variance: torch.Tensor,
    shares: torch.Tensor,
) -> torch.Tensor:
    """Return the divergence from each class's Gaussian, averaged over the classes by their shares, (n,), in nats.

    For an input of one class this is the divergence from that class's Gaussian in closed form. (Van de Ven et al. 2020
    estimate it by sampling, and for uncertain classes take the divergence from the mixture of the Gaussians, of which
    this average is an upper bound.) It is always computed in the precision of what comes in: it is a difference of
    large numbers, so that products in bfloat16 under autocast would spoil it.

    Parameters
    ----------
    mean, log_variance
        (n, latents) of the inputs.
    prior_mean, prior_log_variance
        (classes, latents).
    shares
        (n, classes), each row adding up to 1.
    """
    with torch.autocast(mean.device.type, enabled=False):
        precision = (-prior_log_variance).exp()
        constant = (prior_mean.square() * precision + prior_log_variance).sum(1)  # (classes,)
        quadratic = (mean.square() + log_variance.exp()) @ precision.T - 2 * mean @ (prior_mean * precision).T
        latents = mean.shape[1]
        return ((shares * (quadratic + constant)).sum(1) - latents - log_variance.sum(1)) / 2


def classification(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy with the right class, (n,), for outputs (n, classes) and class indices (n,)."""
    return functional.cross_entropy(outputs, targets, reduction="none")


def distillation(outputs: torch.Tensor, probabilities: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    """Return the cross-entropy with a teacher's probabilities, both at a temperature, times its square, (n,).

    Parameters
    ----------
    outputs
        (n, classes) before softmax.
    probabilities
        (n, classes) of the teacher, at the same temperature; 0 for classes that it does not know.
    """
    logarithms = functional.log_softmax(outputs / temperature, 1)
    return -(probabilities * logarithms).sum(1) * temperature**2
