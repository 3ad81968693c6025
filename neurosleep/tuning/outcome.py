"""What a search leaves behind: the best experiment, a table of all trials, and two figures."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import tomli_w
from matplotlib import rc_context
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from neurosleep.figures.panels import ASLEEP, AWAKE, STYLE, save
from neurosleep.files import write_json, write_text
from neurosleep.sims.errors import InputError
from neurosleep.tuning.kept import optuna_json
from neurosleep.tuning.study import Search


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were done to their end, best first."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    return sorted(done, key=lambda trial: -(trial.value or 0.0))


def write_outcome(
    search: Search, trials: Sequence[FrozenTrial], out: Path, stream: Mapping[str, Any] | None = None
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write best.toml, trials.csv, tune.json and the figures.

    Parameters
    ----------
    stream
        That of best.toml, if it is not that of the search (which shuffles tasks); values that were searched are kept.

    Returns
    -------
    The files, and rows of a table: the night searched from, and the best five trials.

    Raises
    ------
    InputError
        If no trial was done to its end.
    """
    done = complete(trials)
    if not done:
        raise InputError(f"no trial is finished yet in {out}: start the same command again")
    write_text(out / "best.toml", tomli_w.dumps(_best(search, done[0].params, stream)))
    write_text(out / "trials.csv", _csv(search, trials))
    write_json(
        out / "tune.json",
        {
            "search": optuna_json(search.told()),
            "optuna": optuna.__version__,
            "finished": len(done),
            "ended early": sum(trial.state == TrialState.PRUNED for trial in trials),
            "best": {"trial": done[0].number, "value": done[0].value, "chosen": done[0].params, **done[0].user_attrs},
        },
    )
    written = [out / "best.toml", out / "trials.csv", out / "tune.json", _draw_history(done, trials, out)]
    if len(done) >= 10 and len(search.space) > 1 and len({trial.value for trial in done}) > 1:
        written.append(_draw_importances(done, out))
    titles = short_names(search.space)
    first = next((trial for trial in done if trial.number == 0), None)
    named = [("where it began", first)] if first is not None else []
    named += [(f"trial {trial.number}", trial) for trial in done[:5] if trial.number]
    return written, [row(name, trial, titles) for name, trial in named]


def _best(search: Search, chosen: Mapping[str, Any], stream: Mapping[str, Any] | None) -> dict[str, Any]:
    found = search.description(chosen)
    if stream is None:
        return found
    ours = {path.removeprefix("stream."): value for path, value in chosen.items() if path.startswith("stream.")}
    return {**found, "stream": {**stream, **ours}}


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return for each path the shortest end of it that no other has, and that is not a mere number."""
    names = list(paths)
    found = {}
    for path in names:
        parts = path.split(".")
        ends = [".".join(parts[-n:]) for n in range(1, len(parts) + 1) if not parts[-n].isdecimal()]
        found[path] = next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in names) == 1), path)
    return found


def row(name: str, trial: FrozenTrial, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return a trial as a row of a table: its accuracies, and its values under their short names."""
    percent = 100 * np.array(trial.user_attrs["accuracies"])
    spread = float(percent.std(ddof=1)) if len(percent) > 1 else float("nan")
    cells = {"": name, "held out %": float(percent.mean()), "s.d.": spread, "orders": len(percent)}
    return {**cells, **{titles[key]: f"{v:.4g}" if isinstance(v, float) else str(v) for key, v in trial.params.items()}}


def _csv(search: Search, trials: Sequence[FrozenTrial]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", "value", "accuracies", *search.space])
    for trial in trials:
        accuracies = " ".join(f"{a:.4f}" for a in trial.user_attrs.get("accuracies", ()))
        chosen = [trial.params.get(name, "") for name in search.space]
        score = trial.value if trial.state == TrialState.COMPLETE else ""  # of fewer tasks, if it was ended early
        table.writerow([trial.number, trial.state.name.lower(), score, accuracies, *chosen])
    return text.getvalue()


def _draw_history(done: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], out: Path) -> Path:
    ordered = sorted(done, key=lambda trial: trial.number)
    numbers = [trial.number for trial in ordered]
    values = 100 * np.array([trial.value for trial in ordered])
    with rc_context(STYLE):
        figure = Figure((6, 3.5), layout="constrained")
        axes = figure.subplots()
        early = [t.number for t in trials if t.state == TrialState.PRUNED]
        if early:
            axes.plot(early, [values.min()] * len(early), "|", color=AWAKE, label=f"ended early ({len(early)})")
        axes.plot(numbers, values, "o", color=ASLEEP, markersize=3, label=f"finished ({len(done)})")
        axes.step(numbers, np.maximum.accumulate(values), where="post", color="#222222", label="best so far")
        axes.set(xlabel="trial", ylabel="score on held-out images (%)", title="Search")
        axes.legend(loc="lower right")
        return save(figure, out / "history.png")


def _draw_importances(done: Sequence[FrozenTrial], out: Path) -> Path:
    study = optuna.create_study(direction="maximize")
    study.add_trials(list(done))
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    names = list(shares)
    with rc_context(STYLE):
        figure = Figure((5, 0.8 + 0.3 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(names)), [100 * shares[name] for name in names], color=ASLEEP)
        titles = short_names(names)
        axes.set_yticks(range(len(names)), [titles[name] for name in names])
        axes.set(xlabel="importance for being among the best (%)", ylim=(len(names) - 0.5, -0.5))
        axes.set_title(f"What mattered (PED-ANOVA, {len(done)} trials)")
        return save(figure, out / "importances.png")
