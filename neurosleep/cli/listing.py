"""The command `neurosleep list`."""

import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

import click

WIDEST = 100  # columns; longer lines are hard to read


@click.command(name="list", short_help="List the experiments that ship.")
def list_experiments() -> None:
    """List the experiments that `neurosleep run` knows: those of the papers, and ours, with what each takes.

    Times are rough ones, of one seed with all conditions, on one core.
    """
    from neurosleep.experiments import library

    found = {name: library.described(name) for name in library.names()}
    papers = [name for name, values in found.items() if values.get("source")]
    groups = {"From papers": papers, "Questions of ours": [name for name in found if name not in papers]}
    columns = min(shutil.get_terminal_size().columns, WIDEST) - 1
    for title, names in groups.items():
        click.secho(f"{title}\n", bold=True)
        for name in names:
            click.echo(_entry(name, found[name], columns))
    click.echo("Run one: neurosleep run NAME\nSee what is in it: neurosleep run NAME --show")


def _entry(name: str, values: Mapping[str, Any], columns: int) -> str:
    """Return an experiment as a few lines: its name and what it takes; what it asks, and where that is from."""
    seeds = values["seeds"] if isinstance(values["seeds"], int) else len(values["seeds"])
    asked = f"{values['question']} ({values['source']})" if values.get("source") else values["question"]
    lines = textwrap.fill(asked, columns, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return f"  {click.style(name, fg='cyan')} · {values['cost']}, {seeds} seeds\n{lines}\n"
