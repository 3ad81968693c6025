"""The command `neurosleep tune`."""

import os
from importlib.util import find_spec
from pathlib import Path

import click

from neurosleep.sims.errors import InputError


@click.command(short_help="Search for parameters of sleep.")
@click.argument("name")
@click.option(
    "--trials", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Finished trials in all."
)
@click.option("--workers", type=click.IntRange(min=1), metavar="W", help="Processes [default: one per core].")
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
    help="nsga2 is the genetic algorithm.",
)
@click.option(
    "--objective",
    type=click.Choice(["mean", "mean-sd"]),
    default="mean",
    show_default=True,
    help="Mean accuracy over the orders, or that minus their standard deviation.",
)
@click.option("--method", default="src", show_default=True, help="What learns and sleeps, as in `run`: ewc+src, ...")
@click.option("--orders", type=click.IntRange(min=1), default=3, show_default=True, help="Random orders of tasks.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of orders and sampler.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a parameter, as in `run`.")
@click.option("--preset", metavar="NAME", help="Begin with a preset, as in `run`.")
@click.option(
    "--search",
    "searches",
    multiple=True,
    metavar="KEY=LOW:HIGH[:log]",
    help="Search a parameter too, or in another range; KEY=A|B|C for choices; KEY= to leave it as it is. The seven "
    "published ones and the length of sleep are searched anyway.",
)
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Stop the search then.")
@click.option("--data-dir", type=click.Path(), help="Folder of data sets, as in `run`.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder [default: tune/NAME].")
def tune(
    name: str,
    trials: int,
    workers: int | None,
    storage: str | None,
    sampler: str,
    objective: str,
    method: str,
    orders: int,
    seed: int,
    settings: tuple[str, ...],
    preset: str | None,
    searches: tuple[str, ...],
    timeout: float | None,
    data_dir: str | None,
    out: Path | None,
) -> None:
    """Search for the parameters of sleep with which the simulation NAME remembers most.

    Trials are judged on training images that were held out, in random orders of tasks that `neurosleep run` never uses.
    The published parameters are tried first. Stop the search with Ctrl-C and give the same command to go on; more
    trials may be asked for later. The best parameters are used by: neurosleep run NAME --config OUT/best.toml
    """
    if find_spec("optuna") is None:
        raise InputError("neurosleep tune needs optuna: pip install 'neurosleep[tune]'")
    from dataclasses import replace

    from neurosleep.cli.run import configuration, found
    from neurosleep.papers.src_methods import MethodName
    from neurosleep.tables import table
    from neurosleep.tuning.objective import FIRST_SEED, tunable
    from neurosleep.tuning.outcome import complete, write_outcome
    from neurosleep.tuning.space import published_space, with_searches
    from neurosleep.tuning.study import Search, open_study, run_search

    experiment = tunable(found(name))
    asked = configuration(name, settings, preset)
    shuffled = configuration(name, ("order=random", *settings), preset)
    if not MethodName.parse(method).sleeps:
        raise InputError(f"--method {method} does not sleep, so there is nothing to search: try {method}+src")
    begin = replace(shuffled, methods=(method,))
    search = Search(
        name,
        begin,
        with_searches(published_space(begin), searches, begin),
        tuple(range(FIRST_SEED + orders * seed, FIRST_SEED + orders * (seed + 1))),
        "nsga2" if sampler == "nsga2" else "tpe",
        1.0 if objective == "mean-sd" else 0.0,
        seed,
    )
    search.check()
    found(name).prepare(begin, data_dir)
    place = out or Path("tune") / experiment.name
    place.mkdir(parents=True, exist_ok=True)
    url = storage or str(place / "journal.log")
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
            raise click.Abort from None
    written, rows = write_outcome(search, done, place, {"methods": asked.methods, "order": asked.order})
    click.echo(table(rows))
    click.echo(f"\nresults in {place}: {', '.join(path.name for path in written)}")
    if stopped:
        raise click.Abort
