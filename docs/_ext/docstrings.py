"""Small mends of what autodoc and napoleon make of our docstrings and signatures."""

import re
from typing import Any

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

_ARRAY = re.compile(r"(~?)numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([^\]]*)\]\]")
_LONG = {mode: stringify_annotation(ArrayLike, mode) for mode in ("smart", "fully-qualified-except-typing")}
_written: dict[str, list[str]] = {}


def _signature(app: Sphinx, what: str, name: str, obj: Any, options: Any, *parts: str | None) -> tuple[Any, ...]:
    """Write NumPy's two aliases by their names, and a factory of default values as three dots."""
    return tuple(part and _short(part) for part in parts)


def _short(text: str) -> str:
    for long in _LONG.values():
        text = text.replace(long, "~numpy.typing.ArrayLike")
    return _ARRAY.sub(r"\1numpy.typing.NDArray[\2]", text).replace("<factory>", "...")


def _keep(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what in ("attribute", "property", "data"):
        _written[name] = list(lines)


def _restore(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon does to an attribute's sentence with a colon: it takes the words before it for a type.

    And the star of a shape, as in (n, *shape), begins no emphasis.
    """
    lines[:] = [re.sub(r"(?<=, )\*(?=[\w.]+\))", r"\*", line) for line in _written.pop(name, lines)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc, before and after napoleon."""
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _restore, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
