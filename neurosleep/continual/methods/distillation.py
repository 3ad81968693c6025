"""Knowledge distillation: the network as it was teaches the network as it is."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


def frozen_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a network as it is now, with dropout off, that nothing changes."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def distillation(
    outputs: torch.Tensor, old_outputs: torch.Tensor, classes: Sequence[int], temperature: float
) -> torch.Tensor:
    r"""Return how far the new outputs are from the old ones over some classes.

    .. math:: T^2 \sum_c q_c \log (q_c / p_c), \quad q = \mathrm{softmax}(z^{old} / T),\ p = \mathrm{softmax}(z / T)

    averaged over inputs, where both softmaxes run over `classes` only. Hinton et al. 2015 (arXiv 1503.02531), who also
    give the factor :math:`T^2`: it keeps the size of the gradient the same at every temperature. Up to a constant this
    is the cross-entropy of the soft labels, and 0 for equal outputs.

    Parameters
    ----------
    outputs, old_outputs
        (n, n_classes) values of the last layer.
    classes
        Over which the two are compared.
    temperature
        T; 1 compares plain probabilities, larger values tell more of the small ones.
    """
    columns = torch.tensor(list(classes), device=outputs.device)
    new = functional.log_softmax(outputs[:, columns] / temperature, dim=1)
    old = functional.log_softmax(old_outputs[:, columns] / temperature, dim=1)
    return temperature**2 * functional.kl_div(new, old, reduction="batchmean", log_target=True)
