import os
import subprocess
import sys
from pathlib import Path

import pytest

import neurosleep


@pytest.fixture(scope="session")
def fuzz():
    """Runs `python -m tests.fuzz` in a folder, on the package that is tested, wherever it is installed."""
    places = [str(Path(neurosleep.__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}

    def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tests.fuzz", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run
