"""How a command ends that cannot go on: one line on stderr, and an exit code."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TextIO

import click

from neurosleep.sims.errors import BackendError, InputError, wanted_memory

_SMALLER = {
    "run": "fewer --workers, a smaller --ensemble, or --set hidden and images_per_task to less",
    "demo": "fewer --workers",
    "tune": "fewer --workers, or --set hidden and images_per_task to less",
    "convert": "fewer --images",
    "spikes": "fewer --steps, or a --to that holds less in memory: csv or sonata",
    "backbone": "a smaller --batch-size",
    "bench": "smaller --widths, or --quick",
}

LONGEST = 2000
"""Letters of a message; what users gave may be longer."""


def fail(message: str, code: int) -> NoReturn:
    """End the process: a message on stderr, on one line, and an exit code."""
    line = " ".join(message.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
    with suppress(OSError):  # if there is nobody to tell, the code still says it
        click.echo(f"neurosleep: {shown}", err=True)
    sys.exit(code)


@contextmanager
def ending() -> Iterator[None]:
    """End the process with one line for what a command raises that is no fault of the package."""
    try:
        try:
            if any("\0" in word for word in sys.argv):
                raise click.UsageError("a word has a zero byte in it.")
            yield
        finally:
            _flush(sys.stdout)
    except click.UsageError as error:
        command = "neurosleep" if error.ctx is None else error.ctx.command_path
        fail(f"{error.format_message()} See `{command} --help`.", 2)
    except click.ClickException as error:
        fail(error.format_message(), 2)
    except (InputError, BackendError) as error:
        fail(str(error), 2)
    except click.Abort:
        fail("stopped", 130)
    except RecursionError:
        fail("a value or a file is nested too deeply: give one with fewer brackets or tables inside each other", 2)
    except (MemoryError, RuntimeError) as error:
        if (wanted := wanted_memory(error)) is None:
            raise
        smaller = next((_SMALLER[word] for word in sys.argv[1:] if word in _SMALLER), "something smaller")
        fail(f"there is not enough memory here ({wanted}): ask for {smaller}", 2)
    except OSError as error:
        name = "standard output" if error.filename is None and _of_console(error) else error.filename
        fail(f"{name}: {error.strerror}" if name is not None and error.strerror is not None else str(error), 2)
    finally:
        _flush(sys.stderr)


def _of_console(error: OSError) -> bool:
    """Whether it was raised by what writes to the console."""
    return traceback.extract_tb(error.__traceback__)[-1].filename.startswith(str(Path(click.__file__).parent))


def _flush(stream: TextIO | None) -> None:
    """Write out what a stream holds; if it cannot be, leave nothing for the interpreter, which would tell of it again.

    Raises
    ------
    OSError
        If stdout cannot be written, other than because its reader has gone.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if stream is sys.stdout and error.errno != errno.EPIPE:
            raise OSError(error.errno, error.strerror, "standard output") from error
