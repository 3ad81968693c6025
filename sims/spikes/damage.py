"""What is said of a spike file that is not as `SpikeLog` writes it, in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError


def damaged(path: str | os.PathLike[str], what: str) -> InputError:
    """Return the error to raise: what is wrong with a file, and how to mend it."""
    return InputError(f"{path} is damaged: {what}; restore the file from a copy, or simulate again")


@contextmanager
def readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say in one line that a file is damaged, of whatever HDF5 makes of its bytes; only for calls of HDF5."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory; read fewer steps at a time, see start and stop") from error
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise damaged(path, f"{type(error).__name__}, {' '.join(str(error).split())}") from error
