"""The commands `neurosleep features` and `neurosleep backbone`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_data_dir = click.option(
    "--data-dir",
    type=click.Path(),
    help="Folder of data sets [default: $NEUROSLEEP_DATA, else downloaded once to your cache].",
)


@click.command(short_help="Compute the features of an image set.")
@click.argument("name", type=click.Choice(["cifar10", "cifar100"]))
@_data_dir
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights of the layers [default: those that ship, of CIFAR-100]."
)
def features(name: str, data_dir: str | None, weights: Path | None) -> None:
    """Compute what the convolutional layers make of the images of NAME, and keep it in your cache.

    Simulations that need features compute them by themselves; this shows what they will get, and how long it takes.
    """
    from neurosleep import vision
    from neurosleep.report import table

    rows = []
    for split in ("train", "test"):
        found = vision.features(name, split, data_dir, weights=weights)
        rows.append(
            {
                "split": split,
                "images": f"{len(found.labels):,}",
                "form": found.form,
                "mean": f"{found.inputs.mean(dtype='float64'):.4f}",
                "largest": f"{found.inputs.max():.4f}",
                "zero %": f"{100 * (found.inputs == 0).mean():.1f}",
                "divided by": f"{found.maximum:.3f}",
            }
        )
    click.echo(f"{table(rows)}\n\nin {vision.cache_folder()}")


@click.command(short_help="Train the layers that compute features.")
@_data_dir
@click.option("--images", type=click.Choice(["cifar10", "cifar100"]), default="cifar100", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=18, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--learning-rate", type=float, default=0.03, show_default=True, help="The highest of the schedule.")
@click.option("--momentum", type=float, default=0.9, show_default=True)
@click.option("--weight-decay", type=float, default=5e-4, show_default=True)
@click.option(
    "--schedule", type=click.Choice(["one-cycle", "cosine", "constant"]), default="one-cycle", show_default=True
)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Mirror and shift images at random.")
@click.option("--label-smoothing", type=float, default=0.0, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="bfloat16 is faster where the processor has it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("backbone"),
    show_default=True,
    help="Folder for checkpoint and weights.",
)
def backbone(data_dir: str | None, images: str, out: Path, **options: Any) -> None:
    """Train the convolutional layers, with two dense layers behind them, on an image set.

    The layers that ship were trained with the defaults. A training that was stopped, by whatever, goes on after its
    last whole epoch when the same command is given again, and ends as if it had not been stopped. Use the result with
    `neurosleep features NAME --weights OUT/backbone.npz`.
    """
    from neurosleep.backbone_training import BackboneTraining, train_backbone
    from neurosleep.data import load_cifar

    training = BackboneTraining(**options)
    train, test = load_cifar(images, "train", data_dir), load_cifar(images, "test", data_dir)

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
