import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

import neurosleep

HERE = Path(__file__).parent
STUB = HERE / "stub.toml"
TINY = (
    *("run", "src-mnist", "--set", "dataset=mnist-small", "--set", "images_per_task=100", "--set", "hidden=[30]"),
    *("--set", "thresholds=[14.5, 38.0]", "--set", "epochs=1"),
    *("--set", 'conditions=["sequential", "src"]'),
    *("--set", "steps=300", "--set", "steps_more=0"),
)


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def stub(monkeypatch):
    """The file of an experiment that does next to nothing; what it needs is known in this process."""
    monkeypatch.syspath_prepend(HERE)
    import stub

    stub.register(monkeypatch.setattr)
    return STUB


OWN_MODULE = """
from dataclasses import dataclass
import neurosleep as ns

@dataclass(frozen=True)
class Gentle(ns.GatedHebbian):
    pass
"""
OWN_TOML = """
question = "?"
seeds = 1
[stream]
images_per_task = 60
classes_per_task = 5
[network]
hidden = [20]
[training]
epochs = 1
[[conditions.src.night]]
kind = "SpontaneousReplay"
steps = 60
thresholds = [1.0, 1.0]
drive = { kind = "MeanRate", max_rate = 100.0 }
plasticity = { kind = "own_cli_rules:Gentle", inc = 0.01, dec = 0.001 }
"""


@pytest.fixture
def own_toml(tmp_path, monkeypatch):
    """The file of an experiment with a rule of a module of one's own, which can be imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_cli_rules.py").write_text(OWN_MODULE)
    (folder / "mine.toml").write_text(OWN_TOML)
    monkeypatch.syspath_prepend(folder)
    yield folder / "mine.toml"
    sys.modules.pop("own_cli_rules", None)


@pytest.fixture
def cli(monkeypatch, capfd):
    """Runs a command line in this process."""
    from neurosleep.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["neurosleep", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Result(end.value.code or 0, *capfd.readouterr())

    return run


def start_process(*words, stderr=subprocess.PIPE, **environment):
    """Start a command line that heeds Ctrl-C, which children of a process in the background do not by themselves."""
    paths = [str(HERE), str(Path(neurosleep.__file__).parent.parent)]  # the very neurosleep that is tested here
    module = "stub" if STUB in words else "neurosleep.cli"
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from {module} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def start():
    """Starts a command line in a process group of its own; what a test leaves running is killed."""
    processes = []

    def start(*words, **options):
        processes.append(start_process(*words, **options))
        return processes[-1]

    yield start
    for process in processes:
        with suppress(ProcessLookupError):  # workers may outlive their parent where a test fails
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def tiny():
    """Words of a command line for a real run that is over in a second or two."""
    return TINY


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a real run of three seeds, made in two worker processes, once for all processes of `pytest -n`."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    out = place / "tiny" / "out"
    with FileLock(place / "tiny.lock"):
        if not out.exists():
            process = start_process(*TINY, "--seeds", 3, "--workers", 2, "--out", out)
            _, errors = process.communicate(timeout=300)
            assert (process.returncode, errors) == (0, "")
    return out


@pytest.fixture
def assert_refused():
    """Bad input ends with code 2 and one line that tells what is wrong."""

    def check(result, *told):
        assert result.code == 2
        assert result.out == ""
        assert result.err.count("\n") == 1
        assert result.err.startswith("neurosleep: ")
        for words in told:
            assert words in result.err

    return check
