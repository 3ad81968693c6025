"""Errors raised at the public edge of every part of the package."""


class NeurosleepError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(NeurosleepError, ValueError):
    """An argument or a file is not what was expected.

    The message says what was expected, what came, where, and how to mend it.
    """


class BackendError(NeurosleepError, RuntimeError):
    """A backend was asked for that this machine cannot run."""
