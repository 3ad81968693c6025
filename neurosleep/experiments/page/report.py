"""The page of an experiment, one file: question, answer, figures, statistics, and what is needed to do it again."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from neurosleep.experiments.comparison import Comparison
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.page import figures, figures_night
from neurosleep.experiments.page.additions import additions
from neurosleep.experiments.page.answer import answer, method, number, p_value, points, tied
from neurosleep.experiments.page.differences import settings
from neurosleep.experiments.page.raster_view import SPIKES_AT_MOST, raster_views
from neurosleep.experiments.page.section import Section
from neurosleep.experiments.record import RunId
from neurosleep.experiments.study import StudyExperiment
from neurosleep.figures import conditions as shown
from neurosleep.figures import experiment as papers
from neurosleep.files import write_text
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader

if TYPE_CHECKING:
    from neurosleep.experiments.results import Results

_METRICS = {
    "accuracy": "accuracy on all tasks at the end",
    "old_accuracy": "accuracy on all tasks but the last",
    "new_accuracy": "accuracy on the last task",
}


class Written(NamedTuple):
    """Where a page is, and what of its runs could not be read, with why: it is told there, too."""

    path: Path
    unread: list[str]


def write_report(results: "Results", extras: Sequence[Section] = (), *, night: int | None = None) -> Path:
    """Write ``report.html`` into the folder of an experiment: one page that needs nothing but a browser.

    Beside it, its figures are written as PNG and SVG into ``figures``. The same results give the same bytes. Spikes
    that cannot be read are left out, and the page says so.

    Parameters
    ----------
    results
        Of the experiment, whole or half-finished.
    extras
        Sections to add to those that the experiment has.
    night
        The page opens on a night after this task; on the first if None. Others can be chosen on the page, as far as
        there is room for their spikes.

    Returns
    -------
    Where the page is.

    Raises
    ------
    InputError
        If a figure of `extras` cannot be read, or spikes of some nights are kept, but none of the night asked for.
    """
    return write_page(results, extras, night).path


def write_page(results: "Results", extras: Sequence[Section] = (), night: int | None = None) -> Written:
    """Do as `write_report`, and say what could not be read."""
    from plotly.offline import get_plotlyjs  # slow

    plotly = get_plotlyjs()
    experiment, records = results.experiment, results.records
    names = list(experiment.conditions)
    study = isinstance(experiment, StudyExperiment)
    own, rasters = figures.by_condition(records, names), raster_views(results, night)
    drawn, many = {}, {}
    unread = list(rasters.unread)
    if not study:
        _write_figures(results, unread)
    added = additions(results, unread)
    unread = list(dict.fromkeys(unread))
    if records and not study:
        drawn = {
            "accuracy": figures.accuracy(records, names),
            "time": figures.over_time(records, names),
            "tasks": figures.tasks(records, names),
            "hypnogram": figures_night.hypnogram(records, names),
        }
        many = {"rates": figures_night.rates(records, names), "weights": figures_night.weights(records, names)}
    compared = {name: _compared(results, name) for name in _METRICS}
    embedded = [f for f in drawn.values() if f is not None] + [f for group in many.values() for f in group]
    environment = Environment(
        loader=PackageLoader("neurosleep.experiments.page", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "p": p_value, "points": points, "cell": _cell, "breaking": _breaking}
    page = environment.get_template("experiment.html").render(
        results=results,
        experiment=experiment,
        runs=len(experiment.runs),
        study=study,
        answer="" if study else tied(" ".join(answer(results, compared["accuracy"]))),
        settings=settings(experiment) if isinstance(experiment, Experiment) else {},
        summary=results.rows() if records and not study else [],
        styles=shown.styles(names),
        drawn=drawn,
        many=many,
        compared={_METRICS[name]: rows for name, rows in compared.items() if rows},
        method=method(compared["accuracy"]),
        extras=[*added, *extras],
        chance=None if study else shown.chance(own),
        most_bands=shown.MOST_BANDS,
        room=SPIKES_AT_MOST,
        rasters=rasters,
        unread=unread,
        unlogged=any(map(figures_night.replays, records.values())),
        toml=experiment.to_toml(),
        versions=_distinct(record["versions"] for record in records.values()),
        machines=_distinct(record["machine"] for record in records.values()),
        hours=sum(record["seconds"]["total"] for record in records.values()) / 3600,
        data=_json([vars(figure) for figure in embedded]),
        raster_data=[[_json(vars(f)) for f in (v.raster, v.overview) if f is not None] for v in rasters.views],
        night_data=_json([[v.condition, v.seed, v.task, v.rule] for v in rasters.views]),
        plotly=Markup("" if not embedded else plotly.replace("</script", "<\\/script")),  # noqa: S704  # the library itself, not the user's
    )
    path = results.folder / "report.html"
    write_text(path, page)
    return Written(path, unread)


def write_figures(results: "Results") -> list[Path]:
    """Write the figures of an experiment as PNG and SVG into ``figures`` in its folder, and return them.

    The raster is of the first night that spikes were kept of. The same results give the same bytes.
    """
    return _write_figures(results, [])


def _write_figures(results: "Results", unread: list[str]) -> list[Path]:
    own = figures.by_condition(results.records, list(results.experiment.conditions))
    if not results.records:
        return []
    folder = results.folder / "figures"
    for name in own:
        for seed, record in sorted(own[name].items()):
            if record["log"] and (nights := figures_night.replays(record)):
                try:
                    with results.spikes(name, seed) as reader:
                        return papers.draw(own, folder, (name, reader, _epoch(reader, nights[0]["begin"])))
                except InputError as error:
                    unread.append(f"{RunId(name, seed)}: {error}")
    return papers.draw(own, folder)


def _epoch(reader: SpikeReader, begin: int) -> int:
    """Return the epoch that begins at a step."""
    starts = [epoch.start for epoch in reader.epochs]
    if begin not in starts:
        raise InputError(
            f"{reader.path} is not of this run, whose record tells of other nights; restore it from a copy"
        )
    return starts.index(begin)


def _breaking(name: str) -> Markup:
    """Return a name that may be broken where `wrapped` would break it."""
    return Markup("<wbr>").join(shown.parts(name))


def _cell(value: Any) -> str:
    """Write a value of a table: numbers below 1 with three digits, those above with one decimal."""
    if not isinstance(value, float | None):
        return str(value)
    small = value is not None and 0 < abs(value) < 1
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}") if small else number(value)


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _compared(results: "Results", metric: str) -> list[Comparison]:
    """Compare all conditions with the first, as far as there are runs."""
    if isinstance(results.experiment, StudyExperiment) or len(results.experiment.conditions) < 2:
        return []
    if metric not in results.dataset:
        return []
    return list(results.compare_all(metric))


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
