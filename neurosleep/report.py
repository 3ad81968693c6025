"""Results for people: one self-contained HTML page."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from neurosleep.files import reading, write_text
from neurosleep.papers import EXPERIMENTS
from neurosleep.papers import config as configuration
from neurosleep.papers.folder import RunFolder
from neurosleep.sims.errors import InputError
from neurosleep.tables import number


def write_report(folder: Path) -> tuple[list[Path], list[dict[str, Any]]]:
    """Draw the figures of a run's or an experiment's folder again; write them with its table into ``report.html``.

    Returns
    -------
    The page and the figures, and the rows of the table.

    Raises
    ------
    InputError
        If the folder has no results, or no finished run, or they are damaged.
    """
    if (folder / "experiment.toml").exists():
        from neurosleep.experiments import Results

        found = Results.open(folder)
        summary = found.summary().to_dict("index")
        return [found.report()], [{"condition": name, **row} for name, row in summary.items()]
    run_folder = RunFolder(folder)
    results = run_folder.read_results()
    name = results.experiment
    if name not in EXPERIMENTS:
        raise InputError(
            f"{folder} holds results of {name!r}, which this version does not know; known: {', '.join(EXPERIMENTS)}"
        )
    if not results.runs:
        raise InputError(f"{folder} holds no finished run: start the same command again to finish it")
    experiment = EXPERIMENTS[name]
    with reading(run_folder.results):
        config = configuration.convert(experiment.config_type, results.parameters)
        rows = experiment.summarize(config, results.runs)
        figures = experiment.draw(config, results.runs, folder)
    environment = Environment(loader=PackageLoader("neurosleep"), autoescape=True, trim_blocks=True)
    environment.filters["number"] = number
    page = environment.get_template("report.html").render(
        results=results,
        rows=rows,
        figures=[{"name": path.stem, "data": base64.b64encode(path.read_bytes()).decode()} for path in figures],
        configuration=configuration.to_toml({"experiment": name, "parameters": results.parameters}),
    )
    write_text(folder / "report.html", page)
    return [folder / "report.html", *figures], rows
