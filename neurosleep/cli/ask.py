"""The command `neurosleep experiment`."""

from pathlib import Path

import click


@click.command(
    "experiment",
    short_help="Ask a question about sleep; get an answer with its uncertainty.",
    epilog="""\b
    Questions that ship:
      sleep-length   Does sleep length have an optimum?
      stage-order    NREM then REM, or REM then NREM?
      downscaling    Does more downscaling protect early tasks at the expense of new ones?
      drive          Is replay driven by weights or by the statistics of the input?
      potentiation   What if potentiation is blocked?
    \b
    To ask your own, change one:
      neurosleep experiment sleep-length --show > mine.toml
      neurosleep experiment mine.toml""",
)
@click.argument("question")
@click.option(
    "--seeds", type=click.IntRange(min=1), metavar="N", help="Seeds 0 to N-1 instead of those of the question."
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Runs at the same time [default: one per core]."
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster that does the runs, as tcp://host:8786.")
@click.option(
    "--ensemble",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs that a worker takes at a time; their nights are simulated together.",
)
@click.option("--data-dir", type=click.Path(), help="Folder of data sets, as in `run`.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results [default: runs/QUESTION].")
@click.option("--show", is_flag=True, help="Print the question as TOML, to be changed, and stop.")
def ask(
    question: str,
    seeds: int | None,
    workers: int | None,
    scheduler: str | None,
    ensemble: int,
    data_dir: str | None,
    out: Path | None,
    show: bool,
) -> None:
    """Compare the conditions of a QUESTION over seeds: a TOML file, or a question that ships with the package.

    A command that was stopped goes on when it is given again. Seeds and conditions may be added later.
    """
    from dataclasses import replace

    from neurosleep.experiments.experiment import Experiment
    from neurosleep.experiments.library import shipped
    from neurosleep.sims.errors import InputError
    from neurosleep.tables import table

    asked = shipped(question) if not Path(question).suffix else Experiment.read(question)
    if seeds is not None:
        asked = replace(asked, seeds=seeds)
    if show:
        click.echo(asked.to_toml(), nl=False)
        return
    place = out or Path("runs") / Path(question).stem
    try:
        results = asked.run(place, workers=workers, scheduler=scheduler, ensemble=ensemble, data_dir=data_dir)
    except KeyboardInterrupt:
        raise InputError(
            f"stopped; what was finished is kept in {place}, and the same command goes on from there"
        ) from None
    click.echo(f"{asked.question}\n")
    click.echo(table(results.summary().reset_index().to_dict("records")))
    if len(asked.conditions) > 1:
        click.echo(f"\n{results.compare_all('accuracy')}")
    page = results.report()
    click.echo(f"\nresults in {place}: {page.name}, results.nc, results.csv")
    if results.failed:
        raise InputError(f"{len(results.failed)} runs failed, see {place / 'runs'}; the same command tries them again")
