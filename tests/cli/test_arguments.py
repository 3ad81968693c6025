"""No word of a command line ends in a traceback, hangs or asks for gigabytes: one line, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import neurosleep
from neurosleep.cli import cli as group
from neurosleep.cli.arguments import Number, Place, Whole
from neurosleep.sims.spikes.log import SpikeLog

HUGE = "1" + "0" * 30
TOML = {
    "deep": "question = " + "[" * 5000,
    "deeper than is meant": "question = " + "[" * 40 + "]" * 40,
    "zero byte": 'question = "a\\u0000b"\n[conditions.a]\n',
    "digits": "question = 'q'\nseeds = " + "9" * 5000,
    "seeds": f"question = 'q'\nseeds = {HUGE}\n[conditions.a]\n",
    "swept": "question = 'q'\n[base]\nnight = []\n[sweep]\n"
    + "".join(f'"{name}" = {list(range(1000))}\n' for name in ("memory_inputs", "cycles", "steps_more")),
    "half a letter": b"question = '\xff'",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The present folder, in which a log, a pipe and a folder are."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes in folders here")
    monkeypatch.chdir(tmp_path)
    SpikeLog("night.h5", {"input": 2}, dt=0.001).close()
    for name in ("pipe", "pipe.toml", "pipe.npz"):
        os.mkfifo(name)
    Path("folder").mkdir()
    return tmp_path


def test_every_path_and_number_is_checked() -> None:
    """The one place for it is the types of `neurosleep.cli.arguments`."""
    import click

    for command in group.commands.values():
        for parameter in command.params:
            kind = parameter.type
            assert not isinstance(kind, click.Path | click.IntRange | click.FloatRange) or isinstance(
                kind, Place | Whole | Number
            ), (command.name, parameter.name)
            assert kind not in (click.INT, click.FLOAT), (command.name, parameter.name)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "src-mnist", "--set", "methods=" + "[" * 20_000],
        ["run", "src-mnist", "--set", "hidden=" + "[" * 40 + "]" * 40],
        ["run", "src-mnist", "--set", f"seeds={HUGE}"],
        ["run", "src-mnist", "--set", f"epochs={HUGE}"],
        ["run", "src-mnist", "--set", f"hidden=[{HUGE}]"],
        ["run", "src-mnist", "--set", 'question="a\\u0000b"'],
        ["run", "src-mnist", "--set", "question=caf\udce9"],
        ["run", "src-mnist", "--set", "conditions=[[1]]"],
        ["run", "src-mnist", "--set", "network.kind=[1]"],
        ["run", "src-mnist", "--seeds", HUGE],
        ["run", "src-mnist", "--workers", HUGE],
        ["run", "src-mnist", "--out", "pipe"],
        ["run", "src-mnist", "--out", "a\0b"],
        ["run", "src-mnist", "--out", "n" * 300],
        ["run", "pipe.toml"],
        ["report", "pipe"],
        ["spikes", "pipe"],
        ["spikes", "/".join(["n" * 200] * 30)],
        ["spikes", "night.h5", "--to", "csv", "--out", "pipe", "--force"],
        ["spikes", "night.h5", "--to", "csv", "--out", os.devnull, "--force"],
        ["spikes", "night.h5", "--to", "csv", "--out", "night.h5/below"],
        ["spikes", "night.h5", "--raster", "folder"],
        ["spikes", "night.h5", "--start", HUGE],
        ["tune", "src-mnist", "--trials", HUGE],
        ["tune", "src-mnist", "--timeout", "nan"],
        ["convert", "m:f", "--calibration", "x.npz", "--out", "out", "--max-loss", "nan"],
        ["convert", "m:f", "--calibration", "x.npz", "--out", "out", "--weights", "pipe"],
        ["convert", "pipe", "--calibration", "x.npz", "--out", "out"],
        ["convert", "math:tau", "--calibration", "pipe.npz", "--out", "out"],
        ["features", "cifar10", "--data-dir", "pipe"],
        ["backbone", "--learning-rate", "nan"],
        ["bench", "--out", "pipe"],
        ["bench", "--widths", "9" * 5000],
    ],
    ids=lambda words: " ".join(words)[:40].encode("ascii", "replace").decode().replace("\0", "0"),
)
def test_hostile_words_are_refused_in_one_line(cli, here, assert_refused, words) -> None:
    result = cli(*words)
    assert_refused(result)
    assert len(result.err) < 2500
    assert sorted(path.name for path in here.iterdir()) == ["folder", "night.h5", "pipe", "pipe.npz", "pipe.toml"]


@pytest.mark.parametrize("name", TOML)
def test_hostile_files_are_refused_in_one_line(cli, here, assert_refused, name) -> None:
    content = TOML[name]
    Path("a.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(cli("run", "a.toml"), "a.toml")


@pytest.mark.parametrize(
    "address",
    "nonsense|tcp://|tcp://host|tcp://host:|tcp://host:99999|tcp://host:0|http://host:1|tcp://[::1|tcp://a b:1|"
    f"tcp://host:1:2|tcp://caf\udce9:1|unix:///socket||tcp://host:{HUGE}".split("|"),
)
def test_a_malformed_address_of_a_scheduler_is_refused_at_once(cli, here, assert_refused, address) -> None:
    pytest.importorskip("distributed")
    assert_refused(cli("run", "src-mnist", "--scheduler", address, "--data-dir", "nowhere"), "tcp://host:8786")


def test_what_memory_does_not_hold_is_told_in_one_line(cli, here, assert_refused) -> None:
    words = ("--set", "dataset=mnist-small", "--set", "hidden=[4000000000]", "--out", "out")
    assert_refused(cli("run", "src-mnist", *words), "condition", "allocate", "fewer units")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            MemoryError("Unable to allocate 7.28 TiB for an array"),
            "not enough memory here (Unable to allocate 7.28 TiB",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000 bytes."), "8000 bytes"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (OSError(28, "No space left on device", "a\x1b[31m\udce9"), r"a\x1b[31m\udce9: No space left on device"),
    ],
    ids=["numpy", "torch", "nested", "full"],
)
def test_what_goes_wrong_anywhere_is_one_line(cli, assert_refused, monkeypatch, error, told) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("neurosleep.experiments.library.names", fail)
    assert_refused(cli("list"), told)


def test_an_error_of_ours_is_no_lack_of_memory(cli, monkeypatch) -> None:
    def fail() -> None:
        raise RuntimeError("something is wrong with this package")

    monkeypatch.setattr("neurosleep.experiments.library.names", fail)
    monkeypatch.setattr(sys, "argv", ["neurosleep", "list"])
    with pytest.raises(RuntimeError, match="something is wrong"):
        neurosleep.cli.main()


@pytest.mark.parametrize(
    ("redirected", "code", "told"),
    [
        ("> /dev/full", 2, "neurosleep: standard output: No space left on device\n"),
        ("> /dev/full 2> /dev/full", 2, ""),
        (">&-", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 1, ""),
    ],
    ids=["full", "all full", "closed", "nobody reads"],
)
def test_a_console_that_takes_nothing(redirected, code, told) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full here")
    program = "import sys, click\nsys.argv = ['neurosleep', '-h']\nfrom neurosleep.cli import main\nmain()"
    shell = f'sleep 0; "{sys.executable}" -c "{program}" {redirected}'
    paths = {"PYTHONPATH": str(Path(neurosleep.__file__).parents[1])}
    done = subprocess.run(
        ["bash", "-c", shell], env={**os.environ, **paths}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, told)
