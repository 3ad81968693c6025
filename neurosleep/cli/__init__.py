"""The command line: `neurosleep demo | list | run | tune | report | convert | spikes | bench | ...`."""

import io
import sys

import click

from neurosleep import __version__
from neurosleep.cli.bench import bench
from neurosleep.cli.convert import convert
from neurosleep.cli.demo import demo
from neurosleep.cli.ending import ending
from neurosleep.cli.features import backbone, features
from neurosleep.cli.listing import list_experiments
from neurosleep.cli.report import report
from neurosleep.cli.run import run
from neurosleep.cli.spikes import spikes
from neurosleep.cli.tune import tune


def main() -> None:
    """Run the command line; what cannot go on ends with exit code 2 and one line on stderr.

    The one front of all commands: what it does to the console holds for each.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a letter that the console lacks is replaced, and no reason to fail
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    with ending():
        sys.exit(cli.main(standalone_mode=False, prog_name="neurosleep"))


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


for command in (demo, list_experiments, run, report, tune, convert, spikes, features, backbone, bench):
    cli.add_command(command)
