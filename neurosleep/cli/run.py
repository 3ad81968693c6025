"""The command `neurosleep run`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurosleep.cli.arguments import COUNT, PROCESSES, Place, imports_option
from neurosleep.cli.ending import fail

if TYPE_CHECKING:
    from neurosleep.experiments.loading import AnyExperiment

seeds_option = click.option(
    "--seeds",
    type=COUNT,
    metavar="N",
    help="Independent runs of each condition, seeds 0 to N-1 [default: as many as the experiment says].",
)
workers_option = click.option(
    "--workers", type=PROCESSES, metavar="N", help="Runs at the same time [default: one per core]."
)


@click.command(
    short_help="Run an experiment: of a paper, a question of ours, or yours.",
    epilog="""\b
    For example, a quick look with other values (--show tells which there are):
      neurosleep run src-mnist --seeds 1 --set dataset=mnist-small --set epochs=5
    \b
    Of many conditions, these alone:
      neurosleep run src-mnist --set 'conditions=["sequential", "src"]'
    \b
    To ask a question of your own, change one that is there:
      neurosleep run sleep-length --show > mine.toml
      neurosleep run mine.toml""",
)
@click.argument("experiment")
@seeds_option
@workers_option
@click.option("--scheduler", metavar="ADDRESS", help="Let a Dask cluster do the runs: tcp://host:8786.")
@click.option(
    "--ensemble",
    type=COUNT,
    default=1,
    show_default=True,
    metavar="N",
    help="Runs that a worker takes at a time; their nights are simulated together.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where torch trains."
)
@click.option(
    "--data-dir",
    type=Place(),
    help="Folder of data sets [default: $NEUROSLEEP_DATA, else downloaded once to your cache].",
)
@click.option("--out", type=Place(path_type=Path), help="Folder for the results [default: runs/EXPERIMENT].")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value, see below; may be given several times.",
)
@imports_option
@click.option("--show", is_flag=True, help="Print the experiment as TOML, to be changed, and stop.")
def run(
    experiment: str,
    seeds: int | None,
    workers: int | None,
    scheduler: str | None,
    ensemble: int,
    device: str,
    data_dir: str | None,
    out: Path | None,
    settings: tuple[str, ...],
    show: bool,
) -> None:
    """Run an EXPERIMENT that ships (see `neurosleep list`), or a TOML file of yours.

    Its conditions are compared over seeds; records, figures and report.html go into one folder, with every spike of
    the first seed. A run that was stopped goes on when the same command is given again. Seeds and conditions may be
    added later.

    A KEY of --set is a path, as base.night.0.plasticity.inc, or the end of one that only one place has, as inc. One
    below `base` is that of every condition that has none of its own.
    """
    from neurosleep.experiments.loading import describe

    if seeds is not None:
        settings = (*settings, f"seeds={seeds}")
    values = describe(experiment)
    if show:
        from neurosleep.cli.showing import shown

        changed(values, settings, experiment)  # so that what is shown can be run
        click.echo(shown(experiment, values, settings), nl=False)
        return
    perform(
        changed(values, settings, experiment),
        out or Path("runs") / Path(experiment).stem,
        workers=workers,
        scheduler=scheduler,
        ensemble=ensemble,
        device=device,
        data_dir=data_dir,
    )


def changed(values: dict[str, object], settings: Sequence[str], source: str) -> "AnyExperiment":
    """Return the experiment of a description with some values set; say on stderr what they do not reach."""
    from neurosleep.experiments.loading import build
    from neurosleep.experiments.settings import with_settings

    values, told = with_settings(values, settings)
    for line in told:
        click.echo(f"neurosleep: {line}", err=True)
    return build(values, source)


def perform(
    experiment: "AnyExperiment",
    out: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    ensemble: int = 1,
    device: str = "cpu",
    data_dir: str | None = None,
) -> None:
    """Run an experiment into a folder, and say what came out."""
    from neurosleep.experiments import run as run_experiment
    from neurosleep.experiments.page.report import write_report
    from neurosleep.tables import table

    try:
        results = run_experiment(
            experiment,
            out,
            workers=workers,
            scheduler=scheduler,
            ensemble=ensemble,
            device=device,
            data_dir=data_dir,
        )
    except KeyboardInterrupt:
        fail(f"stopped; what was finished is kept in {out}, and the same command goes on from there", 130)
    click.echo(f"{experiment.question}\n")
    if results.records:
        click.echo(table(results.rows()))
        for line in results.answer():
            click.echo(f"\n{line}")
        for notice in results.notices:
            click.echo(f"\nnote: {notice}")
        if results.sleep_seconds:
            click.echo(f"\nsleep took {results.sleep_seconds:.1f} s in a run (median)")
    page = write_report(results)
    click.echo(f"results in {out}: {page.name}, figures, results.csv")
    if results.failed:
        fail(
            f"{len(results.failed)} of {len(experiment.runs)} runs failed, see {out / 'runs'} for the whole story; "
            "the same command tries them again",
            1,
        )
