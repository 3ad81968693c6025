"""One condition of an experiment on tripartite sleep: learned task by task, looked at along the way, resumable."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from neurosleep.continual import Stream
from neurosleep.night import SleepRecord
from neurosleep.papers.base import RunContext
from neurosleep.papers.tripartite_config import NightName, TripartiteConfig
from neurosleep.sims.errors import InputError
from neurosleep.sims.network import population_sizes
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.looking import Looks, learn_and_look
from neurosleep.tripartite.network import ReplayNetwork

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

    Beside it `files` gets, by the name of the condition, the learner as it goes (``.pt``). A call that was stopped goes
    on from it. The spikes of the first run's nights of spontaneous replay are kept in ``context.spikes``.
    """
    state = files / f"{name.text}.pt"
    files.mkdir(exist_ok=True)
    if state.exists():
        learner = Learner.load(state, context.device)
    else:
        learner = Learner(network(), config.settings(), context.seed)
    with _spikes(config, context, learner, name) as log:
        checkpoints = []
        for number in range(1, len(stream.tasks) + 1):
            do = partial(_task, config, context, stream, name, number, learner, state, log)
            checkpoints.append(context.keep(f"{name.text} task {number}", do))
    records = [record.to_dict() for record in learner.records]
    nights = [record.to_dict() for record in learner.records if isinstance(record, SleepRecord)]
    return {
        "accuracy": checkpoints[-1]["accuracy"],
        "checkpoints": checkpoints,
        "nights": nights,
        "stages": records,
        "looks": learner.looks,
    }


def _task(
    config: TripartiteConfig,
    context: RunContext,
    stream: Stream,
    name: NightName,
    number: int,
    learner: Learner,
    state: Path,
    log: SpikeLog | None,
) -> dict[str, Any]:
    """Learn one task, or what is left of it; return the accuracies at its end, as a checkpoint of a history."""
    if learner.task < number - 1:
        raise InputError(f"{state} is missing, but tasks before {number} are finished: delete this run's .parts folder")
    return learn_and_look(
        learner,
        number,
        stream.tasks[number - 1],
        name.night(config, number),
        [(task.test_inputs, task.test_labels) for task in stream.tasks],
        Looks(config.look_inputs, config.look_early, config.look_every),
        on_steps=lambda steps: context.on_progress(config.batch_size * steps),
        checkpoint=state,
        checkpoint_every=CHECKPOINT_SECONDS,
        log=log,
    )


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
