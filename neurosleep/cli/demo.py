"""The command `neurosleep demo`."""

from pathlib import Path

import click

from neurosleep.cli.run import configuration, perform, workers_option

DEMO_SETTINGS = (
    "dataset=mnist-small",
    'methods=["sequential", "src", "joint"]',
    "images_per_task=2000",
    "epochs=5",
    "joint_epochs=5",
)


@click.command(short_help="Show sleep at work on real digits, in about a minute.")
@click.option(
    "--seeds", type=click.IntRange(min=1), metavar="N", default=4, show_default=True, help="Independent runs."
)
@workers_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("neurosleep-demo"),
    show_default=True,
    help="Folder for the results.",
)
def demo(seeds: int, workers: int | None, out: Path) -> None:
    """Show sleep at work on 12,000 real digits that ship with the package; no network needed.

    Five tasks of two digits each, learned one after the other: without sleep, with sleep after each task, and all at
    once. Same as `neurosleep run src-mnist` with fewer images.
    """
    perform("src-mnist", configuration("src-mnist", DEMO_SETTINGS), seeds, workers, "cpu", None, out)
