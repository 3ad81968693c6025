"""What the command line prints, and what it refuses."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosleep
from neurosleep.sims.spikes.log import SpikeLog


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
    for command in ("demo", "list", "run", "report", "spikes"):
        assert f"\n  {command} " in done.stdout


def test_no_arguments_show_the_help(cli):
    result = cli()
    assert result == cli("--help")
    assert result.code == 0
    assert result.out.startswith("Usage: neurosleep")


@pytest.mark.parametrize("command", ["demo", "list", "run", "report", "spikes"])
def test_every_command_explains_itself(cli, command):
    result = cli(command, "--help")
    assert result.code == 0
    assert f"Usage: neurosleep {command}" in result.out


def test_version(cli):
    assert cli("--version").out == f"neurosleep, version {neurosleep.__version__}\n"


def test_list(cli):
    lines = cli("list").out.splitlines()
    names = [line.split()[0] for line in lines]
    for name in ("patches", "src-mnist", "src-cifar10", "src-cub200", "tripartite-cifar100", "tripartite-mnist"):
        assert name in names
    for name in ("icarl-mnist", "icarl-fashion-mnist", "icarl-cifar10", "src-undertrained", "src-snn", "src-replay"):
        assert name in names
    assert lines[-1] == f"{'stub':{max(map(len, names))}}  does next to nothing [presets: double]"


def test_show_config(cli):
    shown = tomllib.loads(cli("run", "src-mnist", "--show-config").out)
    assert shown["hidden"] == [1200, 1200]
    changed = cli(
        "run", "src-mnist", "--show-config", "--set", "hidden=[7]", "--set", "order=random", "--set", "init=1"
    )
    assert tomllib.loads(changed.out) == {**shown, "hidden": [7], "order": "random", "init": 1.0}


def test_a_preset_a_file_and_settings_in_that_order(cli, assert_refused, tmp_path):
    def scale(*words):
        return tomllib.loads(cli("run", "stub", "--show-config", *words).out)["scale"]

    file = tmp_path / "best.toml"
    file.write_text('experiment = "stub"\n[parameters]\nscale = 3.0\n')
    assert scale() == 1.0
    assert scale("--preset", "double") == 2.0
    assert scale("--preset", "double", "--config", file) == 3.0
    assert scale("--preset", "double", "--config", file, "--set", "scale=4") == 4.0
    assert_refused(cli("run", "patches", "--config", file), "parameters of 'stub', not of 'patches'")
    file.write_text("x = 1")
    assert_refused(cli("run", "stub", "--config", file), "no table [parameters]")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dance"], ["dance", "neurosleep --help"]),
        (["run"], ["NAME", "neurosleep run --help"]),
        (["run", "nap"], ["'nap'", "patches, src-mnist"]),
        (["run", "stub", "--preset", "triple"], ["no preset 'triple'", "there are: double"]),
        (["run", "patches", "--preset", "x"], ["no preset 'x'", "there are: none"]),
        (["run", "stub", "--config", "nowhere.toml"], ["nowhere.toml", "cannot be read"]),
        (["run", "stub", "--sed", "3"], ["--sed", "--seeds"]),
        (["run", "stub", "--seeds", "0"], ["--seeds", "x>=1"]),
        (["run", "stub", "--seeds", "two"], ["--seeds", "two"]),
        (["run", "stub", "--workers", "0"], ["--workers", "x>=1"]),
        (["run", "stub", "--device", "abacus"], ["--device", "abacus", "cuda"]),
        (["run", "stub", "--set", "scale"], ["KEY=VALUE", "'scale'"]),
        (["run", "stub", "--set", "size=1"], ["'size'", "known: scale"]),
        (["run", "stub", "--set", "scale=big"], ["scale = 'big'", "Expected `float`"]),
        (["run", "stub", "--set", "scale=inf"], ["scale = inf", "finite"]),
        (["run", "stub", "--set", "scale=nan"], ["scale = nan", "finite"]),
        (["run", "stub", "--set", "scale=" + "1" * 5000], ["scale", "Expected `float`"]),
        (["run", "src-mnist", "--set", "epochs=0"], ["epochs = 0", "Expected `int` >= 1"]),
        (["run", "src-mnist", "--set", "hidden=[30, 0]"], ["hidden = [30, 0]", "for hidden[1]"]),
        (["run", "src-mnist", "--set", "loss=anger"], ["loss = 'anger'"]),
        (["run", "src-mnist", "--set", "hidden=[30]"], ["thresholds", "2 layers"]),
        (["run", "src-mnist", "--data-dir", "nowhere"], ["nowhere", "found neither", "Put it there"]),
        (["run", "patches", "--set", "max_overlap=1000"], ["overlap"]),
        (["report", "nowhere"], ["nowhere is not a folder", "--out"]),
        (["report", "."], ["results.json is missing", "no finished run"]),
        (["spikes", "nowhere.h5"], ["no spike log nowhere.h5"]),
        (["spikes", "."], ["no spike log"]),
    ],
)
def test_bad_input(cli, assert_refused, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    assert_refused(cli(*words), *told)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there(cli, assert_refused, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(cli("run", "stub", "--device", "cuda", "--out", tmp_path / "out"), "'cuda'", "--device cpu")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_another_run(cli, assert_refused, tmp_path):
    assert cli("run", "stub", "--seeds", 1, "--out", tmp_path).code == 0
    before = contents(tmp_path)
    result = cli("run", "stub", "--seeds", 1, "--set", "scale=2", "--out", tmp_path)
    assert_refused(result, "another run", "scale is 1.0 there and 2.0 here", "--out")
    assert_refused(cli("run", "patches", "--out", tmp_path), "experiment is 'stub' there and 'patches' here")
    assert contents(tmp_path) == before


def test_the_folder_of_something_else(cli, assert_refused, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "sub", tmp_path / ("x" * 300)):
        assert_refused(cli("run", "stub", "--out", out), "--out")
    assert contents(tmp_path) == {Path("thesis.tex"): b"years of work"}


@pytest.mark.parametrize("damage", [b"\xff", b"experiment = ", b"x = 1", b'experiment = "stub"\nparameters = 3', b""])
def test_a_damaged_config(cli, assert_refused, tmp_path, damage):
    (tmp_path / "config.toml").write_bytes(damage)
    assert_refused(cli("run", "stub", "--out", tmp_path), str(tmp_path / "config.toml"), "restore it")
    assert contents(tmp_path) == {Path("config.toml"): damage}


def test_a_folder_that_was_left_before_anything_was_in_it(cli, tmp_path):
    (tmp_path / ".config.toml.4711").write_text("expe")  # a run was killed while it began
    assert cli("run", "stub", "--seeds", 1, "--out", tmp_path).code == 0


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
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert "No space left on device" in result.err
    assert "damaged" not in result.err
