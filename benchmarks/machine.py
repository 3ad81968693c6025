"""The machine and the versions that a benchmark ran on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from neurosleep.files import processor

PACKAGES = ("neurosleep", "numpy", "torch", "numba", "h5py", "brian2")


def describe() -> dict[str, Any]:
    """Return processor, cores, caches, memory, system and versions; what cannot be found out is None."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "memory_gib": _memory(),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def one_line(machine: dict[str, Any]) -> str:
    """Return the description as one line."""
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    return f"{machine['processor']}, {machine['cores']} cores ({caches}); {versions}"


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (next(iter(_lines(folder / what)), "?") for what in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found


def _memory() -> float | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def _version(package: str) -> str | None:
    if package == "neurosleep":
        from neurosleep import __version__

        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
