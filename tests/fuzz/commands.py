"""The command line in this process: what it prints, or one of the package's own errors."""

import contextlib
import io
import sys
from typing import Any

from neurosleep.cli import main
from neurosleep.sims.errors import InputError

from .formats import sane


def command(*words: str) -> str:
    """Return what `neurosleep WORDS` prints.

    Raises
    ------
    InputError
        If it ends with exit code 2; with all that stands on stderr, which is to be one line.
    NonsenseError
        If it ends with another exit code.
    """
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["neurosleep", *words]
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    if code == 2:
        raise InputError(err.getvalue().rstrip("\n"))
    sane(code == 0, f"exit code {code}: {err.getvalue()[:200]}")
    return out.getvalue()
