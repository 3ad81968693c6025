"""Errors raised at the public edge of every part of the package."""

import difflib
from collections.abc import Collection


class NeurosleepError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(NeurosleepError, ValueError):
    """An argument or a file is not what was expected.

    The message says what was expected, what came, where, and how to mend it.
    """


class BackendError(NeurosleepError, RuntimeError):
    """A backend was asked for that this machine cannot run."""


def unknown(what: str, got: object, known: Collection[str]) -> str:
    """Say that there is no such name, which is nearest, and which there are."""
    return f"no {what}{'' if got is None else f' {got!r}'}{nearest(got, known)} (known: {', '.join(known)})"


def nearest(got: object, known: Collection[str]) -> str:
    """Return ``; did you mean 'this'?`` if a known name is near, else nothing."""
    near = difflib.get_close_matches(str(got), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
