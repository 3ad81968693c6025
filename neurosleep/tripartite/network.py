"""The network of tripartite sleep: a variational autoencoder of features, and a classifier on its encoder.

(Robinson et al. 2022, arXiv 2209.05245, Fig. 1, after van de Ven, Siegelmann & Tolias 2020, Nature Communications
11:4069.)
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.sims.homeostasis.downscaling import DownscalingRule


@dataclass(frozen=True)
class Architecture:
    """Sizes of a `ReplayNetwork`; the defaults are the paper's.

    Parameters
    ----------
    features
        Values of an input: of an image after the frozen convolutional layers.
    hidden
        ReLU units of the encoder's layers, first to last; the decoder has the same in reverse.
    latents
        Gaussian units between encoder and decoder.
    classes
        Outputs of the classifier, one for each class of the whole stream.
    conditional_prior
        Whether each class has a Gaussian of its own in the latent space, with learned mean and variance, instead of the
        standard normal distribution (van de Ven et al. 2020, "conditional replay"). Means and log variances begin
        standard normal, as in their released code. Not part of tripartite sleep.
    gating
        Share of the units of every hidden decoder layer that is silent for a class, another random set for each
        (van de Ven et al. 2020, "gating based on internal context"; 0.7 in their released code for CIFAR-100). Here
        each class has the same number of silent units; there each unit is silent with that probability. Not part of
        tripartite sleep.
    class_means
        Whether the mean of each class's features is kept from when the class was learned, and the autoencoder has but
        to learn how inputs differ from it: the decoder's outputs are added to the mean of their class. Not part of
        tripartite sleep, nor of van de Ven et al. 2020.
    observation_noise
        Whether a dream is drawn from a Gaussian around what is decoded, with the covariance between features of what
        training left over; else it is what is decoded, as in both papers.
    """

    features: int = 1024
    hidden: tuple[int, ...] = (2000, 2000)
    latents: int = 100
    classes: int = 100
    conditional_prior: bool = False
    gating: float = 0.0
    class_means: bool = False
    observation_noise: bool = False

    @property
    def by_class(self) -> bool:
        """Whether a dream is of a class, which then has a part in decoding it."""
        return self.conditional_prior or self.gating > 0 or self.class_means

    def __post_init__(self) -> None:
        settle(self)
        sizes = {"features": self.features, "latents": self.latents, "classes": self.classes}
        sizes |= {f"hidden[{i}]": n for i, n in enumerate(self.hidden)}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {size!r}")
        if not self.hidden:
            raise InputError("hidden needs at least one layer, as in (2000, 2000)")
        if not 0 <= self.gating < 1:
            raise InputError(f"gating must be at least 0 and below 1, got {self.gating!r}")


class ReplayNetwork(nn.Module):
    """Encoder, latent units, decoder and classifier, all trained together.

    Weights and biases begin uniform within 1 / sqrt(inputs of the layer), torch's default.

    All parts work on standardised features, ``(h - feature_mean) / feature_scale``. These two are 0 and 1 unless
    `standardise_by` was called, so that features go in as they are.

    Parameters
    ----------
    architecture
        Sizes.
    generator
        Of initial weights and gates; one seeded with 0 if None. The network is made on its device. The global random
        numbers are left as they were.
    """

    feature_mean: torch.Tensor
    feature_scale: torch.Tensor
    prior_mean: torch.Tensor
    prior_log_variance: torch.Tensor
    class_mean: torch.Tensor
    residual: torch.Tensor
    noise: torch.Tensor

    def __init__(self, architecture: Architecture | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        g = generator or torch.Generator().manual_seed(0)
        self.encoder = _rectified((a.features, *a.hidden), g)
        self.mean = _linear(a.hidden[-1], a.latents, g)
        self.log_variance = _linear(a.hidden[-1], a.latents, g)
        self.classifier = _linear(a.hidden[-1], a.classes, g)
        self.decoder = nn.Sequential(
            *_rectified((a.latents, *reversed(a.hidden)), g), _linear(a.hidden[0], a.features, g)
        )
        if a.conditional_prior:
            for name in ("prior_mean", "prior_log_variance"):
                values = torch.randn(a.classes, a.latents, generator=g, device=g.device)
                self.register_parameter(name, nn.Parameter(values))
        if a.gating:
            for i, units in enumerate(reversed(a.hidden)):
                self.register_buffer(f"gate{i}", _gates(a.classes, units, a.gating, g))
        if a.class_means:
            self.register_buffer("class_mean", torch.zeros(a.classes, a.features, device=g.device))
        if a.observation_noise:
            for name in ("residual", "noise"):
                self.register_buffer(name, torch.zeros(a.features, a.features, device=g.device))
        self.register_buffer("feature_mean", torch.zeros(a.features, device=g.device))
        self.register_buffer("feature_scale", torch.ones(a.features, device=g.device))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n, classes), before softmax, for features (n, features) as they are outside."""
        outputs: torch.Tensor = self.classifier(self.encoder(self.standardised(features)))
        return outputs

    def standardised(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (n, features) as the network works on them."""
        return (features - self.feature_mean) / self.feature_scale

    @torch.no_grad()
    def standardise_by(self, features: torch.Tensor) -> None:
        """From now on take from every feature its mean in (n, features), and divide by its standard deviation.

        A feature that does not vary there is only moved. Call it before anything is learned.
        """
        values = features.double()
        deviation = values.std(0, correction=0)
        self.feature_mean.copy_(values.mean(0))
        self.feature_scale.copy_(torch.where(deviation > 0, deviation, 1.0))

    @torch.no_grad()
    def renew_noise(self) -> None:
        """Let dreams from now on vary around what is decoded with the covariance `residual` (features, features).

        `noise` becomes its Cholesky factor, after a thousandth of the mean variance was added to each.
        """
        least = 1e-3 * self.residual.diagonal().mean() + torch.finfo(self.residual.dtype).tiny
        self.noise.copy_(
            torch.linalg.cholesky_ex(
                self.residual + least * torch.eye(len(self.residual), device=self.residual.device)
            ).L
        )

    @torch.no_grad()
    def keep_means(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep the mean of each class among standardised features (n, features) with labels (n,)."""
        for c in torch.unique(labels):
            self.class_mean[c] = features[labels == c].mean(0)

    def encode(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return hidden values (n, hidden[-1]), mean and log variance (n, latents), for standardised features."""
        hidden = self.encoder(features)
        return hidden, self.mean(hidden), self.log_variance(hidden)

    def decode(self, latents: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        """Return standardised features (n, features) for latent values (n, latents).

        Parameters
        ----------
        classes
            (n, classes) shares of each class, which mix gates and means; needed only with gating or class means.

        Raises
        ------
        InputError
            If there are gating or class means, but no classes.
        """
        a = self.architecture
        if (a.gating or a.class_means) and classes is None:
            raise InputError("this network's decoder works by class (gating, or class means): give the classes")
        values, layer = latents, 0
        for module in self.decoder:
            values = module(values)
            if a.gating and isinstance(module, nn.ReLU) and classes is not None:
                values = values * (classes @ self.get_buffer(f"gate{layer}"))
                layer += 1
        return values + classes @ self.class_mean if a.class_means and classes is not None else values

    def sleeping_chain(self) -> nn.Sequential:
        """Return encoder and classifier as one chain for `neurosleep.sleep`; it shares this network's weights.

        It takes standardised features.
        """
        return nn.Sequential(*self.encoder, self.classifier)

    def downscaled_layers(self) -> dict[str, nn.Linear]:
        """Return every trainable layer by its name: encoder, latent units, classifier, decoder."""
        return {name: module for name, module in self.named_modules() if isinstance(module, nn.Linear)}

    @torch.no_grad()
    def downscale(self, rule: DownscalingRule) -> dict[str, float]:
        """Downscale the weights of every trainable layer, in place, each by itself; biases stay.

        Returns
        -------
        dict
            Share of each layer's weights that are 0 afterwards.
        """
        zeroed = {}
        for name, layer in self.downscaled_layers().items():
            weights = rule.apply(layer.weight.cpu().numpy())
            layer.weight.copy_(torch.from_numpy(weights))
            zeroed[name] = float((weights == 0).mean())
        return zeroed


@torch.no_grad()
def _linear(n_pre: int, n_post: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(n_pre, n_post, device="meta").to_empty(device=generator.device)
    for values in (layer.weight, layer.bias):
        values.uniform_(-(n_pre**-0.5), n_pre**-0.5, generator=generator)
    return layer


def _rectified(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_pre, n_post in pairwise(sizes):
        layers += [_linear(n_pre, n_post, generator), nn.ReLU()]
    return nn.Sequential(*layers)


def _gates(classes: int, units: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Return (classes, units) of 0 and 1, with the same number of zeros for each class."""
    order = torch.rand(classes, units, generator=generator, device=generator.device).argsort(1).argsort(1)
    return (order >= round(share * units)).float()
