"""The package's own source as a graph: which module imports which, wherever in a file the import stands.

Imports inside functions and below `TYPE_CHECKING` count like all others. A lazy `__init__.py` is looked through: a name
imported from it counts as imported from where its `__init__.pyi` says that it lives. So the door of a package imports
nothing by itself, and a module that goes through it is seen to import what it gets.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("converters", "sims", "data", "benchmarks")
"""Folders that stand beside neurosleep/ in a checkout, and inside it once installed."""


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    return {_name(path): path for folder in ("neurosleep", *BESIDE) for path in sorted((ROOT / folder).rglob("*.py"))}


@cache
def graph() -> dict[str, set[str]]:
    """Return the modules of the package that each module imports."""
    return {
        module: {home for name in imported(path) if (home := _home(name)) and home != module}
        for module, path in modules().items()
    }


@cache
def imported(path: Path) -> list[str]:
    """Return the dotted names that a file imports, relative ones made whole."""
    return [f"{_start(node, path)}{name.name}" for node in imports(path) for name in node.names]


def imports(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Go through the import statements of a file."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the circles of a graph: the nodes that reach each other."""
    reach = {node: _reached(node, arrows) for node in arrows}
    parts = {tuple(sorted({node} | {other for other in reach[node] if node in reach[other]})) for node in arrows}
    return sorted(list(part) for part in parts if len(part) > 1)


def _reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = arrows[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("neurosleep", *parts[parts[0] == "neurosleep" :])).removesuffix(".__init__")


def _start(node: ast.Import | ast.ImportFrom, path: Path) -> str:
    if isinstance(node, ast.Import):
        return ""
    package = _name(path.with_name("__init__.py")).split(".")
    above = package[: len(package) + 1 - node.level] if node.level else []
    return "".join(f"{part}." for part in (*above, node.module) if part)


@cache
def _home(name: str) -> str | None:
    """Return the module that a name is or lives in; None for what is not ours."""
    package, _, last = name.rpartition(".")
    if name in modules():
        return name
    if package in modules():
        door = modules()[package].with_name("__init__.pyi")
        if modules()[package].name == "__init__.py" and door.exists():
            behind = {found.rpartition(".")[2]: found for found in imported(door)}
            return _home(behind[last]) if last in behind else package
        return package
    return _home(package) if package else None
