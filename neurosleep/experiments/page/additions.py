"""What some experiments add to their page: a study's table and figures, and the figures of tripartite sleep."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neurosleep.experiments.page.section import Section
from neurosleep.experiments.study import StudyExperiment
from neurosleep.figures.tripartite import draw_all
from neurosleep.figures.tripartite_panels import condition_of
from neurosleep.sims.errors import InputError
from neurosleep.tripartite.rows import RunTrace

if TYPE_CHECKING:
    from neurosleep.experiments.results import Results


def additions(results: "Results") -> Sequence[Section]:
    """Draw what an experiment has beyond the comparison of its conditions, into ``figures``; return its sections."""
    if not results.records:
        return []
    folder = results.folder / "figures"
    folder.mkdir(exist_ok=True)
    if isinstance(results.experiment, StudyExperiment):
        return _studied(results, results.experiment)
    traces: dict[tuple[float, bool], list[RunTrace]] = {}
    for run, record in results.records.items():
        found = condition_of(results.experiment.conditions[run.condition].night)
        if found is not None and record.get("looks"):
            traces.setdefault(found, []).append(RunTrace.of(record["looks"]))
    if not traces:
        return []
    caption = (
        "Along the iterations of each task, as in the figures of Robinson et al. 2022 of the same number: means over "
        "seeds. p is the share of weights pruned before each task."
    )
    return [Section("Within tasks", caption, figures=draw_all(traces, folder))]


def _studied(results: "Results", experiment: StudyExperiment) -> Sequence[Section]:
    records = [results.records[run] for run in sorted(results.records, key=lambda run: run.seed)]
    study, folder = experiment.study, results.folder / "figures"
    log = None
    for run, record in results.records.items():
        if record["log"] and log is None:
            log = results.spikes_file(run)
    sections = [Section("Results", f"Over {len(records)} seed{'' if len(records) == 1 else 's'}.", study.rows(records))]
    for figure in study.draw(records, folder, log):
        if figure.stem not in study.captions:
            raise InputError(f"{type(study).__name__} draws {figure.name}, but has no caption for it")
        sections.append(Section("", study.captions[figure.stem], figures=[figure]))
    return sections
