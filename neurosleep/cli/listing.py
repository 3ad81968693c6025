"""The command `neurosleep list`."""

import click


@click.command(name="list", short_help="List the simulations.")
def list_experiments() -> None:
    """List the simulations that `neurosleep run` knows."""
    from neurosleep.papers import EXPERIMENTS

    width = max(map(len, EXPERIMENTS))
    for name, experiment in EXPERIMENTS.items():
        presets = f" [presets: {', '.join(experiment.presets)}]" if experiment.presets else ""
        click.echo(f"{name:{width}}  {experiment.summary}{presets}")
