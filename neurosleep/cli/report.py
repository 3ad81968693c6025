"""The command `neurosleep report`."""

from pathlib import Path

import click


@click.command(short_help="Put results into one HTML page.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print nothing but the table, in Markdown.")
def report(folder: Path, markdown: bool) -> None:
    """Write report.html for the results in FOLDER: table, figures and configuration in one page."""
    from neurosleep import tables
    from neurosleep.report import write_report

    written, rows = write_report(folder)
    if markdown:
        click.echo(tables.markdown(rows))
        return
    click.echo(f"{tables.table(rows)}\n\nwritten into {folder}: {', '.join(path.name for path in written)}")
