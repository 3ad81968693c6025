"""Errors raised at the public edge of every part of the package."""

import difflib
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any


class NeurosleepError(Exception):
    """Base of every error this package raises on purpose.

    It is told in one line, whatever names of a file are in it.
    """

    def __str__(self) -> str:
        """Return the message; what would break the line, or steer a terminal, is written as in Python's source."""
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in super().__str__())


class InputError(NeurosleepError, ValueError):
    """An argument or a file is not what was expected.

    The message says what was expected, what came, where, and how to mend it.
    """


class BackendError(NeurosleepError, RuntimeError):
    """A backend was asked for that this machine cannot run."""


def answer(what: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a function that anybody may have written says; what it raises becomes one line."""
    try:
        return function(*arguments, **named)
    except NeurosleepError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(f"{what} failed: {type(error).__name__}: {told}") from error


def wanted_memory(error: BaseException) -> str | None:
    """Return what an error says of memory that was not there, also one of torch; None if it is about something else."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return text or "it is not told how much was asked for"
    found = re.search(r"ried to allocate [\d.]+ \w+|Storage size calculation overflowed[^.]*", text)
    return found[0].replace("ried", "tried", 1) if found and isinstance(error, RuntimeError) else None


def redefined(thing: object, known: Iterable[type], methods: Iterable[str]) -> str:
    """Return which methods of a known class the class of a thing, derived from it, has replaced; "" if none."""
    base = next(kind for kind in known if isinstance(thing, kind))
    return " and ".join(f"{name}()" for name in methods if getattr(type(thing), name) is not getattr(base, name))


def unknown(what: str, got: object, known: Collection[str]) -> str:
    """Say that there is no such name, which is nearest, and which there are."""
    return f"no {what}{'' if got is None else f' {got!r}'}{nearest(got, known)} (known: {', '.join(known)})"


def nearest(got: object, known: Collection[str]) -> str:
    """Return ``; did you mean 'this'?`` if a known name is near, else nothing."""
    near = difflib.get_close_matches(str(got), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
