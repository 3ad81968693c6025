"""The command `neurosleep convert`."""

from pathlib import Path
from typing import Any

import click

from neurosleep.cli.arguments import COUNT, Number, Place
from neurosleep.cli.ending import fail

TARGETS = ("generic", "snntorch", "norse", "sinabs", "spikingjelly", "rockpool")
NORMALIZATIONS = ("percentile", "max", "model", "none")
MAX_POOL = ("refuse", "average", "winner", "any")


@click.command(short_help="Convert a trained network for neuromorphic toolchains.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--weights", type=Place(path_type=Path), metavar="FILE", help="State dict for the network that MODEL makes."
)
@click.option(
    "--calibration",
    required=True,
    metavar="DATA",
    help="Inputs over which activations are measured: an .npy file, an .npz file with `inputs` and, if there are, "
    "`labels`, or mnist-small, mnist, fashion-mnist or cifar10.",
)
@click.option("--test", metavar="DATA", help="Inputs and labels for the report [default: those of the calibration].")
@click.option("--target", type=click.Choice(TARGETS), default="generic", show_default=True, help="Who will run it.")
@click.option("--out", required=True, type=Place(path_type=Path), help="New folder for network and report.")
@click.option("--normalization", type=click.Choice(NORMALIZATIONS), default="percentile", show_default=True)
@click.option("--percentile", type=Number(0, 100, min_open=True), default=99.9, show_default=True, metavar="P")
@click.option("--per", type=click.Choice(["layer", "channel"]), default="layer", show_default=True)
@click.option(
    "--reset",
    type=click.Choice(["subtract", "zero"]),
    help="What a spike does to its neuron [default: of what the target does, that which loses less].",
)
@click.option(
    "--max-pool",
    type=click.Choice(MAX_POOL),
    default="refuse",
    show_default=True,
    help="What takes the place of max pooling.",
)
@click.option("--steps", type=COUNT, default=200, show_default=True, help="Steps that the report shows.")
@click.option(
    "--max-loss",
    type=Number(min=0),
    default=5.0,
    show_default=True,
    metavar="POINTS",
    help="Points (of 100) of accuracy that may be lost; if more are, nothing is written, and the command ends with 3.",
)
@click.option("--images", type=COUNT, default=500, show_default=True, help="Test inputs for the report.")
@click.option(
    "--trust",
    is_flag=True,
    help="Read TorchScript, too, which runs code in the file: only what you would run as a script.",
)
@click.option("--accept-changes", is_flag=True, help="Write even what the target will run differently.")
@click.option(
    "--data-dir",
    type=Place(exists=True, file_okay=False),
    envvar="NEUROSLEEP_DATA",
    help="Folder of data sets [default: $NEUROSLEEP_DATA, else downloaded once to your cache].",
)
def convert(model: str, weights: Path | None, calibration: str, test: str | None, out: Path, **options: Any) -> None:
    """Convert the trained network MODEL to a spiking one, and write it for a toolchain, with a report.

    MODEL is a file of torch.export (.pt2), in which nothing is run, or of TorchScript (.pt, with --trust); or
    module:factory, a function without arguments of a Python module, which is imported and called, and returns the
    network; its weights then come from --weights. The folder gets network.nir, report.json, report.txt and
    conversion.png.

    The report shows the accuracy of the trained network, with pooling replaced, normalised, and spiking. Without
    labels, the answers of the trained network count as right; of an output that is no class and no logit, the share of
    its variance that is explained.
    """
    from neurosleep.cli.conversion import LostTooMuch, Request, run

    request = Request(model, weights, calibration, test, out, **options)
    try:
        click.echo(run(request))
    except LostTooMuch as error:
        click.echo(error.text)
        fail(str(error), 3)
