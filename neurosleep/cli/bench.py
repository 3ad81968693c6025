"""The command `neurosleep bench`."""

import os
from pathlib import Path

import click

from neurosleep.cli.arguments import COUNT, Place


def _check_widths(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 9 and 10 <= int(word) <= 20_000 for word in words):
        raise click.BadParameter(f"give numbers from 10 to 20000 with commas between them, got {text!r}.")
    return tuple(sorted({int(word) for word in words}))


@click.command(short_help="Measure speed against other ways to do the same.")
@click.option(
    "--suite",
    type=click.Choice(["nights", "replay", "conversion", "rules", "graph"]),
    default="nights",
    show_default=True,
    help="Nights of spontaneous replay; an iteration of tripartite sleep against the public code's way of working; "
    "what conversion costs in accuracy, beside SpikingJelly's and sinabs' converters; rules of one's own "
    "against the built-in one and Brian2; or a ResNet-18 asleep against a loop of dense products.",
)
@click.option("--quick", is_flag=True, help="A look in less than a minute: widths 300 and 1200, 3 rounds, no Brian2.")
@click.option(
    "--widths",
    metavar="N,N,...",
    callback=_check_widths,
    help="Neurons in each hidden layer [default: 300,1200,4800,12000].",
)
@click.option("--rounds", type=COUNT, metavar="N", help="How often each is timed [default: 15; replay: 5].")
@click.option(
    "--data-dir",
    type=Place(exists=True, file_okay=False),
    envvar="NEUROSLEEP_DATA",
    help="Folder that holds MNIST [default: $NEUROSLEEP_DATA, else the digits that ship with the package].",
)
@click.option(
    "--out",
    type=Place(path_type=Path, file_okay=False),
    default=Path("bench"),
    show_default=True,
    help="Folder for the results.",
)
def bench(
    suite: str, quick: bool, widths: tuple[int, ...] | None, rounds: int | None, data_dir: str | None, out: Path
) -> None:
    """Time this package against PyTorch, NumPy and Brian2 on the same nights, and against what this machine can do.

    Everything runs in turns on one core unless it says otherwise, and is checked to compute the same spikes. Brian2
    takes part where it is installed: pip install 'neurosleep[bench]'.
    """
    if out.is_dir() and not os.access(out, os.W_OK | os.X_OK):  # before minutes of measuring
        raise click.UsageError(f"--out: {out} is no folder that you may write into; choose another.")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before NumPy looks at them
        os.environ[name] = "1"
    if suite == "replay":
        from neurosleep.benchmarks import replay

        replay.run(quick, rounds, out)
        return
    if suite == "conversion":
        from neurosleep.benchmarks import conversion

        conversion.run(100 if quick else 1000, data_dir, out, ["MNIST MLP"] if quick else list(conversion.CASES))
        return
    if suite == "rules":
        from neurosleep.benchmarks import rules

        rules.run(quick, rounds, data_dir, out)
        return
    if suite == "graph":
        from neurosleep.benchmarks import graph

        graph.run(quick, rounds, out)
        return
    from neurosleep.benchmarks.bench import Options
    from neurosleep.benchmarks.bench import run as measure

    usual = (300, 1200) if quick else (300, 1200, 4800, 12_000)
    measure(Options(widths or usual, rounds or (3 if quick else 15), quick, data_dir), out)
