"""How a command ends that cannot go on: one line on stderr, and an exit code."""

import sys
from typing import NoReturn

import click


def fail(message: str, code: int) -> NoReturn:
    """End the process: a message on stderr, on one line, and an exit code."""
    click.echo(f"neurosleep: {' '.join(message.split())}", err=True)
    sys.exit(code)
