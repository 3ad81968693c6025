"""`compiled`: Numba's `njit`, with the machine code kept in the user's cache instead of beside the source.

pip does not know the files that Numba would leave in the installed package: they would outlive an uninstall, and the
folder they keep alive would then hide an editable install.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from platformdirs import user_cache_dir

_SETTINGS: Any = numba.config


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, once for all processes of this user.

    The environment variable ``NUMBA_CACHE_DIR`` names another place for the machine code.

    Parameters
    ----------
    options
        Of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        before = _SETTINGS.CACHE_DIR
        _SETTINGS.CACHE_DIR = before or str(Path(user_cache_dir("neurosleep")) / "numba")
        try:
            return numba.njit(cache=True, **options)(function)  # takes note of the place here and now
        finally:
            _SETTINGS.CACHE_DIR = before

    return decorate
