"""Tripartite sleep on a stream of tasks: nights with and without REM, downscaling and spontaneous replay, compared.

(Robinson et al. 2022, arXiv 2209.05245, all figures.)
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from neurosleep import data
from neurosleep.continual import Nights, Stream, class_incremental, learn, learn_jointly
from neurosleep.figures.stream import draw_stream, seen_accuracy
from neurosleep.figures.tripartite import draw_all
from neurosleep.figures.tripartite_panels import condition_of
from neurosleep.memory import FeatureMemory
from neurosleep.papers.base import RunContext, mean_and_sd
from neurosleep.papers.src_config import Config
from neurosleep.papers.src_methods import MethodName
from neurosleep.papers.tripartite_config import NightName, TripartiteConfig, parse_conditions
from neurosleep.papers.tripartite_run import learn_by_nights
from neurosleep.sims.errors import InputError
from neurosleep.training import products
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.rows import RunTrace


class TripartiteExperiment:
    """One data set's experiment on tripartite sleep.

    Parameters
    ----------
    name, summary
        On the command line.
    config_type
        Its configuration, with all defaults.
    seeds
        Runs, unless told otherwise.
    presets
        Settings by name, on top of the defaults.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        config_type: type[TripartiteConfig] = TripartiteConfig,
        seeds: int = 3,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.name = name
        self.summary = summary
        self.config_type: type = config_type
        self.seeds = seeds
        self.presets = presets or {}

    def amount(self, config: TripartiteConfig) -> float:
        """Return the work of one run in inputs trained on."""
        tasks = _CLASSES[config.dataset] // config.classes_per_task
        of_night = tasks * (config.iterations + config.generator_iterations) * config.batch_size
        return float(
            sum(
                of_night if isinstance(name, NightName) else config.epochs * _IMAGES[config.dataset]
                for name in parse_conditions(config.conditions)
            )
        )

    def prepare(self, config: TripartiteConfig, data_dir: str | None) -> None:
        """Load the data once, so that it is there (or downloaded), and try the parameters."""
        if _CLASSES[config.dataset] % config.classes_per_task:
            raise InputError(
                f"classes_per_task must divide the {_CLASSES[config.dataset]} classes of {config.dataset}, "
                f"got {config.classes_per_task}"
            )
        by_class = config.architecture(1, _CLASSES[config.dataset]).by_class
        if (config.targets == "drawn" or config.imagined) and not by_class:
            raise InputError(
                "targets='drawn' and imagined need dreams of a class: set class_means, conditional_prior or gating"
            )
        config.settings()
        for name in parse_conditions(config.conditions):
            if isinstance(name, NightName):
                name.night(config, task=1)
                if name.src and len(config.thresholds) != len(config.hidden) + 1:
                    raise InputError(
                        f"thresholds needs one value for each of the {len(config.hidden) + 1} layers of weights, "
                        f"got {len(config.thresholds)}"
                    )
            else:
                name.make(Config(), seed=0)
        _stream(config, data_dir, seed=0)

    def run(self, config: TripartiteConfig, context: RunContext) -> dict[str, Any]:
        """Train one network for each condition, all from the same initial weights."""
        stream = _stream(config, context.data_dir, context.seed).to(context.device)
        methods: dict[str, Any] = {}
        seconds = {"sleep": 0.0}
        with ExitStack() as stack:
            files = context.files or Path(stack.enter_context(TemporaryDirectory()))
            for name in parse_conditions(config.conditions):
                if isinstance(name, NightName):
                    part = context.keep(name.text, partial(_night, config, context, stream, name, files))
                else:
                    part = context.keep(name.text, partial(_method, config, context, stream, name))
                if not config.keep_networks:
                    (files / f"{name.text}.pt").unlink(missing_ok=True)
                methods[name.text] = part["history"]
                seconds[name.text] = part["seconds"]
                seconds["sleep"] += sum(night["seconds"] for night in part["history"]["nights"])
        return {
            "tasks": [list(task.classes) for task in stream.tasks],
            "class_order": _class_order(config, context.seed),
            "methods": methods,
            "seconds": seconds,
        }

    def summarize(self, config: TripartiteConfig, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One row a condition: test accuracy on the classes seen, at the end of the first tasks and of all."""
        rows = []
        tasks = len(runs[0]["tasks"])
        for condition in runs[0]["methods"]:
            seen = np.array([seen_accuracy(run["methods"][condition]) for run in runs])
            mean, sd = mean_and_sd([100 * run["methods"][condition]["accuracy"] for run in runs])
            early = {
                f"after task {n} %": float(100 * seen[:, n - 1].mean()) if n <= seen.shape[1] else float("nan")
                for n in range(2, min(tasks, 6))
            }
            old = [_old_accuracy(run["methods"][condition]) for run in runs]
            rows.append(
                {
                    "condition": condition,
                    **early,
                    "at the end %": mean,
                    "s.d.": sd,
                    "old tasks %": 100 * float(np.mean(old)),
                    "seeds": len(runs),
                }
            )
        return rows

    def draw(self, config: TripartiteConfig, runs: list[dict[str, Any]], folder: Path) -> list[Path]:
        """Draw the paper's Figures 2 to 12 from the traces of all runs, and all conditions side by side."""
        traces: dict[tuple[float, bool], list[RunTrace]] = {}
        for name in parse_conditions(config.conditions):
            condition = condition_of(name.night(config, 1)) if isinstance(name, NightName) else None
            found = [looks for run in runs if (looks := run["methods"][name.text].get("looks"))]
            if condition is not None and found:
                traces[condition] = [RunTrace.of(looks) for looks in found]
        return [*draw_stream(runs, folder), *(draw_all(traces, folder) if traces else [])]


def _old_accuracy(history: dict[str, Any]) -> float:
    """Return the accuracy at the end on all tasks but the last."""
    return float(np.mean(history["checkpoints"][-1]["task_accuracies"][:-1]))


_CLASSES = {"cifar100": 100, "cifar10": 10, "mnist": 10, "mnist-small": 10, "fashion-mnist": 10}
_IMAGES = {"cifar100": 50_000, "cifar10": 50_000, "mnist": 60_000, "mnist-small": 10_000, "fashion-mnist": 60_000}


def _class_order(config: TripartiteConfig, seed: int) -> list[int]:
    """Return the classes in the order in which they are learned."""
    n = _CLASSES[config.dataset]
    return list(range(n)) if config.order == "released" else np.random.default_rng(seed).permutation(n).tolist()


def _stream(config: TripartiteConfig, data_dir: str | None, seed: int) -> Stream:
    """Return the tasks; classes are numbered in the order in which they are learned."""
    number = np.argsort(_class_order(config, seed))
    splits: list[Any] = []
    for split in ("train", "test"):
        if config.dataset in ("cifar100", "cifar10"):
            from neurosleep.features.cache import features

            found = features(config.dataset, split, data_dir=data_dir, layers="conv-cifar10")
            splits += [found.inputs, number[found.labels]]
        else:
            images = data.load(config.dataset, split, data_dir=data_dir)
            splits += [images.vectors(), number[images.labels]]
    return class_incremental(*splits, classes_per_task=config.classes_per_task)


def _network(config: TripartiteConfig, stream: Stream, context: RunContext) -> ReplayNetwork:
    sizes = stream.joint_inputs.shape[1], _CLASSES[config.dataset]
    generator = torch.Generator().manual_seed(context.seed)
    return ReplayNetwork(config.architecture(*sizes), generator).to(context.device)


def _night(
    config: TripartiteConfig, context: RunContext, stream: Stream, name: NightName, files: Path
) -> dict[str, Any]:
    """Let one network learn by nights."""
    begin = time.perf_counter()
    history = learn_by_nights(config, context, stream, name, partial(_network, config, stream, context), files)
    return {"history": history, "seconds": time.perf_counter() - begin}


def _method(config: TripartiteConfig, context: RunContext, stream: Stream, name: MethodName) -> dict[str, Any]:
    """Let the same encoder and classifier learn by another method."""
    begin = time.perf_counter()
    model = _network(config, stream, context).sleeping_chain()
    images, seed = _IMAGES[config.dataset], context.seed
    with products(config.products):
        if name.base == "joint":
            done = partial(context.on_progress, images)
            history = learn_jointly(model, stream, config.trainer(), seed=seed, on_epoch=done)
        else:
            done = partial(context.on_progress, images / len(stream.tasks))
            nights = Nights(lambda task: [config.spontaneous_replay(task)], FeatureMemory()) if name.sleeps else None
            method = name.make(Config(), seed)
            history = learn(model, stream, config.trainer(), method=method, nights=nights, seed=seed, on_epoch=done)
    return {"history": history.to_dict(), "seconds": time.perf_counter() - begin}
