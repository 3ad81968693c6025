"""`compiled`: Numba's `njit`, with the machine code kept in the user's cache instead of beside the source.

pip does not know the files that Numba would leave in the installed package: they would outlive an uninstall, and the
folder they keep alive would then hide an editable install.

Numba compiles a function anew when its own file changed, but not when a function changed that it calls from another
file. So the place of the machine code carries a digest of all compiled sources: a change in any of them is a new place.
"""

import hashlib
import logging
import multiprocessing
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from platformdirs import user_cache_dir

from .errors import BackendError, InputError
from .lock import Lock

_SETTINGS: Any = numba.config
_PATIENCE = 120.0  # seconds to wait for another process that compiles


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, once for all processes of this user.

    Arithmetic is as in NumPy: a division by zero gives inf or nan, which leaves loops free to run in vector registers.
    The environment variable ``NUMBA_CACHE_DIR`` names another place for the machine code. Where it cannot be kept, each
    process compiles anew, and one line of the log says so.

    Parameters
    ----------
    options
        Of `numba.njit`.

    Raises
    ------
    BackendError
        If the environment variable ``NUMBA_DISABLE_JIT`` forbids it.
    """
    if _SETTINGS.DISABLE_JIT:
        raise BackendError(
            "NUMBA_DISABLE_JIT is set, so nothing can be compiled: unset it, or choose the backend 'reference', which "
            "needs no compiled code"
        )

    def decorate(function: Callable[..., Any]) -> Any:
        before = _SETTINGS.CACHE_DIR
        place = _place(Path(before or Path(user_cache_dir("neurosleep")) / "numba") / _digest())
        _SETTINGS.CACHE_DIR = "" if place is None else str(place)
        try:  # Numba takes note of the place now
            dispatcher = numba.njit(cache=place is not None, error_model="numpy", **options)(function)
        finally:
            _SETTINGS.CACHE_DIR = before
        if place is not None:
            _go_on_if_full(dispatcher, place)
        return dispatcher

    return decorate


def inner(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that only compiled functions call and that makes no array.

    What calls from Python need, and counting references, is more code than most functions themselves.

    Parameters
    ----------
    options
        Of `numba.njit`.
    """
    return compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False, **options)


def entry(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls, other threads running on, and that makes no array.

    Of several processes that need it at once, one compiles it, and the others wait for its machine code.

    Parameters
    ----------
    options
        Of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = compiled(nogil=True, no_cfunc_wrapper=True, _nrt=False, **options)(function)
        compile_now = dispatcher.compile

        def compile_once(signature: Any) -> Any:
            with _alone(dispatcher, "compiling"):
                return compile_now(signature)

        dispatcher.compile = compile_once
        return dispatcher

    return decorate


def _alone(dispatcher: Any, doing: str) -> AbstractContextManager[Any]:
    """Keep other processes from doing this with this function; nobody is kept where there can be no lock."""
    with suppress(OSError, InputError, TypeError):  # no room, too long a wait, or no place for machine code
        return Lock(Path(dispatcher._cache.cache_path) / f"{dispatcher.__name__}.{doing}.lock", doing, _PATIENCE)
    return nullcontext()


@cache
def _place(folder: Path) -> Path | None:
    """Return the folder if files can be made in it, or None, which is said once, by the main process."""
    try:
        if not folder.is_absolute() and str(folder).startswith("~"):
            raise FileNotFoundError(f"no home folder for {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        _say_not_kept(folder)
        return None


def _go_on_if_full(dispatcher: Any, place: Path) -> None:
    """Let a function work where its machine code cannot be written, as on a full disk.

    One process writes at a time: Numba reads what is kept, adds to it and writes it, and would lose what others add.
    """
    save = dispatcher._cache.save_overload

    def save_or_say(*code: Any) -> None:
        try:
            with _alone(dispatcher, "saving"):
                save(*code)
        except OSError:
            _say_not_kept(place)

    dispatcher._cache.save_overload = save_or_say


@cache
def _say_not_kept(folder: Path) -> None:
    if multiprocessing.parent_process() is None:
        logging.getLogger("neurosleep").warning(
            "neurosleep: compiled code cannot be kept in %s, so it is compiled anew each time; "
            "let NUMBA_CACHE_DIR name a folder that you may write into, on a disk that is not full",
            folder.parent,
        )


@cache
def _digest() -> str:
    """Digest of all sources with compiled functions, which are those of the folders `kernels` and `rules`."""
    here = Path(__file__).parent
    sources = sorted([*(here / "kernels").glob("*.py"), *(here / "rules").glob("*.py")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
