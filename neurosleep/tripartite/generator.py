"""What dreams: the network as it was before the present task."""

import copy
from dataclasses import dataclass

import torch
from torch.nn import functional

from neurosleep.sims.errors import InputError
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.stages import REM


@dataclass(frozen=True, eq=False)
class Dreams:
    """Generated inputs with what they are taken for.

    Attributes
    ----------
    features
        (n, features), standardised as the network works on them.
    probabilities
        (n, old classes) of the teacher at the stage's temperature; of hard targets, 0 and 1.
    shares
        (n, classes): the same by class, 0 for classes that are not old; None where classes play no part in the
        generator. They choose gates and prior when a dream is learned from, as in the released code of van de Ven et
        al. 2020 (``train_a_batch``: the teacher's probabilities, or its likeliest class with hard targets). The class
        that a dream was decoded for is not used again.
    """

    features: torch.Tensor
    probabilities: torch.Tensor
    shares: torch.Tensor | None


class Generator:
    """A frozen copy of a network that decodes latent values to features and tells their classes.

    Parameters
    ----------
    network
        Copied as it is.
    classes
        (old classes,) int64: those that it has learned, on the network's device.
    """

    def __init__(self, network: ReplayNetwork, classes: torch.Tensor) -> None:
        if len(classes) == 0:
            raise InputError("a generator needs a network that has learned at least one class")
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.classes = classes

    @torch.no_grad()
    def dream(self, n: int, stage: REM, random: torch.Generator) -> Dreams:
        """Return n fresh dreams; where classes play a part, each is decoded for an old class drawn uniformly."""
        network, a = self.network, self.network.architecture
        device = self.classes.device
        latents = torch.randn(n, a.latents, generator=random, device=device)
        by_class = a.conditional_prior or a.gating > 0
        gates = None
        if by_class:
            drawn = self.classes[torch.randint(len(self.classes), (n,), generator=random, device=device)]
            gates = functional.one_hot(drawn, a.classes).to(latents.dtype)
            if a.conditional_prior:
                deviation = (network.prior_log_variance[drawn] / 2).exp()
                latents = network.prior_mean[drawn] + deviation * latents
        features = network.decode(latents, gates)
        outputs = network.classifier(network.encoder(features))[:, self.classes].float()
        if stage.targets == "hard":
            probabilities = functional.one_hot(outputs.argmax(1), len(self.classes)).to(outputs.dtype)
        else:
            probabilities = functional.softmax(outputs / stage.temperature, 1)
        if not by_class:
            return Dreams(features, probabilities, None)
        shares = torch.zeros(n, a.classes, device=device).index_copy(1, self.classes, probabilities)
        return Dreams(features, probabilities, shares)
