"""What the command line prints, and what it refuses."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosleep
from neurosleep.experiments.library import described, names
from neurosleep.sims.spikes.log import SpikeLog

STUB = Path(__file__).parent / "stub.toml"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_does_not_wait_for_the_libraries():
    code = (
        "import sys\nfrom neurosleep.cli import main\nsys.argv = ['neurosleep', '--help']\n"
        "try:\n    main()\nfinally:\n"
        "    print({'torch', 'numpy', 'numba', 'h5py', 'matplotlib', 'msgspec'} & set(sys.modules), file=sys.stderr)"
    )
    root = str(Path(neurosleep.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "set()\n")
    for command in ("demo", "list", "run", "tune", "report", "spikes"):
        assert f"\n  {command} " in done.stdout


def test_no_arguments_show_the_help(cli):
    result = cli()
    assert result == cli("--help")
    assert result.code == 0
    assert result.out.startswith("Usage: neurosleep")


@pytest.mark.parametrize("command", ["demo", "list", "run", "tune", "report", "spikes", "features", "backbone"])
def test_every_command_explains_itself(cli, command):
    result = cli(command, "--help")
    assert result.code == 0
    assert f"Usage: neurosleep {command}" in result.out


def test_version(cli):
    assert cli("--version").out == f"neurosleep, version {neurosleep.__version__}\n"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_list(cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    result = cli("list")
    assert (result.code, result.err) == (0, "")
    assert max(map(len, result.out.splitlines())) < columns
    assert re.findall(r"^\S.*", result.out, re.MULTILINE)[:2] == ["From papers", "Questions of ours"]
    assert sorted(re.findall(r"^  (\S+) · ", result.out, re.MULTILINE)) == names()
    said = " ".join(result.out.split())
    for name in names():
        values = described(name)
        assert f"{name} · {values['cost']}" in said
        assert values["question"] in said


def shown(cli, *words):
    result = cli("run", *words, "--show")
    assert (result.code, result.err) == (0, "")
    return tomllib.loads(result.out)


def test_show(cli):
    plain = shown(cli, "src-mnist")
    assert plain["base"]["steps_more"] == 5000
    settings = ("--set", "hidden=[7]", "--set", "stream.order=random", "--set", "init=1", "--seeds", 2)
    changed = shown(cli, "src-mnist", *settings)
    assert (changed["network"], changed["seeds"]) == ({"hidden": [7], "init": 1}, 2)
    assert changed["stream"] == plain["stream"] | {"order": "random"}
    assert {key: changed[key] for key in ("base", "conditions")} == {key: plain[key] for key in ("base", "conditions")}


def test_classes_of_ones_own_are_imported_only_if_that_is_asked_for(cli, own_toml, assert_refused):
    for words in (("run", own_toml, "--show"), ("run", own_toml, "--set", "inc=0.1"), ("tune", own_toml)):
        assert_refused(cli(*words), "own_cli_rules:Gentle", "--allow-imports own_cli_rules")
    assert "own_cli_rules" not in sys.modules
    assert_refused(cli("run", own_toml, "--allow-imports", "no/module"), "names of modules")
    rule = shown(cli, own_toml, "--set", "inc=0.5", "--allow-imports", "own_cli_rules")["conditions"]["src"]["night"][0]
    assert rule["plasticity"] == {"kind": "own_cli_rules:Gentle", "inc": 0.5, "dec": 0.001}


def test_a_study_shows_what_can_be_set(cli, stub):
    assert shown(cli, stub, "--set", "scale=2")["study"] == {"kind": "Stub", "scale": 2}
    assert shown(cli, "patches", "--set", "steps=5")["study"]["night"]["steps"] == 5


def test_what_a_setting_does_not_reach_is_told(cli):
    result = cli("run", "conv-sleep", "--set", "plastic=[]", "--show")
    assert result.code == 0
    assert "neurosleep: --set plastic: conditions.plastic.night.0.plastic stays as it is" in result.err.splitlines()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dance"], ["dance", "neurosleep --help"]),
        (["run"], ["EXPERIMENT", "neurosleep run --help"]),
        (["run", "nap"], ["no experiment 'nap'", "patches, potentiation"]),
        (["run", "sleep-lenght"], ["no experiment 'sleep-lenght'", "did you mean 'sleep-length'"]),
        (["run", "nowhere.toml"], ["nowhere.toml", "cannot be read"]),
        (["run", STUB, "--sed", "3"], ["--sed", "--seeds"]),
        (["run", STUB, "--seeds", "0"], ["--seeds", "x>=1"]),
        (["run", STUB, "--seeds", "two"], ["--seeds", "two"]),
        (["run", STUB, "--workers", "0"], ["--workers", "x>=1"]),
        (["run", STUB, "--workers", "1", "--scheduler", "tcp://127.0.0.1:9"], ["workers", "scheduler"]),
        (["run", STUB, "--device", "abacus"], ["--device", "abacus", "cuda"]),
        (["run", STUB, "--set", "scale"], ["KEY=VALUE", "'scale'"]),
        (["run", STUB, "--set", "size=1"], ["'size'", "scale"]),
        (["run", STUB, "--set", "scale=big"], ["scale = 'big'", "Expected `float`"]),
        (["run", STUB, "--set", "scale=" + "1" * 5000], ["scale", "Expected `float`"]),
        (["run", "src-mnist", "--set", "epochs=-1"], ["epochs", "at least 0", "got -1"]),
        (["run", "src-mnist", "--set", "loss=anger"], ["loss", "'anger'"]),
        (["run", "src-mnist", "--set", "inc=inf"], ["inc", "inf"]),
        (["run", "src-mnist", "--set", "inc=nan"], ["inc", "nan"]),
        (["run", "src-mnist", "--set", "incc=1"], ["no parameter 'incc'", "did you mean 'inc'"]),
        (["run", "tripartite-mnist", "--set", "batch_size=1"], ["3 places", "base.night.0.nrem.batch_size"]),
        (["run", "src-mnist", "--data-dir", "nowhere"], ["nowhere", "found neither", "Put it there"]),
        (["run", "patches", "--set", "max_overlap=1000"], ["overlap"]),
        (["report", "nowhere"], ["nowhere is not a folder", "folder of an experiment"]),
        (["report", "."], ["does not hold an experiment"]),
        (["spikes", "nowhere.h5"], ["no spike log nowhere.h5"]),
        (["spikes", "."], ["no spike log"]),
    ],
)
@pytest.mark.usefixtures("stub")
def test_bad_input(cli, assert_refused, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    assert_refused(cli(*words), *told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("hidden=[30, 0]", "network: hidden must be at least 1 and finite, got (30, 0)"),
        ("hidden=[30]", "condition 'src': thresholds must be one number or one for each of the 2"),
    ],
)
def test_layers_that_cannot_be(cli, assert_refused, tmp_path, setting, told):
    words = ("run", "src-mnist", "--set", "dataset=mnist-small", "--set", setting)
    assert_refused(cli(*words, "--out", tmp_path / "out"), told)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there(cli, stub, assert_refused, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(cli("run", stub, "--device", "cuda", "--out", tmp_path / "out"), "'cuda'", "--device cpu")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_another_run(cli, stub, assert_refused, tmp_path):
    assert cli("run", stub, "--seeds", 1, "--out", tmp_path).code == 0
    before = contents(tmp_path)
    result = cli("run", stub, "--seeds", 1, "--set", "scale=2", "--out", tmp_path)
    assert_refused(result, "another experiment", "scale=1.0", "scale=2", "another folder")
    assert_refused(cli("run", "patches", "--out", tmp_path), "question is 'Does it do next to nothing?' there")
    assert contents(tmp_path) == before


def test_the_folder_of_an_earlier_version(cli, stub, assert_refused, tmp_path):
    (tmp_path / "config.toml").write_text('experiment = "src-mnist"')
    assert_refused(cli("run", stub, "--out", tmp_path), "earlier version", "--out")
    assert_refused(cli("report", tmp_path), "earlier version", "neurosleep run NAME")
    assert contents(tmp_path) == {Path("config.toml"): b'experiment = "src-mnist"'}


def test_the_folder_of_something_else(cli, stub, assert_refused, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "sub", tmp_path / ("x" * 300)):
        assert_refused(cli("run", stub, "--out", out), str(out), "give another folder")
    assert contents(tmp_path) == {Path("thesis.tex"): b"years of work"}


@pytest.mark.parametrize("damage", [b"\xff", b"question = ", b"x = 1", b'question = "?"\nstudy = 3', b""])
def test_a_damaged_description(cli, stub, assert_refused, tmp_path, damage):
    (tmp_path / "experiment.toml").write_bytes(damage)
    for words in (("run", stub, "--out", tmp_path), ("report", tmp_path)):
        assert_refused(cli(*words), str(tmp_path / "experiment.toml"))
        assert contents(tmp_path) == {Path("experiment.toml"): damage}


def test_a_folder_that_was_left_before_anything_was_in_it(cli, stub, tmp_path):
    (tmp_path / ".experiment.toml.4711").write_text("ques")  # a run was killed while it began
    assert cli("run", stub, "--seeds", 1, "--out", tmp_path).code == 0


def events(*steps):
    return np.array(steps, dtype=np.uint32), np.zeros(len(steps), dtype=np.uint32)


def write_spikes(path):
    with SpikeLog(path, {"input": 4, "output": 1}, dt=0.001) as log:
        for night in ("night 1", "night 2"):
            log.begin_epoch(night)
            log.append([events(0, 1, 1, 8), events(3)], stop=10)
            log.end_epoch()


def test_spikes(cli, tmp_path):
    path = tmp_path / "spikes.h5"
    write_spikes(path)
    result = cli("spikes", path)
    assert result.code == 0
    assert result.out.splitlines() == [
        f"{path}: 20 steps of 1 ms, complete",
        "",
        "epoch    steps  input  input Hz  output  output Hz",
        "night 1     10      4    100.00       1     100.00",
        "night 2     10      4    100.00       1     100.00",
    ]


def test_spikes_of_a_writer_that_was_stopped(cli, tmp_path):
    def stopped():
        with SpikeLog(tmp_path / "spikes.h5", {"input": 4}, dt=0.001) as log:
            log.begin_epoch("night")
            log.append([events(0, 1)], stop=5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    result = cli("spikes", tmp_path / "spikes.h5")
    assert result.code == 0
    assert "5 steps of 1 ms, not complete" in result.out


def test_raster(cli, tmp_path):
    write_spikes(tmp_path / "spikes.h5")
    result = cli("spikes", tmp_path / "spikes.h5", "--raster", tmp_path / "raster.png", "--epoch", 2, "--start", 5)
    assert result.code == 0
    assert (tmp_path / "raster.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("raster", "words", "told"),
    [
        ("raster.png", ["--epoch", 3], ["--epoch", "2 epochs", "got 3"]),
        ("raster.png", ["--epoch", 0], ["--epoch", "x>=1"]),
        ("raster.png", ["--start", 10], ["--start", "below 10", "got 10"]),
        ("raster.docx", [], ["raster.docx", ".png"]),
        ("spikes.h5", [], ["spikes.h5", ".png"]),
        ("nowhere/raster.png", [], ["no folder", "nowhere"]),
    ],
)
def test_a_raster_that_cannot_be(cli, assert_refused, tmp_path, raster, words, told):
    write_spikes(tmp_path / "spikes.h5")
    before = contents(tmp_path)
    assert_refused(cli("spikes", tmp_path / "spikes.h5", "--raster", tmp_path / raster, *words), *told)
    assert contents(tmp_path) == before


def test_damaged_spikes(cli, assert_refused, tmp_path):
    (tmp_path / "words.h5").write_text("not spikes")
    assert_refused(cli("spikes", tmp_path / "words.h5"), "words.h5", "not an HDF5 file")
    write_spikes(tmp_path / "spikes.h5")
    with h5py.File(tmp_path / "spikes.h5", "r+") as file:
        del file["spikes/output/step"]
    assert_refused(cli("spikes", tmp_path / "spikes.h5"), "spikes.h5")
    with h5py.File(tmp_path / "spikes.h5", "r+") as file:
        file.attrs["config"] = "{"
    assert_refused(cli("spikes", tmp_path / "spikes.h5"), "spikes.h5", "damaged")


def test_a_picture_that_cannot_be_saved_is_not_the_files_fault(cli, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device", "raster.png")

    write_spikes(tmp_path / "spikes.h5")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    result = cli("spikes", tmp_path / "spikes.h5", "--raster", tmp_path / "raster.png")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "No space left on device" in result.err
    assert "damaged" not in result.err
