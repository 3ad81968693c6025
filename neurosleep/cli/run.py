"""The command `neurosleep run`."""

import os
from pathlib import Path
from typing import Any

import click

from neurosleep.cli.ending import fail
from neurosleep.sims.errors import InputError

seeds_option = click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Independent runs: seeds 0 to N-1 [default: the published number].",
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Runs at the same time [default: one per core]."
)
device_option = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where torch trains."
)


@click.command(
    short_help="Run a simulation of a paper.",
    epilog="""\b
    For example, a quick look with other parameters (--show-config shows them all):
      neurosleep run src-mnist --seeds 1 --set dataset=mnist-small --set epochs=5""",
)
@click.argument("name")
@seeds_option
@workers_option
@device_option
@click.option(
    "--data-dir",
    type=click.Path(),
    help="Folder of data sets [default: $NEUROSLEEP_DATA, else downloaded once to your cache].",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results [default: runs/NAME].")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a parameter; may be given several times."
)
@click.option(
    "--preset", metavar="NAME", help="Begin with parameters that ship under this name (see `neurosleep list`)."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Begin with the parameters of this file: config.toml of a run, or best.toml of `neurosleep tune`.",
)
@click.option("--show-config", is_flag=True, help="Print the parameters and their values, and stop.")
def run(
    name: str,
    seeds: int | None,
    workers: int | None,
    device: str,
    data_dir: str | None,
    out: Path | None,
    settings: tuple[str, ...],
    preset: str | None,
    config_file: Path | None,
    show_config: bool,
) -> None:
    """Run the simulation NAME (see `neurosleep list`) with the published parameters.

    Everything goes into one folder: config.toml, results.json, figures, and spikes.h5 with every spike of the first
    seed. A run that was stopped goes on when the same command is given again; finished seeds are never repeated.
    """
    config = configuration(name, settings, preset, config_file)
    if show_config:
        from dataclasses import asdict

        from neurosleep.papers.config import to_toml

        click.echo(to_toml(asdict(config)), nl=False)
    else:
        place = Path("runs") / (f"{name}-{preset}" if preset else name)
        perform(name, config, seeds, workers, device, data_dir, out or place)


def found(name: str) -> Any:
    """Return the experiment of a name, or raise `InputError`."""
    from neurosleep.papers import EXPERIMENTS

    if name not in EXPERIMENTS:
        raise InputError(f"there is no simulation {name!r}; there are: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def configuration(name: str, settings: tuple[str, ...], preset: str | None = None, file: Path | None = None) -> Any:
    """Return an experiment's configuration: its defaults, then the preset, then the file, then what is set."""
    from neurosleep.papers import config

    experiment = found(name)
    base: dict[str, Any] = {}
    if preset is not None:
        if preset not in experiment.presets:
            known = ", ".join(experiment.presets) or "none"
            raise InputError(f"{name} has no preset {preset!r}; there are: {known}")
        base |= experiment.presets[preset]
    if file is not None:
        base |= config.read_parameters(file, name)
    return config.build(experiment.config_type, settings, base)


def perform(
    name: str,
    config: Any,
    seeds: int | None,
    workers: int | None,
    device: str,
    data_dir: str | None,
    out: Path,
) -> None:
    """Run a simulation into a folder, and say what came out."""
    try:
        from neurosleep.papers.runner import run_experiment
        from neurosleep.report import write_report
        from neurosleep.tables import table

        experiment = found(name)
        outcome = run_experiment(
            experiment,
            config,
            out,
            seeds=seeds or experiment.seeds,
            workers=workers or os.cpu_count() or 1,
            device=device,
            data_dir=data_dir,
        )
        if outcome.finished:
            written, rows = write_report(out)
            click.echo(table(rows))
            click.echo(f"\nsleep took {outcome.sleep_seconds:.1f} s in a run (median of {outcome.finished})")
            click.echo(f"results in {out}: {', '.join(path.name for path in written)}")
    except KeyboardInterrupt:
        fail(f"stopped; what was finished is kept in {out}, and the same command goes on from there", 130)
    if outcome.failed:
        fail(
            f"{len(outcome.failed)} of {outcome.wanted} runs failed, see {out / 'runs'} for the whole story; "
            "the same command tries them again",
            1,
        )
