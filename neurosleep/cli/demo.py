"""The command `neurosleep demo`."""

from pathlib import Path

import click

from neurosleep.cli.arguments import COUNT, Place
from neurosleep.cli.run import changed, perform, workers_option

SETTINGS = (
    "dataset=mnist-small",
    'conditions=["sequential", "src", "joint"]',
    "images_per_task=2000",
    "epochs=5",
)


@click.command(short_help="Show sleep at work on real digits, in about a minute.")
@click.option("--seeds", type=COUNT, metavar="N", default=4, show_default=True, help="Independent runs.")
@workers_option
@click.option(
    "--out",
    type=Place(path_type=Path),
    default=Path("neurosleep-demo"),
    show_default=True,
    help="Folder for the results.",
)
def demo(seeds: int, workers: int | None, out: Path) -> None:
    """Show sleep at work on 12,000 real digits that ship with the package; no network needed.

    Five tasks of two digits each, learned one after the other: without sleep, with sleep after each task, and all at
    once. Same as `neurosleep run src-mnist` with fewer images.
    """
    from neurosleep.experiments.loading import describe

    settings = (*SETTINGS, f"seeds={seeds}")
    perform(changed(describe("src-mnist"), settings, "demo"), out, workers=workers)
