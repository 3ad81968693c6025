"""The commands `neurosleep features` and `neurosleep backbone`."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosleep.cli.arguments import COUNT, Number, Place, Whole

if TYPE_CHECKING:
    from neurosleep.data.catalogue import Split
    from neurosleep.features.architectures import Layers

SPLITS: tuple["Split", "Split"] = ("train", "test")
_data_dir = click.option(
    "--data-dir",
    type=Place(),
    help="Folder of data sets [default: $NEUROSLEEP_DATA, else downloaded once to your cache].",
)
_layers = click.option(
    "--layers",
    type=click.Choice(["vgg-cifar100", "conv-cifar10"]),
    default="vgg-cifar100",
    show_default=True,
    help="vgg-cifar100: 2048 values from 0 to 1 (sleep replay consolidation); conv-cifar10: 1024 signed values "
    "(brain-inspired replay, tripartite sleep).",
)


@click.command(short_help="Compute the features of an image set.")
@click.argument("name", type=click.Choice(["cifar10", "cifar100"]))
@_data_dir
@_layers
@click.option("--weights", type=Place(path_type=Path), help="Weights of the layers [default: those that ship].")
def features(name: str, data_dir: str | None, layers: "Layers", weights: Path | None) -> None:
    """Compute what the convolutional layers make of the images of NAME, and keep it in your cache.

    Simulations that need features compute them by themselves; this shows what they will get, and how long it takes.
    """
    from neurosleep.features import cache as vision
    from neurosleep.tables import table

    rows = []
    for split in SPLITS:
        found = vision.features(name, split, data_dir, layers=layers, weights=weights)
        row = {
            "split": split,
            "images": f"{len(found.labels):,}",
            "form": found.form,
            "mean": f"{found.inputs.mean(dtype='float64'):.4f}",
            "largest": f"{found.inputs.max():.4f}",
        }
        if layers == "conv-cifar10":
            row |= {
                "smallest": f"{found.inputs.min():.4f}",
                "s.d.": f"{found.inputs.std():.4f}",
                "negative %": f"{100 * (found.inputs < 0).mean():.1f}",
            }
        else:
            row |= {"zero %": f"{100 * (found.inputs == 0).mean():.1f}", "divided by": f"{found.maximum:.3f}"}
        rows.append(row)
    click.echo(f"{table(rows)}\n\nin {vision.cache_folder()}")


def _by_layers(vgg: object, conv: object) -> str:
    return f"{vgg}; conv-cifar10: {conv}"


@click.command(short_help="Train the layers that compute features.")
@_data_dir
@_layers
@click.option("--images", type=click.Choice(["cifar10", "cifar100"]), show_default=_by_layers("cifar100", "cifar10"))
@click.option("--epochs", type=COUNT, show_default=_by_layers(18, 100))
@click.option("--batch-size", type=COUNT, show_default=_by_layers(100, 128))
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), show_default=_by_layers("sgd", "adam"))
@click.option(
    "--learning-rate", type=Number(), show_default=_by_layers(0.03, 0.0001), help="The highest of the schedule."
)
@click.option("--momentum", type=Number(), default=0.9, show_default=True, help="Of SGD; the first beta of Adam.")
@click.option("--weight-decay", type=Number(), show_default=_by_layers(0.0005, 0))
@click.option(
    "--schedule",
    type=click.Choice(["one-cycle", "cosine", "constant"]),
    show_default=_by_layers("one-cycle", "constant"),
)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Mirror and shift images at random.")
@click.option("--label-smoothing", type=Number(), default=0.0, show_default=True)
@click.option("--seed", type=Whole(0, 2**63 - 1), default=0, show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float32"]),
    show_default=_by_layers("bfloat16", "float32"),
    help="bfloat16 is faster where the processor has it.",
)
@click.option(
    "--out",
    type=Place(path_type=Path, file_okay=False),
    default=Path("backbone"),
    show_default=True,
    help="Folder for checkpoint and weights.",
)
def backbone(data_dir: str | None, layers: "Layers", images: str | None, out: Path, **given: Any) -> None:
    """Train convolutional layers, with two dense layers and one output per class behind them, on an image set.

    The defaults are the recipes of the layers that ship. A training that was stopped, by whatever, goes on after its
    last whole epoch when the same command is given again, and ends as if it had not been stopped. Use the result with
    `neurosleep features NAME --layers LAYERS --weights OUT/backbone.npz`.
    """
    from neurosleep.data import load_cifar
    from neurosleep.features.recipes import IMAGES, RECIPES
    from neurosleep.features.training import train_backbone

    training = replace(RECIPES[layers], **{name: value for name, value in given.items() if value is not None})
    train, test = (load_cifar(images or IMAGES[layers], split, data_dir) for split in SPLITS)

    def show(measures: Mapping[str, float]) -> None:
        click.echo(
            f"epoch {measures['epoch']:3} of {training.epochs}: loss {measures['loss']:.4f}, "
            f"test accuracy {100 * measures['test_accuracy']:.2f} %"
        )

    try:
        weights = train_backbone(out, train, test, training, on_epoch=show)
    except KeyboardInterrupt:
        click.echo(f"neurosleep: stopped; the same command goes on after the last whole epoch, from {out}", err=True)
        sys.exit(130)
    click.echo(f"weights in {weights}")
