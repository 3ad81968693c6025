import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("NEUROSLEEP_ORACLE", HERE.parents[2] / "shared" / "reference" / "src_oracle"))


def golden(pattern: str) -> dict[str, Path]:
    """Golden files by name: those that ship with the tests, and those at hand beside the project."""
    return {path.stem: path for folder in (SHARED, HERE) for path in sorted(folder.glob(pattern))}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, pattern in (("simulation_case", "case*.mat"), ("normalization_case", "norm*.mat")):
        if fixture in metafunc.fixturenames:
            cases = golden(pattern)
            metafunc.parametrize(fixture, cases.values(), ids=cases.keys())
