"""The command `neurosleep spikes`."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosleep.cli.arguments import COUNT, INDEX, Place
from neurosleep.sims.errors import InputError

if TYPE_CHECKING:
    from neurosleep.interchange.source import Spikes
    from neurosleep.sims.spikes.reader import SpikeReader

FORMATS = {"sonata": "to_sonata", "nwb": "to_nwb", "nirdata": "to_nir_data", "csv": "to_csv"}


@click.command(short_help="Tell what is in a file of spikes, and draw it.")
@click.argument("file", type=Place(path_type=Path))
@click.option("--raster", type=Place(path_type=Path), metavar="PNG", help="Also draw the spikes into this file.")
@click.option("--epoch", type=COUNT, default=1, show_default=True, help="Which epoch (night) to draw.")
@click.option("--start", type=INDEX, default=0, show_default=True, help="First step to draw.")
@click.option("--steps", type=COUNT, default=1000, show_default=True, help="How many steps to draw.")
@click.option(
    "--to",
    "format_name",
    type=click.Choice(tuple(FORMATS)),
    help="Write the spikes for other software, too; see --out.",
)
@click.option("--out", type=Place(path_type=Path, dir_okay=False), help="File that --to writes.")
@click.option(
    "--subject",
    multiple=True,
    metavar="KEY=VALUE",
    help="Who slept, for --to nwb: subject_id, species, age, sex or description; else a simulated network. Repeatable.",
)
@click.option("--force", is_flag=True, help="Let --out replace a file.")
def spikes(
    file: Path,
    raster: Path | None,
    epoch: int,
    start: int,
    steps: int,
    format_name: str | None,
    out: Path | None,
    subject: tuple[str, ...],
    force: bool,
) -> None:
    """Tell what is in a spike log FILE: populations, epochs, spikes and rates; or write them for other software."""
    from neurosleep.interchange.source import open_spikes
    from neurosleep.tables import table

    if (format_name is None) != (out is None):
        raise click.UsageError("--to and --out belong together.")
    if subject and format_name != "nwb":
        raise click.UsageError("--subject belongs to --to nwb.")
    if wrong := [given for given in subject if "=" not in given]:
        raise click.UsageError(f"--subject takes KEY=VALUE, got {wrong[0]}.")
    options: dict[str, Any] = {"subject": dict(given.split("=", 1) for given in subject)} if subject else {}
    with open_spikes(file) as log:
        reader = log.reader
        rows = [_stage_row(log.during(stage)) for stage in log.stages]
        if raster is not None:
            _draw_raster(reader, raster, epoch, start, steps)
        if format_name is not None and out is not None:
            getattr(importlib.import_module("neurosleep.interchange"), FORMATS[format_name])(
                reader, out, overwrite=force, **options
            )
    state = "complete" if reader.complete else "not complete: its writer was stopped or is still writing"
    click.echo(f"{file}: {reader.n_steps:,} steps of {reader.dt * 1000:g} ms, {state}\n")
    click.echo(table(rows) if rows else "no epochs")
    if raster is not None:
        click.echo(f"\ndrawn into {raster}")
    if out is not None:
        click.echo(f"\nwritten into {out}")


def _stage_row(night: "Spikes") -> dict[str, Any]:
    (stage,) = night.stages
    row: dict[str, Any] = {"epoch": stage.name, "steps": f"{stage.stop - stage.start:,}"}
    for population in night.populations:
        counts = night.counts(population)
        row[population] = f"{counts.sum():,}"
        row[f"{population} Hz"] = f"{counts.mean() / night.seconds if night.steps else 0:.2f}"
    return row


def _draw_raster(reader: "SpikeReader", path: Path, epoch: int, start: int, steps: int) -> None:
    from matplotlib.figure import Figure

    from neurosleep.figures import panels as plots
    from neurosleep.sims.places import to_write
    from neurosleep.sims.whole import whole

    figure = Figure((9, 6), layout="constrained")
    kinds = figure.canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in kinds:
        raise InputError(f"--raster takes a file name that ends in .png, .pdf or .svg, got {path}")
    if not to_write(path).parent.is_dir():
        raise InputError(f"--raster: there is no folder {path.parent}; make it first")
    if epoch > len(reader.epochs):
        raise InputError(f"--epoch: {reader.path} has {len(reader.epochs)} epochs, got {epoch}")
    length = reader.epochs[epoch - 1].stop - reader.epochs[epoch - 1].start
    if start >= length:
        raise InputError(f"--start must be below {length}, the steps of epoch {epoch}, got {start}")
    plots.panels_raster(figure, reader, epoch - 1, start, steps)
    with whole(path) as half:
        figure.savefig(half, format=path.suffix.lower().removeprefix("."), dpi=150)
