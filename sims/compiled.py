"""`compiled`: Numba's `njit`, with the machine code kept in the user's cache instead of beside the source.

pip does not know the files that Numba would leave in the installed package: they would outlive an uninstall, and the
folder they keep alive would then hide an editable install.

Numba compiles a function anew when its own file changed, but not when a function changed that it calls from another
file. So the place of the machine code carries a digest of all compiled sources: a change in any of them is a new place.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from platformdirs import user_cache_dir

_SETTINGS: Any = numba.config


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, once for all processes of this user.

    Arithmetic is as in NumPy: a division by zero gives inf or nan, which leaves loops free to run in vector registers.
    The environment variable ``NUMBA_CACHE_DIR`` names another place for the machine code.

    Parameters
    ----------
    options
        Of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        before = _SETTINGS.CACHE_DIR
        _SETTINGS.CACHE_DIR = str(Path(before or Path(user_cache_dir("neurosleep")) / "numba") / _digest())
        try:
            return numba.njit(cache=True, error_model="numpy", **options)(function)  # takes note of the place now
        finally:
            _SETTINGS.CACHE_DIR = before

    return decorate


@cache
def _digest() -> str:
    """Digest of all sources with compiled functions, which are those of the folder `kernels`."""
    sources = sorted((Path(__file__).parent / "kernels").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
