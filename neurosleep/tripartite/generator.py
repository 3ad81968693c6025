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
    bfloat16
        Whether it is used under autocast to bfloat16: then its layers are kept so, and not cast at every use.
    """

    def __init__(self, network: ReplayNetwork, classes: torch.Tensor, bfloat16: bool = False) -> None:
        if len(classes) == 0:
            raise InputError("a generator needs a network that has learned at least one class")
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.classes = classes
        if network.architecture.observation_noise:
            self.network.renew_noise()
        if bfloat16:
            for layer in self.network.downscaled_layers().values():
                layer.to(torch.bfloat16)

    @torch.no_grad()
    def dream(self, n: int, stage: REM, random: torch.Generator) -> Dreams:
        """Return n fresh dreams; where classes play a part, each is decoded for an old class drawn uniformly."""
        a = self.network.architecture
        index, drawn = None, None
        latents = torch.randn(n, a.latents, generator=random, device=self.classes.device)
        if a.by_class:
            index = torch.randint(len(self.classes), (n,), generator=random, device=latents.device)
            drawn = self.classes[index]
        features = decoded(self.network, latents, drawn, random)
        probabilities = self._probabilities(features, index, stage)
        if not a.by_class:
            return Dreams(features, probabilities, None)
        shares = torch.zeros(n, a.classes, device=latents.device).index_copy(1, self.classes, probabilities)
        return Dreams(features, probabilities, shares)

    def _probabilities(self, features: torch.Tensor, drawn: torch.Tensor | None, stage: REM) -> torch.Tensor:
        """Return what dreams are taken for; `drawn` are the old classes that they were decoded for, by index."""
        if stage.targets == "drawn":
            if drawn is None:
                raise InputError("targets='drawn' needs dreams of a class: conditional_prior, gating or class_means")
            return functional.one_hot(drawn, len(self.classes)).float()
        outputs = self.network.classifier(self.network.encoder(features))[:, self.classes].float()
        if stage.targets == "hard":
            return functional.one_hot(outputs.argmax(1), len(self.classes)).float()
        return functional.softmax(outputs / stage.temperature, 1)


@torch.no_grad()
def decoded(
    network: ReplayNetwork, latents: torch.Tensor, classes: torch.Tensor | None, random: torch.Generator
) -> torch.Tensor:
    """Return standardised features (n, features) that a network makes of standard normal values (n, latents).

    Parameters
    ----------
    classes
        (n,) of which each is to be; None where classes play no part in the generator.
    """
    a, gates = network.architecture, None
    if classes is not None:
        gates = functional.one_hot(classes, a.classes).to(latents.dtype)
        if a.conditional_prior:
            latents = network.prior_mean[classes] + (network.prior_log_variance[classes] / 2).exp() * latents
    features = network.decode(latents, gates)
    if a.observation_noise:
        noise = torch.randn(features.shape, generator=random, device=features.device)
        features = features + noise @ network.noise.T
    return features
