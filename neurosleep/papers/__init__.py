"""Experiments of the papers, each one command: `neurosleep run NAME`."""

from typing import Any

from neurosleep.papers.base import Experiment
from neurosleep.papers.conv_sleep import ConvSleep
from neurosleep.papers.patches import PatchesExperiment
from neurosleep.papers.src import IcarlExperiment, SrcExperiment
from neurosleep.papers.src_config import (
    FRACTIONS,
    Cifar10Config,
    Config,
    CrossModalConfig,
    Cub200Config,
    FashionConfig,
    IcarlCifar10Config,
    IcarlConfig,
    IcarlFashionConfig,
    pairs,
)
from neurosleep.papers.src_replay import SrcReplay
from neurosleep.papers.src_snn import SnnConfig, SnnExperiment
from neurosleep.papers.src_undertrained import SrcUndertrained
from neurosleep.papers.tripartite import TripartiteExperiment
from neurosleep.papers.tripartite_config import PAPER, MnistTripartiteConfig, TripartiteConfig

_SWEEP = {"rehearsal": {"methods": ("sequential", "src", *pairs("rehearsal", FRACTIONS))}}  # Fig. 3
_DEEP = {  # four hidden layers; thresholds found in a handful of trials with seed 3
    "methods": ("sequential", "src", "joint"),
    "hidden": (400, 400, 400, 400),
    "init": 0.05,
    "loss": "cross-entropy",
    "thresholds": (14.5, 60.0, 60.0, 60.0, 60.0),
}
_NIGHT = {  # the released iCaRL night for 100 exemplars, with a thirty-second of its plasticity
    "max_rate": 114.37,
    "inc": 0.0013,
    "dec": 0.00017,
    "thresholds": (38.45, 22.2, 6.893),
    "gain_scale": 4.2534,
    "sleep_steps": 15_000,
    "sleep_steps_more": 0,
}
_OWM = {**_NIGHT, "methods": ("owm:0.3", "owm:0.3+src"), "loss": "cross-entropy", "order": "random"}
_TUNED = {  # trial 11 of 24 on held-out training images
    "methods": ("sequential", "src"),
    "inc": 0.001378,
    "dec": 0.001045,
    "thresholds": (4.8725, 2.0429, 5.9877),
    "gain_scale": 37.25,
    "sleep_steps": 12_496,
    "sleep_steps_more": 0,
}
_PAPER = {  # 10,000 iterations a task; the figures look as closely as the paper's
    "conditions": PAPER,
    "iterations": 10_000,
    "look_every": 100,
    "look_early": 100,
}
_QUICK = {  # against replay that fades; found on held-out training images
    "conditions": ("p0", "p0+rem", "p0.75+rem"),
    "iterations": 120,
    "batch_size": 64,
    "replay_batch_size": 320,
    "learning_rate": 1e-3,
    "standardise": True,
    "class_means": True,
    "observation_noise": True,
    "targets": "drawn",
    "imagined": 0.7,
}


def _gentle(epochs: int, *fractions: float) -> dict[str, Any]:
    """Return a preset: rehearsal of shares of old inputs, without a night and with the gentle one."""
    return {**_NIGHT, "methods": pairs("rehearsal", fractions), "rehearsal_epochs": epochs}


_FIVE = "SRC and other methods on five tasks of two"

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        PatchesExperiment(),
        SrcExperiment(
            "src-mnist",
            f"{_FIVE} digits (Table 1, Fig. 2; preset rehearsal: Fig. 3)",
            Config,
            presets={**_SWEEP, "deep": _DEEP, "gentle": _gentle(10, 0.0075, 0.018), "owm": _OWM},
        ),
        SrcExperiment(
            "src-fashion-mnist",
            f"{_FIVE} kinds of clothes (Table 1)",
            FashionConfig,
            presets={**_SWEEP, "gentle": _gentle(10, 0.0075, 0.018), "owm": _OWM},
        ),
        SrcExperiment(
            "src-cross-modal",
            "SRC and others on digits, then clothes, on the same outputs (Table 1)",
            CrossModalConfig,
            presets={**_SWEEP, "gentle": _gentle(2, 0.0075), "tuned": _TUNED},
        ),
        SrcExperiment(
            "src-cifar10",
            f"{_FIVE} classes of photographs (Table 1)",
            Cifar10Config,
            presets={**_SWEEP, "gentle": {**_gentle(10, 0.0075), "order": "random"}},
        ),
        SrcExperiment(
            "src-cub200", "SRC and others on two tasks of 100 birds, on embeddings that you supply", Cub200Config
        ),
        SnnExperiment(
            "src-snn", "SRC on five tasks of two digits, by a network that spikes awake, too", SnnConfig, seeds=3
        ),
        IcarlExperiment("icarl-mnist", "iCaRL with and without sleep, by capacity (Table 2)", IcarlConfig),
        IcarlExperiment("icarl-fashion-mnist", "the same on Fashion-MNIST (Table 2)", IcarlFashionConfig),
        IcarlExperiment("icarl-cifar10", "the same on CIFAR-10 (Table 2)", IcarlCifar10Config),
        SrcReplay(),
        SrcUndertrained(),
        ConvSleep(),
        TripartiteExperiment(
            "tripartite-cifar100",
            "NREM, REM and downscaling on ten tasks of ten classes of photographs (Robinson et al. 2022, all figures)",
            TripartiteConfig,
            presets={
                "paper": _PAPER,
                "short": {},
                "quick": _QUICK,
                "recipe": {**_QUICK, "conditions": ("p0", "p0+rem", "p0.75+rem", "p0+rem+src")},
            },
        ),
        TripartiteExperiment(
            "tripartite-mnist", "the same on five tasks of two digits, on pixels", MnistTripartiteConfig
        ),
    )
}
"""Every experiment by its name on the command line."""
