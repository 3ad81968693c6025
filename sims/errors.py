"""Errors raised at the public edge of every part of the package."""

import difflib
from collections.abc import Collection
from typing import Any


class NeurosleepError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(NeurosleepError, ValueError):
    """An argument or a file is not what was expected.

    The message says what was expected, what came, where, and how to mend it.
    """


class BackendError(NeurosleepError, RuntimeError):
    """A backend was asked for that this machine cannot run."""


def unknown(what: str, got: Any, known: Collection[str]) -> str:
    """Say that there is no such name, which is nearest, and which there are."""
    near = difflib.get_close_matches(str(got), known, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {what}{'' if got is None else f' {got!r}'}{meant} (known: {', '.join(known)})"
