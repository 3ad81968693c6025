"""The folder of an experiment: what may be a link in it, and what must be a file."""

import errno
import os
from pathlib import Path

import pytest

import neurosleep as ns
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.running import run_all

HERE = Path(__file__).parent


@pytest.fixture
def tiny(monkeypatch):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes in folders here")
    monkeypatch.syspath_prepend(HERE)
    import experiments_tiny

    return experiments_tiny.TINY


@pytest.mark.parametrize(
    "name", ["results.csv", ".lock", "experiment.toml", "runs/night/seed-0.json", "figures/new.png"]
)
def test_a_link_in_the_place_of_a_file_is_refused(tiny, tmp_path, name) -> None:
    place = tmp_path / "out" / name
    place.parent.mkdir(parents=True)
    (tmp_path / "kept").write_text("kept")
    for target in ("kept", "missing"):
        place.symlink_to(tmp_path / target)
        with pytest.raises(ns.InputError, match="is a link"):
            ExperimentFolder(tmp_path / "out").open(tiny)
        place.unlink()
    os.mkfifo(place)
    with pytest.raises(ns.InputError, match="is a pipe"):
        ExperimentFolder(tmp_path / "out").open(tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "out"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_folders_may_be_links(tiny, tmp_path) -> None:
    for name in ("far", "runs", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "out" / "runs").symlink_to(tmp_path / "runs")
    (tmp_path / "far" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "out" / "experiment.toml").write_text(tiny.to_toml(), encoding="utf-8")
    ExperimentFolder(tmp_path / "far" / "link").open(tiny)
    assert len(list((tmp_path / "runs").iterdir())) == len(tiny.conditions)


def test_a_full_disk_ends_all_runs_with_one_line(tiny, tmp_path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device while writing spikes", "seed-0.h5")

    monkeypatch.setattr("neurosleep.experiments.perform.learn_awake", full)
    with pytest.raises(ns.InputError, match=r"the disk is full .*make room and start again"):
        run_all(tiny, tmp_path / "out", workers=1, progress=False)
    assert list((tmp_path / "out").rglob("*.error.txt")) == []
    assert list((tmp_path / "out").glob(".scratch-*")) == []
