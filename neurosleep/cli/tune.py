"""The command `neurosleep tune`."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import click

from neurosleep.cli.arguments import PROCESSES, Number, Place, Whole, imports_option
from neurosleep.cli.ending import fail
from neurosleep.sims.errors import InputError
from neurosleep.sims.places import to_write


@click.command(
    short_help="Search for the night after which most is remembered.",
    epilog="""\b
    For example, for an hour:
      neurosleep tune src-mnist --set dataset=mnist-small --timeout 3600
      neurosleep run tune/src-mnist/best.toml
    \b
    To search other values, too, or in other ranges:
      neurosleep tune src-mnist --search inc=0.001:0.1:log --search epochs=1:4
    \b
    Between choices:
      neurosleep tune src-mnist --search "loss=squared-error|cross-entropy"
    """,
)
@click.argument("experiment")
@click.option(
    "--trials", type=Whole(1, 10**6), default=100, show_default=True, metavar="N", help="Finished trials in all."
)
@click.option("--workers", type=PROCESSES, metavar="N", help="Processes [default: one per core].")
@click.option(
    "--storage",
    metavar="URL",
    help="File or URL of any Optuna storage; one search at a time [default: OUT/journal.log].",
)
@click.option(
    "--sampler",
    type=click.Choice(["tpe", "nsga2"]),
    default="tpe",
    show_default=True,
    help="How values are chosen: tree-structured Parzen estimators, or the genetic algorithm NSGA-II.",
)
@click.option(
    "--objective",
    type=click.Choice(["mean", "mean-sd"]),
    default="mean",
    show_default=True,
    help="Mean accuracy over the orders, or that minus their standard deviation.",
)
@click.option(
    "--condition", metavar="NAME", help="Whose night is searched [default: the only one that sleeps, or src]."
)
@click.option(
    "--orders", type=Whole(1, 1000), metavar="N", default=3, show_default=True, help="Random orders of tasks."
)
@click.option(
    "--seed", type=Whole(0, 2**63 - 1), metavar="N", default=0, show_default=True, help="Of orders and sampler."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value, as in `run`; may be given several times.",
)
@click.option(
    "--search",
    "searches",
    multiple=True,
    metavar="KEY=LOW:HIGH[:log]",
    help="Search this value, too, or in this range; KEY=A|B|C for choices; KEY= to leave it as it is. Searched anyway: "
    "rate of the input, inc, dec, thresholds, gain and length of sleep.",
)
@click.option("--timeout", type=Number(min=1), metavar="SECONDS", help="Stop the search after that long.")
@click.option("--data-dir", type=Place(), help="Folder of data sets, as in `run`.")
@click.option(
    "--out",
    type=Place(path_type=Path, file_okay=False),
    help="Folder for what is found [default: tune/EXPERIMENT].",
)
@imports_option
def tune(
    experiment: str,
    trials: int,
    workers: int | None,
    storage: str | None,
    sampler: str,
    objective: str,
    condition: str | None,
    orders: int,
    seed: int,
    settings: tuple[str, ...],
    searches: tuple[str, ...],
    timeout: float | None,
    data_dir: str | None,
    out: Path | None,
) -> None:
    """Search for the night with which a condition of EXPERIMENT, one that ships or a TOML file, remembers most.

    Trials are judged on training images that were held out, in random orders of tasks that `neurosleep run` never uses.
    The night as it is comes first. Stop the search with Ctrl-C and give the same command to go on; more trials may be
    asked for later. What was found is an experiment again: neurosleep run OUT/best.toml
    """
    if find_spec("optuna") is None:
        raise InputError("neurosleep tune needs optuna: pip install 'neurosleep[tune]'")
    from neurosleep.experiments.loading import describe
    from neurosleep.experiments.perform import prepare
    from neurosleep.experiments.settings import with_settings
    from neurosleep.tables import table
    from neurosleep.tuning.kept import open_study
    from neurosleep.tuning.objective import FIRST_SEED, tunable
    from neurosleep.tuning.outcome import complete, write_outcome
    from neurosleep.tuning.space import published_space, searchable, with_searches
    from neurosleep.tuning.study import Search, run_search

    asked, told = with_settings(describe(experiment), settings)
    for line in told:
        click.echo(f"neurosleep: {line}", err=True)
    condition = tunable(asked, condition, experiment)
    values = searchable(asked, condition)
    if not any(setting.partition("=")[0].strip() in ("order", "stream.order") for setting in settings):
        values["stream"] = {**values.get("stream", {}), "order": "random"}
    search = Search(
        Path(experiment).stem,
        values,
        condition,
        with_searches(published_space(values, condition), searches, values, condition),
        tuple(range(FIRST_SEED + orders * seed, FIRST_SEED + orders * (seed + 1))),
        "nsga2" if sampler == "nsga2" else "tpe",
        1.0 if objective == "mean-sd" else 0.0,
        seed,
    )
    search.check()
    place = out or Path("tune") / Path(experiment).stem
    url = storage or str(place / "journal.log")
    if "://" not in url:
        to_write(url)
    whole = search.experiment({})
    prepare(replace(whole, conditions={condition: whole.conditions[condition]}), data_dir)
    place.mkdir(parents=True, exist_ok=True)
    stopped = False
    try:
        done = run_search(
            search,
            url,
            trials=trials,
            workers=workers or os.cpu_count() or 1,
            data_dir=data_dir,
            timeout=timeout,
            progress=True,
        )
    except KeyboardInterrupt:
        stopped, done = True, open_study(search, url).get_trials(deepcopy=False)
        if not complete(done):
            fail("stopped before a trial was finished; the same command goes on", 130)
    written, rows = write_outcome(search, done, place, asked.get("stream", {}))
    click.echo(table(rows))
    click.echo(f"\nresults in {place}: {', '.join(path.name for path in written)}")
    click.echo(f"to run what was found: neurosleep run {place / 'best.toml'}")
    if stopped:
        fail("stopped; the same command goes on from there", 130)
