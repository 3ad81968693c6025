"""What some experiments add to their page: a study's table and figures, and the figures of tripartite sleep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neurosleep.experiments.page.figures import by_condition
from neurosleep.experiments.page.section import Section
from neurosleep.experiments.study import StudyExperiment
from neurosleep.figures.learning import draw as draw_learning
from neurosleep.figures.tripartite import draw_all
from neurosleep.figures.tripartite_panels import condition_of
from neurosleep.sims.errors import InputError
from neurosleep.tripartite.rows import RunTrace

CAPTIONS = {
    "checkpoints": "Accuracy after every training (T) and every night (S), stacked by task: means over seeds, as in "
    "Fig. 2 of Tadros et al. 2022. Nights are shaded.",
    "rehearsal": "Accuracy at the end by the share of old inputs that is kept, without and with sleep: means with 95 % "
    "intervals, as in Fig. 3 of Tadros et al. 2022 (which has s.e.m.).",
    "icarl": "Accuracy at the end by the number of inputs that iCaRL keeps, without and with sleep: means with 95 % "
    "intervals (Tadros et al. 2022, Table 2).",
    "seen": "Accuracy on all classes seen so far, at the end of each task and its night: means with 95 % intervals as "
    "bands; dotted, a condition that learned all tasks at once.",
    "weights": "Weights of each layer before and after the last night of the first run whose spikes are kept.",
}
"""What each figure of `neurosleep.figures.learning` shows."""

if TYPE_CHECKING:
    from neurosleep.experiments.results import Results


def additions(results: "Results", unread: list[str]) -> Sequence[Section]:
    """Draw what an experiment has beyond the comparison of its conditions, into ``figures``; return its sections.

    What cannot be read is added to `unread`, with why.
    """
    if not results.records:
        return []
    folder = results.folder / "figures"
    folder.mkdir(exist_ok=True)
    if isinstance(results.experiment, StudyExperiment):
        return _studied(results, results.experiment, unread)
    drawn = draw_learning(by_condition(results.records, list(results.experiment.conditions)), folder)
    sections = [
        Section("As in the papers" if i == 0 else "", CAPTIONS[name], figures=[path])
        for i, (name, path) in enumerate(drawn.items())
    ]
    traces: dict[tuple[float, bool], list[RunTrace]] = {}
    for run, record in results.records.items():
        found = condition_of(results.experiment.conditions[run.condition].night)
        if found is not None and record.get("looks"):
            try:
                traces.setdefault(found, []).append(RunTrace.of(record["looks"]))
            except InputError as error:
                unread.append(f"{run}: {error}")
    traces = {found: own for found, own in traces.items() if own}
    if not traces:
        return sections
    caption = (
        "Along the iterations of each task, as in the figures of Robinson et al. 2022 of the same number: means over "
        "seeds. p is the share of weights pruned before each task."
    )
    return [*sections, Section("Within tasks", caption, figures=draw_all(traces, folder))]


def _studied(results: "Results", experiment: StudyExperiment, unread: list[str]) -> Sequence[Section]:
    records = [results.records[run] for run in sorted(results.records, key=lambda run: run.seed)]
    study, folder = experiment.study, results.folder / "figures"
    logged = next((run for run, record in results.records.items() if record["log"]), None)
    sections = [Section("Results", f"Over {len(records)} seed{'' if len(records) == 1 else 's'}.", study.rows(records))]
    drawn: Sequence[Path] = []
    try:
        drawn = study.draw(records, folder, None if logged is None else results.spikes_file(logged))
    except InputError as error:
        if logged is None:
            raise
        unread.append(f"{logged}: {error}")
        drawn = study.draw(records, folder, None)
    for figure in drawn:
        if figure.stem not in study.captions:
            raise InputError(f"{type(study).__name__} draws {figure.name}, but has no caption for it")
        sections.append(Section("", study.captions[figure.stem], figures=[figure]))
    return sections
