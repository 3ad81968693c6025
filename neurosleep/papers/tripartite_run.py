"""One condition of an experiment on tripartite sleep: learned task by task, looked at along the way, resumable."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from neurosleep.continual import Stream
from neurosleep.night import SleepRecord
from neurosleep.papers.base import RunContext
from neurosleep.papers.tripartite_config import NightName, TripartiteConfig
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import population_sizes
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.network import ReplayNetwork
from neurosleep.tripartite.trace import Trace

WEIGHTS_AT = (0, 10, 100, 1000, 10_000)
"""Iterations of a task at which weight distributions are recorded, besides the last one."""
CHECKPOINT_SECONDS = 60.0
"""Between two times that a learner is written to disk."""


def learn_by_nights(
    config: TripartiteConfig,
    context: RunContext,
    stream: Stream,
    name: NightName,
    network: Callable[[], ReplayNetwork],
    files: Path,
) -> dict[str, Any]:
    """Learn a stream by nights; return its history, with a record for each stage.

    Beside it `files` gets, by the name of the condition, the trace (``.h5``) and the learner as it goes (``.pt``). A
    call that was stopped goes on from them. The spikes of the first run's nights of spontaneous replay are kept
    in ``context.spikes``.
    """
    state, path = files / f"{name.text}.pt", files / f"{name.text}.h5"
    files.mkdir(exist_ok=True)
    if state.exists():
        learner = Learner.load(state, context.device)
        trace = Trace.resume(path, max(learner.task, 1), _iterations(learner, config, name))
    else:
        learner = Learner(network(), config.settings(), context.seed)
        condition: dict[str, bool | float | str] = {
            "night": name.text,
            "p": -1.0 if name.pruned is None else name.pruned,
            "rem": name.rem,
        }
        trace = Trace(path, tasks=len(stream.tasks), condition=condition, seed=context.seed, overwrite=True)
    checkpoints = []
    with trace, _spikes(config, context, learner, name) as log:
        for number in range(1, len(stream.tasks) + 1):
            do = partial(_task, config, context, stream, name, number, learner, trace, state, log)
            checkpoints.append(context.keep(f"{name.text} task {number}", do))
    records = [record.to_dict() for record in learner.records]
    nights = [record.to_dict() for record in learner.records if isinstance(record, SleepRecord)]
    return {
        "accuracy": checkpoints[-1]["accuracy"],
        "checkpoints": checkpoints,
        "nights": nights,
        "stages": records,
    }


def _task(
    config: TripartiteConfig,
    context: RunContext,
    stream: Stream,
    name: NightName,
    number: int,
    learner: Learner,
    trace: Trace,
    state: Path,
    log: SpikeLog | None,
) -> dict[str, Any]:
    """Learn one task, or what is left of it; return the accuracies at its end, as a checkpoint of a history."""
    task = stream.tasks[number - 1]
    limit = config.look_inputs or None
    few = [(t.test_inputs[:limit], t.test_labels[:limit]) for t in stream.tasks[:number]]
    end = config.iterations + config.generator_iterations
    done = _iterations(learner, config, name) if learner.task == number else 0

    def look(iteration: int, network: ReplayNetwork) -> None:
        nonlocal done
        context.on_progress(config.batch_size * (iteration - done))  # none after a stage without iterations
        done = iteration
        if iteration <= config.look_early or iteration % config.look_every == 0 or iteration == end:
            trace.record(number, iteration, accuracies(network, learner.seen, few, config.products == "bfloat16"))
        if iteration in WEIGHTS_AT or iteration == end:
            layers = network.downscaled_layers().items()
            trace.record_weights(
                number, iteration, {layer: module.weight.detach().cpu().numpy() for layer, module in layers}
            )

    if learner.task < number - 1:
        raise InputError(f"{state} is missing, but tasks before {number} are finished: delete this run's .parts folder")
    if learner.task < number:
        learner.begin_task(list(task.classes))
        look(0, learner.network)
    learner.sleep(
        name.night(config, number),
        task.inputs,
        task.labels,
        on_iteration=look,
        checkpoint=state,
        checkpoint_every=CHECKPOINT_SECONDS,
        log=log,
    )
    everything = [(t.test_inputs, t.test_labels) for t in stream.tasks]
    right = accuracies(learner.network, learner.seen, everything)
    sizes = [len(t.test_labels) for t in stream.tasks]
    overall = sum(share * size for share, size in zip(right, sizes, strict=True)) / sum(sizes)
    return {"name": f"T{number}", "task": number, "task_accuracies": right, "accuracy": overall}


@torch.no_grad()
def accuracies(
    network: ReplayNetwork, seen: torch.Tensor, tests: list[tuple[torch.Tensor, torch.Tensor]], bfloat16: bool = False
) -> list[float]:
    """Return the share of each test's inputs that is classified right among the classes seen."""
    inputs = torch.cat([x for x, _ in tests])
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
        outputs = torch.cat([network(part) for part in torch.split(inputs, 2000)])
    right = seen[outputs[:, seen].argmax(1)] == torch.cat([y for _, y in tests])
    return [float(part.float().mean()) for part in torch.split(right, [len(y) for _, y in tests])]


def _iterations(learner: Learner, config: TripartiteConfig, name: NightName) -> int:
    """Return the steps of the optimizer that a learner has done in its present task."""
    stages = list(name.night(config, max(learner.task, 1)))[: learner.stage]
    return sum(getattr(stage, "iterations", 0) for stage in stages) + learner.iteration


@contextmanager
def _spikes(
    config: TripartiteConfig, context: RunContext, learner: Learner, name: NightName
) -> Iterator[SpikeLog | None]:
    """Open the spike log of the first condition with spontaneous replay, to go on where the learner is."""
    first = next((text for text in config.conditions if (n := NightName.parse(text)) is not None and n.src), None)
    if context.spikes is None or name.text != first:
        yield None
        return
    slept = sum(record.steps for record in learner.records if isinstance(record, SleepRecord))
    if slept and context.spikes.exists():
        log = SpikeLog.resume(context.spikes, slept)
        if log.epoch_open:
            log.end_epoch()
    else:
        a = learner.network.architecture
        populations = population_sizes((a.features, *a.hidden, a.classes))
        log = SpikeLog(context.spikes, populations, dt=0.001, seed=context.seed, config=asdict(config), overwrite=True)
    with log:
        yield log
