"""`neurosleep tune` on the command line."""

import signal
import sys
import time
import tomllib

import pytest

SMALL = (
    *("--set", "dataset=mnist-small", "--set", "images_per_task=60", "--set", "hidden=[20]"),
    *("--set", "thresholds=[1.0, 1.0]", "--set", "epochs=1", "--set", "sleep_steps=60", "--set", "sleep_steps_more=0"),
    *("--orders", "1", "--workers", "1"),
)


def test_a_search_and_a_run_with_what_it_found(cli, tmp_path):
    methods = ("--set", 'methods=["sequential", "src"]')
    result = cli("tune", "src-mnist", *SMALL, *methods, "--trials", 2, "--out", tmp_path / "tune")
    assert result.code == 0
    assert "where it began" in result.out
    best = tmp_path / "tune" / "best.toml"
    shown = cli("run", "src-mnist", "--config", best, "--show-config")
    found = tomllib.loads(best.read_text())["parameters"]
    assert tomllib.loads(shown.out) == found
    assert (found["order"], found["methods"]) == ("released", ["sequential", "src"])  # a run's, not the search's
    assert found["hidden"] == [20]
    assert cli("run", "src-mnist", "--config", best, "--seeds", 1, "--out", tmp_path / "run").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nap"], ["'nap'", "patches, src-mnist"]),
        (["patches"], ["patches cannot be tuned"]),
        (["src-mnist", "--sampler", "dice"], ["dice", "tpe"]),
        (["src-mnist", "--search", "joy=1:2"], ["joy", "no such parameter"]),
        (["src-mnist", "--search", "dropout=0:2"], ["parameter dropout = 2.0 will not do"]),
        (["src-mnist", "--set", "joy=1"], ["'joy'"]),
        (["src-mnist", "--preset", "joy"], ["no preset 'joy'"]),
        (["src-mnist", "--trials", "0"], ["--trials"]),
        (["src-mnist", "--method", "ewc"], ["ewc does not sleep", "try ewc+src"]),
        (["src-mnist", "--method", "prayer"], ["no method 'prayer'"]),
        (["src-mnist", "--data-dir", "nowhere"], ["nowhere", "found neither"]),
    ],
)
def test_bad_input(cli, assert_refused, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    assert_refused(cli("tune", *words), *told)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be(cli, assert_refused, tmp_path):
    words = ("tune", "src-mnist", *SMALL, "--out", tmp_path)
    assert_refused(cli(*words, "--storage", "nonsense://x"), "--storage nonsense://x cannot be opened")
    assert_refused(cli(*words, "--storage", tmp_path / "no" / "where"), "there is no folder")


def test_without_optuna(cli, assert_refused, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neurosleep.cli.tune.find_spec", lambda name: None)
    assert_refused(cli("tune", "src-mnist"), "pip install 'neurosleep[tune]'")


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process are POSIX's")
def test_ctrl_c_keeps_what_is_finished(cli, start, tmp_path):
    process = start("tune", "src-mnist", *SMALL, "--trials", 10_000, "--out", tmp_path)
    journal = tmp_path / "journal.log"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count('"accuracies"') >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "where it began" in out
    assert errors.rstrip().endswith("neurosleep: stopped")
    assert (tmp_path / "best.toml").exists()
