"""Files written whole or not at all and read with clear errors, and what is asked of the installation."""

import importlib
import io
import os
import platform
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import check_text
from neurosleep.sims.places import to_read
from neurosleep.sims.whole import whole

DEEPEST = 32
"""So many lists and tables may be in each other."""
_KEY = re.compile(r"""(?:\.[ \t]*+(?:[\w-]|"[^"\n]*+"|'[^'\n]*+')++[ \t]*+)++""")  # all of one but its first part
_MOST_PARTS = 100  # of a key: many take tomllib minutes


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as half:
        half.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all; nan becomes null."""
    write_text(path, msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def write_tensors(path: str | os.PathLike[str], value: Any) -> None:
    """Write tensors, and plain values with them, as ``torch.save`` does, whole or not at all.

    They are first put together in memory: what torch itself says of a full disk is not that.
    """
    import torch  # slow

    content = io.BytesIO()
    torch.save(value, content)
    with whole(path) as half:
        half.write_bytes(content.getbuffer())


def toml_values(text: str, source: str) -> dict[str, Any]:
    """Return the values of a TOML text; `source` is what errors call it.

    Raises
    ------
    InputError
        If it is not TOML, or holds what nothing here can mean; see `check_plain`.
    """
    if any(key[0].count(".") >= _MOST_PARTS for key in _KEY.finditer(text)):
        raise InputError(f"{source} cannot be read as TOML: a key has more than {_MOST_PARTS} parts")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} cannot be read as TOML: {error}") from error
    check_plain(values, source)
    return values


def check_plain(value: Any, source: str, depth: int = DEEPEST) -> None:
    """Raise `InputError` for lists and tables in each other, more than so deep, or texts that no file can hold."""
    if isinstance(value, str):
        check_text(value, source)
    elif isinstance(value, Mapping | list):
        if depth == 0:
            raise InputError(f"{source} is nested too deeply, {DEEPEST} lists and tables are the most")
        for item in (*value, *value.values()) if isinstance(value, Mapping) else value:
            check_plain(item, source, depth - 1)


def read_text(path: str | os.PathLike[str]) -> str:
    """Return what a text file holds.

    Raises
    ------
    InputError
        If it cannot be read, or is no text.
    """
    try:
        return to_read(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_bytes(path: Path) -> bytes:
    """Return what a file holds.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return to_read(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise `InputError` where what a JSON file holds cannot be decoded, or used."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged or of another version of neurosleep ({type(error).__name__}: {error}): "
            "delete it and start the same command again"
        ) from error


def need(module: str, extra: str) -> Any:
    """Return an optional module, or raise `InputError` with what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: pip install 'neurosleep[{extra}]'") from error


def processor() -> str:
    """Return the processor's name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
