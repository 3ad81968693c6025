"""The shape of the source: who may import whom, how long a module may be, and what is packaged."""

import ast
import re
import tomllib

import pytest
from lines import lines_of_code
from own_source import BESIDE, ROOT, circles, graph, imported, imports, modules
from packaging.version import Version

FLOORS = [
    ("__main__",),
    ("cli",),
    ("benchmarks", "tuning"),
    ("experiments.page",),
    ("experiments",),
    ("figures", "integrations"),
    ("tripartite", "analysis"),
    ("continual", "interchange"),
    ("trial_night", "suggestion"),
    ("features", "snn", "night"),
    ("night_files", "night_thresholds", "batch_norm", "night_downscaling"),
    ("spontaneous_replay", "sleep_record", "memory", "networks", "training", "pool"),
    ("families", "hypnogram", "examples", "seen"),
    ("statistics", "tables", "files", "ownership", "labelled", "moments"),
    ("converters", "data"),
    ("sims",),
    ("",),
]
"""Top to bottom; who stands on a floor imports only from floors below. "" is neurosleep itself: its version."""

LONG = {
    "sims/spikes/log.py": "the one class that writes a spike file: order of writes, crash and lock belong together",
    "sims/spikes/reader.py": "the one class that reads a spike file: every view of it, documented in one place",
}
"""Modules over 350 lines, and why; five at most."""

DATA = {".css", ".gz", ".html", ".js", ".json", ".md", ".npz", ".pyi", ".toml", ".typed"}
"""How the names of files end that belong to the package though they are no modules."""


def place(module: str) -> str:
    """Return the room of `FLOORS` that a module is in."""
    inside = module.removeprefix("neurosleep").removeprefix(".")
    rooms = [room for floor in FLOORS for room in floor if f"{inside}.".startswith(f"{room}.") or inside == room]
    assert rooms, f"{module} is in no room of FLOORS"
    return max(rooms, key=len)


def test_no_import_goes_in_a_circle() -> None:
    assert circles(graph()) == []


def test_imports_go_downward_only() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    upward = [
        f"{module} imports {other}"
        for module, others in graph().items()
        for other in others
        if place(module) != place(other) and floor[place(module)] >= floor[place(other)]
    ]
    assert upward == []


def test_every_room_is_there() -> None:
    assert {place(module) for module in modules()} == {room for floor in FLOORS for room in floor}


@pytest.mark.parametrize(
    ("room", "may", "never"),
    [
        ("sims", {"sims"}, {"torch", "snntorch"}),
        ("converters", {"converters", "sims"}, {"torch.optim"}),
        ("data", {"data", "sims"}, {"torch"}),
    ],
)
def test_lower_folders_know_nothing_of_those_above(room, may, never) -> None:
    inside = [module for module in modules() if place(module) == room]
    assert {place(other) for module in inside for other in graph()[module]} <= may
    names = {f"{name}." for module in inside for name in imported(modules()[module])}
    assert [name for name in names if name.startswith(tuple(f"{one}." for one in never))] == []


def test_data_stands_apart_but_for_the_checks_of_input() -> None:
    used = {other for module in modules() if place(module) == "data" for other in graph()[module]}
    checks = {f"neurosleep.sims.{name}" for name in ("errors", "hdf5", "packed", "whole")}
    assert {other for other in used if place(other) != "data"} == checks


OPENS = re.compile(
    r"\b(?:np|numpy|torch|torch\.jit|torch\.export|pickle|marshal|dill|joblib)\.loads?\(|read_pickle\(|\bZipFile\(|"
    r"\bzipfile\.ZipFile\(|loadmat\(|gzip\.(?:open|decompress)\(|(?<![\w.])(?:eval|exec)\("
)
"""What opens files in ways that run code, unpack without end, or believe what they declare."""
OPENERS = {
    "sims/packed.py": {"zipfile.ZipFile("},
    "converters/checkpoint.py": {"torch.load("},  # weights only, sums held
    "converters/graph/programs.py": {"torch.jit.load("},  # if it is trusted
    "neurosleep/features/cache.py": {"np.load("},  # mapped, its sum held
    "neurosleep/interchange/brian2_script.py": {"np.load("},  # in the script that it writes
    "sims/cuda_kernels/arithmetic.py": {"exec("},  # code that it wrote itself
    "sims/rules/composing.py": {"exec("},  # the same
    "benchmarks/conversion.py": {"torch.load("},  # what the benchmark wrote
}


def test_files_are_opened_where_they_are_checked() -> None:
    found = {str(path.relative_to(ROOT)): set(OPENS.findall(path.read_text("utf-8"))) for path in modules().values()}
    assert {name: calls for name, calls in found.items() if calls} == OPENERS


def test_imports_lead_to_where_the_files_are_in_a_checkout() -> None:
    """Folders beside neurosleep/ name each other relatively, neurosleep/ names all absolutely: so tools find them."""
    beside = tuple(f"neurosleep.{folder}" for folder in BESIDE)
    wrong = []
    for module, path in modules().items():
        for node in imports(path):
            level = node.level if isinstance(node, ast.ImportFrom) else 0
            names = [str(node.module)] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            if (level == 0 and any(name.startswith(beside) for name in names)) if module.startswith(beside) else level:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def test_no_module_is_long_without_a_reason() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in modules().values()}
    assert {name for name, count in lines.items() if count > 350} == set(LONG)
    assert len(LONG) <= 5


def test_everything_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {module: path.parent for module, path in modules().items() if path.name == "__init__.py"}
    assert set(settings["packages"]) == set(folders)
    assert {path.parent for path in modules().values()} == set(folders.values())
    packaged = {
        (package, pattern): set(folders[package].glob(pattern))
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
    }
    assert [place for place, files in packaged.items() if not files] == []
    there = {file for folder in folders.values() for file in folder.rglob("*") if file.suffix in DATA}
    assert there - set().union(*packaged.values()) == set()


def test_the_version_stands_in_one_place() -> None:
    from neurosleep import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dynamic"]


def test_lines_of_code_are_counted_without_docstrings_comments_and_blanks() -> None:
    source = (
        '"""Of a module."""\n\nimport re  # one\n\n\ndef two(\n    a,  # three\n):\n    """Of a\n\n    function."""\n'
    )
    assert lines_of_code(source + '    # no\n    return """five\n\nseven"""\n') == 7


def test_the_lowest_versions_are_those_that_pyproject_allows() -> None:
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    pinned = (ROOT / "tests/lowest.txt").read_text("utf-8").splitlines()
    lowest = dict(line.split("==") for line in pinned if not line.startswith("#"))
    for name, version in (dependency.split(">=") for dependency in allowed):
        assert Version(lowest[name]) == Version(version), name
    assert len(lowest) == len(allowed)
