"""The losses of one step: of what is replayed of the present task, and of what is dreamed of the ones before."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from neurosleep.sims.errors import InputError
from neurosleep.tripartite import losses
from neurosleep.tripartite.generator import Generator, decoded
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.stages import NREM, REM, Interleaved, Training
from neurosleep.tripartite.state import State

NOISE_EVERY = 25
"""Steps after which what a network adds to its own dreams follows its residual."""
PARTS = ("reconstruction", "divergence", "classification")


@dataclass(frozen=True, eq=False)
class _Batch:
    """Inputs of one kind, shares of their classes where the generator needs them, and the loss of their outputs.

    `imagined` are dreams of the same classes, which count in that loss with a weight.
    """

    features: torch.Tensor
    shares: torch.Tensor | None
    loss: Callable[[torch.Tensor], torch.Tensor]
    imagined: torch.Tensor | None = None
    weight: float = 0.0


def replay_losses(state: State, stage: Training, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor | None:
    r"""Return reconstruction, divergence and classification loss, (3,), of one step, as `PARTS` names them.

    Of NREM and REM together each is, for the N-th task (Robinson et al. 2022, Methods),

    .. math:: L = \tfrac{1}{N} L_{current} + \left(1 - \tfrac{1}{N}\right) L_{replay},

    means over the inputs of either kind; both go through the network in one pass. None if there is nothing to replay.
    """
    nrem, rem = _kinds(stage)
    batches = [] if nrem is None else [_current(state, nrem, inputs, labels)]
    if rem is not None and state.generator is not None:
        batches.append(_dreamed(state, rem, state.generator))
    if not batches:
        return None
    errors = _errors(state, batches)
    if len(errors) == 2:
        share = 1 / state.task
        return share * errors[0] + (1 - share) * errors[1]
    return errors[0]


def _kinds(stage: Training) -> tuple[NREM | None, REM | None]:
    if isinstance(stage, Interleaved):
        return stage.nrem, stage.rem
    return (stage, None) if isinstance(stage, NREM) else (None, stage)


def _current(state: State, stage: NREM, inputs: torch.Tensor, labels: torch.Tensor) -> _Batch:
    drawn = torch.randint(len(inputs), (stage.batch_size,), generator=state.random, device=inputs.device)
    right = labels[drawn]
    a = state.network.architecture
    shares = functional.one_hot(right, a.classes).float() if a.by_class else None
    place = torch.empty(a.classes, dtype=torch.int64, device=inputs.device)  # of a class among those seen
    place[state.seen] = torch.arange(len(state.seen), device=inputs.device)
    imagined = None
    if stage.imagined:
        if not a.by_class:
            raise InputError("imagined needs dreams of a class: conditional_prior, gating or class_means")
        latents = torch.randn(len(right), a.latents, generator=state.random, device=inputs.device)
        imagined = decoded(state.network, latents, right, state.random)

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        return losses.classification(outputs, place[right])

    return _Batch(inputs[drawn], shares, loss, imagined, stage.imagined)


def _dreamed(state: State, stage: REM, generator: Generator) -> _Batch:
    dreams = generator.dream(stage.batch_size, stage, state.random)
    temperature = stage.temperature if stage.targets == "soft" else 1.0
    new = len(state.seen) - len(generator.classes)
    probabilities = functional.pad(dreams.probabilities, (0, new))  # the teacher knows no new class
    return _Batch(
        dreams.features, dreams.shares, lambda outputs: losses.distillation(outputs, probabilities, temperature)
    )


def _errors(state: State, batches: list[_Batch]) -> list[torch.Tensor]:
    """Pass all batches through the network at once; return the three losses of each, (3,)."""
    network = state.network
    x = torch.cat([batch.features.float() for batch in batches])
    given = [batch.shares for batch in batches if batch.shares is not None]
    shares = torch.cat(given) if given else None
    imagined = [batch.imagined.float() for batch in batches if batch.imagined is not None]
    every = network.encoder(torch.cat([x, *imagined]))
    outputs = network.classifier(every).float()[:, state.seen]
    hidden = every[: len(x)]
    mean, log_variance = network.mean(hidden).float(), network.log_variance(hidden).float()
    noise = torch.randn(mean.shape, generator=state.random, device=mean.device)
    again = network.decode(mean + noise * (log_variance / 2).exp(), shares).float()
    if network.architecture.observation_noise:
        _track_residual(state, x - again, batches)
    reconstruction = losses.reconstruction(x, again)
    divergence = _divergence(network, mean, log_variance, shares)
    sizes = [len(batch.features) for batch in batches]
    split = (torch.split(values, sizes) for values in (reconstruction, divergence, outputs[: len(x)]))
    return [
        torch.stack([r.mean(), d.mean(), _classification(b, o, outputs[len(x) :])])
        for b, r, d, o in zip(batches, *split, strict=True)
    ]


def _classification(batch: _Batch, outputs: torch.Tensor, of_imagined: torch.Tensor) -> torch.Tensor:
    loss = batch.loss(outputs).mean()
    if batch.imagined is None:
        return loss
    return (1 - batch.weight) * loss + batch.weight * batch.loss(of_imagined).mean()


@torch.no_grad()
def _track_residual(state: State, left: torch.Tensor, batches: list[_Batch]) -> None:
    """Follow the covariance of what reconstruction leaves over (n, features), over the last 50 steps or so."""
    with torch.autocast(left.device.type, enabled=False):
        parts = torch.split(left, [len(batch.features) for batch in batches])
        found = [part.T @ part / len(part) for part in parts]
    share = 1 / state.task if len(found) == 2 else 1.0
    covariance = found[0] if len(found) == 1 else share * found[0] + (1 - share) * found[1]
    state.network.residual.lerp_(covariance, max(0.02, 1 / (1 + state.iteration)))
    if (state.iteration + 1) % NOISE_EVERY == 0:
        state.network.renew_noise()


def _divergence(
    network: ReplayNetwork, mean: torch.Tensor, log_variance: torch.Tensor, shares: torch.Tensor | None
) -> torch.Tensor:
    if not network.architecture.conditional_prior or shares is None:
        return losses.divergence(mean, log_variance)
    prior = network.prior_mean, network.prior_log_variance
    return losses.divergence_from_classes(mean, log_variance, *prior, shares)
