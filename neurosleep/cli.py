"""The command line: `neurosleep demo | list | run | experiment | tune | report | convert | spikes | bench | ...`."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from neurosleep import __version__
from neurosleep.cli_convert import convert
from neurosleep.cli_experiment import ask
from neurosleep.cli_features import backbone, features
from neurosleep.cli_spikes import spikes
from neurosleep.cli_tune import tune
from neurosleep.sims.errors import BackendError, InputError

DEMO_SETTINGS = (
    "dataset=mnist-small",
    'methods=["sequential", "src", "joint"]',
    "images_per_task=2000",
    "epochs=5",
    "joint_epochs=5",
)


def main() -> None:
    """Run the command line; wrong input ends with exit code 2 and one line on stderr."""
    try:
        sys.exit(cli.main(standalone_mode=False, prog_name="neurosleep"))
    except click.UsageError as error:
        command = "neurosleep" if error.ctx is None else error.ctx.command_path
        _fail(f"{error.format_message()} See `{command} --help`.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (InputError, BackendError) as error:
        _fail(str(error), 2)
    except click.Abort:
        _fail("stopped", 130)
    except OSError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"neurosleep: {' '.join(message.split())}", err=True)
    sys.exit(code)


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="neurosleep")
@click.pass_context
def cli(context: click.Context) -> None:
    """Put trained neural networks to sleep, spike by spike, and see what they remember.

    Start with `neurosleep demo`: a network learns handwritten digits two at a time, forgets them, sleeps after each
    task, and remembers. It needs nothing but this package and takes about a minute.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_seeds = click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Independent runs: seeds 0 to N-1 [default: the published number].",
)
_workers = click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Runs at the same time [default: one per core]."
)
_device = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where torch trains."
)


@cli.command(short_help="Show sleep at work on real digits, in about a minute.")
@click.option(
    "--seeds", type=click.IntRange(min=1), metavar="N", default=4, show_default=True, help="Independent runs."
)
@_workers
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("neurosleep-demo"),
    show_default=True,
    help="Folder for the results.",
)
def demo(seeds: int, workers: int | None, out: Path) -> None:
    """Show sleep at work on 12,000 real digits that ship with the package; no network needed.

    Five tasks of two digits each, learned one after the other: without sleep, with sleep after each task, and all at
    once. Same as `neurosleep run src-mnist` with fewer images.
    """
    _run("src-mnist", configuration("src-mnist", DEMO_SETTINGS), seeds, workers, "cpu", None, out)


@cli.command(name="list", short_help="List the simulations.")
def list_experiments() -> None:
    """List the simulations that `neurosleep run` knows."""
    from neurosleep.experiments import EXPERIMENTS

    width = max(map(len, EXPERIMENTS))
    for name, experiment in EXPERIMENTS.items():
        presets = f" [presets: {', '.join(experiment.presets)}]" if experiment.presets else ""
        click.echo(f"{name:{width}}  {experiment.summary}{presets}")


@cli.command(
    short_help="Run a simulation of a paper.",
    epilog="""\b
    For example, a quick look with other parameters (--show-config shows them all):
      neurosleep run src-mnist --seeds 1 --set dataset=mnist-small --set epochs=5""",
)
@click.argument("name")
@_seeds
@_workers
@_device
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

        from neurosleep.experiments.config import to_toml

        click.echo(to_toml(asdict(config)), nl=False)
    else:
        place = Path("runs") / (f"{name}-{preset}" if preset else name)
        _run(name, config, seeds, workers, device, data_dir, out or place)


@cli.command(short_help="Put results into one HTML page.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print nothing but the table, in Markdown.")
def report(folder: Path, markdown: bool) -> None:
    """Write report.html for the results in FOLDER: table, figures and configuration in one page."""
    from neurosleep import report as reports

    written, rows = reports.write_report(folder)
    if markdown:
        click.echo(reports.markdown(rows))
        return
    click.echo(f"{reports.table(rows)}\n\nwritten into {folder}: {', '.join(path.name for path in written)}")


def _check_widths(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 10 <= int(word) <= 20_000 for word in words):
        raise click.BadParameter(f"give numbers from 10 to 20000 with commas between them, got {text!r}.")
    return tuple(sorted({int(word) for word in words}))


@cli.command(short_help="Measure speed against other ways to do the same.")
@click.option(
    "--suite",
    type=click.Choice(["nights", "replay", "conversion"]),
    default="nights",
    show_default=True,
    help="Nights of spontaneous replay; an iteration of tripartite sleep against the public code's way of working; or "
    "what conversion costs in accuracy, beside SpikingJelly's and sinabs' converters.",
)
@click.option("--quick", is_flag=True, help="A look in less than a minute: widths 300 and 1200, 3 rounds, no Brian2.")
@click.option(
    "--widths",
    metavar="N,N,...",
    callback=_check_widths,
    help="Neurons in each hidden layer [default: 300,1200,4800,12000].",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), metavar="N", help="How often each is timed [default: 15; replay: 5]."
)
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False),
    envvar="NEUROSLEEP_DATA",
    help="Folder that holds MNIST [default: $NEUROSLEEP_DATA, else the digits that ship with the package].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
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
    from neurosleep.benchmarks.bench import Options
    from neurosleep.benchmarks.bench import run as measure

    usual = (300, 1200) if quick else (300, 1200, 4800, 12_000)
    measure(Options(widths or usual, rounds or (3 if quick else 15), quick, data_dir), out)


for command in (ask, tune, convert, spikes, features, backbone):
    cli.add_command(command)


def found(name: str) -> Any:
    """Return the experiment of a name, or raise `InputError`."""
    from neurosleep.experiments import EXPERIMENTS

    if name not in EXPERIMENTS:
        raise InputError(f"there is no simulation {name!r}; there are: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def configuration(name: str, settings: tuple[str, ...], preset: str | None = None, file: Path | None = None) -> Any:
    """Return an experiment's configuration: its defaults, then the preset, then the file, then what is set."""
    from neurosleep.experiments import config

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


def _run(
    name: str,
    config: Any,
    seeds: int | None,
    workers: int | None,
    device: str,
    data_dir: str | None,
    out: Path,
) -> None:
    try:
        from neurosleep.experiments.runner import run_experiment
        from neurosleep.report import table, write_report

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
        _fail(f"stopped; what was finished is kept in {out}, and the same command goes on from there", 130)
    if outcome.failed:
        _fail(
            f"{len(outcome.failed)} of {outcome.wanted} runs failed, see {out / 'runs'} for the whole story; "
            "the same command tries them again",
            1,
        )
