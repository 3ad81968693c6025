"""The command `neurosleep report`."""

from pathlib import Path

import click

from neurosleep.cli.arguments import Place, imports_option


@click.command(short_help="Put results into one HTML page.")
@click.argument("folder", type=Place(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print nothing but the table, in Markdown.")
@imports_option
def report(folder: Path, markdown: bool) -> None:
    """Write report.html for the results in FOLDER: table, figures and experiment in one page."""
    from neurosleep import tables
    from neurosleep.experiments.page.report import write_page
    from neurosleep.experiments.results import Results
    from neurosleep.sims.errors import InputError

    results = Results.open(folder)
    if not results.records:
        raise InputError(f"{folder} holds no finished run: start the same command again to finish it")
    page, unread = write_page(results)
    for line in (*(f"{run}: {why}" for run, why in results.damaged.items()), *unread):
        click.echo(f"neurosleep: left out, as it cannot be read: {' '.join(line.split())}", err=True)
    rows = results.rows()
    if markdown:
        click.echo(tables.markdown(rows))
        return
    click.echo(f"{tables.table(rows)}\n\nwritten into {folder}: {page.name}, figures")
