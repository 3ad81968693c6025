"""The page of an experiment, one file: question, answer, figures, statistics, and what is needed to do it again."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from neurosleep.experiments.comparison import Comparison
from neurosleep.experiments.page import figures, figures_night
from neurosleep.experiments.page.raster_view import raster_views
from neurosleep.files import write_text

if TYPE_CHECKING:
    from neurosleep.experiments.experiment import Experiment
    from neurosleep.experiments.results import Results

_NONE = "\N{EN DASH}"
_METRICS = {
    "accuracy": "accuracy on all tasks at the end",
    "old_accuracy": "accuracy on all tasks but the last",
    "new_accuracy": "accuracy on the last task",
}
_TESTS = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test", "permutation": "permutation of signs"}
_CORRECTIONS = {"holm": "Holm (1979)", "bonferroni": "Bonferroni", "none": "none"}


def write_report(results: "Results", *, night: int | None = None) -> Path:
    """Write ``report.html`` into the folder of an experiment: one page that needs nothing but a browser.

    The same results give the same bytes.

    Parameters
    ----------
    results
        Of the experiment, whole or half-finished.
    night
        Rasters are of the night after this task; after the last if None.

    Returns
    -------
    Where the page is.

    Raises
    ------
    InputError
        If plotly is not installed, or spikes of some nights are kept, but none of the night asked for.
    """
    from plotly.offline import get_plotlyjs  # slow

    plotly = get_plotlyjs()
    experiment, records = results.experiment, results.records
    names = list(experiment.conditions)
    rasters, unread = raster_views(results, night)
    drawn, many = {}, {}
    if records:
        drawn = {
            "accuracy": figures.accuracy(records, names),
            "time": figures.over_time(records, names),
            "tasks": figures.tasks(records, names),
            "hypnogram": figures_night.hypnogram(records, names),
        }
        many = {"rates": figures_night.rates(records, names), "weights": figures_night.weights(records, names)}
    compared = {name: _compared(results, name) for name in _METRICS}
    embedded = [f for f in drawn.values() if f is not None] + [f for group in many.values() for f in group]
    environment = Environment(loader=PackageLoader("neurosleep"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "p": _p, "points": _points}
    page = environment.get_template("experiment.html").render(
        results=results,
        experiment=experiment,
        runs=len(experiment.runs),
        answer=_tied(" ".join(_answer(results, compared["accuracy"]))),
        settings=_settings(experiment),
        summary=_summary(results) if records else [],
        styles=figures.styles(names),
        drawn=drawn,
        many=many,
        compared={_METRICS[name]: rows for name, rows in compared.items() if rows},
        method=_method(compared["accuracy"]),
        tests=_TESTS,
        rasters=rasters,
        unread=unread,
        other_nights=_other_nights(results, night),
        unlogged=any(map(figures_night.replays, records.values())),
        toml=experiment.to_toml(),
        versions=_distinct(record["versions"] for record in records.values()),
        machines=_distinct(record["machine"] for record in records.values()),
        hours=sum(record["seconds"]["total"] for record in records.values()) / 3600,
        data=_json([vars(figure) for figure in embedded]),
        raster_data=[
            {f.name: _json(vars(f)) for f in (view.raster, view.overview) if f is not None} for view in rasters
        ],
        plotly=Markup("" if not embedded else plotly.replace("</script", "<\\/script")),  # noqa: S704  # the library itself, not the user's
    )
    path = results.folder / "report.html"
    write_text(path, page)
    return path


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _compared(results: "Results", metric: str) -> list[Comparison]:
    """Compare all conditions with the first, as far as there are runs."""
    if len(results.experiment.conditions) < 2 or metric not in results.dataset:
        return []
    return list(results.compare_all(metric))


def _answer(results: "Results", compared: Sequence[Comparison]) -> list[str]:
    """Return the answer in sentences."""
    if not results.records:
        return ["No run is finished yet, so there is no answer."]
    first = next(iter(results.experiment.conditions))
    done = figures.of(results.records, first)
    sentences = []
    if done:
        mean, low, high = figures.interval([100 * record["accuracy"] for record in done])
        spread = f" (95 % interval {_number(low)} to {_number(high)}, {_seeds(len(done))})" if len(done) > 1 else ""
        spread = spread or " (one seed)"
        sentences.append(f"With “{first}”, {_number(mean)} % of all test inputs are right at the end{spread}.")
    said = []
    for row in compared:
        if not row.n:
            said.append(f"“{row.first}” cannot be compared yet")
            continue
        effect = f"“{row.first}” differs from it by {_points(row.effect)} points"
        if math.isnan(row.low):
            said.append(f"{effect} ({_seeds(row.n)}, so no interval)" if row.n == 1 else f"{effect} in every seed")
        else:
            interval = f"{_number(100 * row.confidence, 0)} % interval {_points(row.low)} to {_points(row.high)}"
            said.append(f"{effect} ({interval}, p {_p(row.p, sign=True)}, n = {row.n})")
    if said:
        sentences.append(f"{'; '.join(said)}.")
        sentences.append(_method(compared))
    return [sentence for sentence in sentences if sentence]


def _method(compared: Sequence[Comparison]) -> str:
    """Say how conditions were compared."""
    tested = [row for row in compared if not math.isnan(row.p)]
    if not tested:
        return "Nothing is tested: that needs two seeds whose results differ." if compared else ""
    row = tested[0]
    corrected = f", p corrected for {row.comparisons} comparisons by {_CORRECTIONS[row.correction]}"
    family = corrected if row.comparisons > 1 and row.correction != "none" else ""
    return f"Differences are between runs of the same seed ({row.alternative} {_TESTS[row.test]}{family})."


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"


def _tied(text: str) -> str:
    """Keep numbers on one line with what belongs to them."""
    return re.sub(
        r"(?<=\d) (?=%|points|seeds)|(?<=\bp) (?=[<=])|(?<=[<=]) (?=\d)|(?<=\bn) (?==)", "\N{NO-BREAK SPACE}", text
    )


def _other_nights(results: "Results", shown: int | None) -> list[int]:
    """Return the tasks after which there are nights whose spikes are kept, but not shown."""
    logged = [figures_night.replays(record) for record in results.records.values() if record["log"]]
    tasks = [{stage["task"] for stage in stages} for stages in logged if stages]
    seen = {max(own) for own in tasks} if shown is None else {shown}
    return sorted(set().union(*tasks) - seen)


def _settings(experiment: "Experiment") -> dict[str, list[str]]:
    """Return the settings by which conditions differ, with their value in each condition."""
    described: list[dict[str, str]] = []
    for name, condition in experiment.conditions.items():
        flat = {"night": ", ".join(type(stage).__name__ for stage in condition.night) or "none"}
        kinds = [type(stage).__name__ for stage in condition.night]
        for i, stage in enumerate(condition.night):
            number = f" {kinds[: i + 1].count(kinds[i])}" if kinds.count(kinds[i]) > 1 else ""
            flat |= _flat(stage, f"{kinds[i]}{number}")
        flat |= {key: _value(getattr(condition, key)) for key in ("method", "first_night")}
        flat["lesions"] = "; ".join(map(_lesion, condition.lesions)) or "none"
        if condition.night:
            flat |= {key: _value(getattr(condition, key)) for key in ("steps_more", "cycles")}
        flat |= _flat(experiment.network_of(name), "network") | _flat(experiment.training_of(name), "training")
        described.append(flat)
    keys = list(dict.fromkeys(key for flat in described for key in flat))
    differing = [key for key in keys if len({flat[key] for flat in described if key in flat}) > 1]
    return {key: [flat.get(key, _NONE) for flat in described] for key in differing}


def _flat(value: Any, name: str) -> dict[str, str]:
    """Return the settings of an object by their names, those of its parts after it."""
    found: dict[str, str] = {}
    for field in fields(value):
        item, key = getattr(value, field.name), f"{name} {field.name}"
        if is_dataclass(item):
            found |= {key: type(item).__name__} | _flat(item, key)
        else:
            found[key] = _value(item)
    return found


def _lesion(lesion: Any) -> str:
    given = ", ".join(f"{f.name} {_value(getattr(lesion, f.name))}" for f in fields(lesion) if getattr(lesion, f.name))
    return f"{type(lesion).__name__}{f' ({given})' if given else ''}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_value(item)}" for key, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = [_value(item) for item in value]
        return ", ".join(items) if len(items) <= 12 else f"{', '.join(items[:10])}, … ({len(items)})"
    return "none" if value is None else str(value)


def _summary(results: "Results") -> list[dict[str, Any]]:
    return [{"condition": name, **row} for name, row in results.summary().to_dict("index").items()]


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def _number(value: float, digits: int = 1) -> str:
    """Write a number with a real minus sign, and what is not defined as a dash."""
    return _NONE if value is None or math.isnan(value) else f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return _NONE if math.isnan(share) else f"{100 * share:+z.1f}".replace("-", "\N{MINUS SIGN}")


def _p(p: float, sign: bool = False) -> str:
    """Write a p value."""
    if math.isnan(p):
        return _NONE
    return "< 0.001" if p < 0.001 else f"{'= ' if sign else ''}{p:.3f}"
