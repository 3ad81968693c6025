"""`neurosleep tune` on the command line."""

import signal
import sys
import time

import pytest

from neurosleep.experiments.loading import load

SMALL = (
    *("--set", "dataset=mnist-small", "--set", "images_per_task=60", "--set", "hidden=[20]"),
    *("--set", "thresholds=[1.0, 1.0]", "--set", "epochs=1", "--set", "steps=60", "--set", "steps_more=0"),
    *("--orders", "1", "--workers", "1"),
)


def test_a_search_and_a_run_with_what_it_found(cli, tmp_path):
    conditions = ("--set", 'conditions=["sequential", "src"]')
    result = cli("tune", "src-mnist", *SMALL, *conditions, "--trials", 2, "--out", tmp_path / "tune")
    assert result.code == 0, result.err
    head, _, *rows = result.out.splitlines()
    assert head.split()[:6] == ["held", "out", "%", "s.d.", "orders", "max_rate"]
    assert {"inc", "dec", "thresholds.0", "thresholds.1", "gain_scale", "steps"} < set(head.split())
    assert "where it began" in result.out
    best = tmp_path / "tune" / "best.toml"
    assert f"neurosleep run {best}" in rows[-1]
    found = load(best)
    assert (found.stream.order, list(found.conditions)) == ("released", ["sequential", "src"])  # a run's
    assert found.network.hidden == (20,)
    assert found.question == load("src-mnist").question
    result = cli("run", best, "--seeds", 1, "--workers", 1, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "src" in result.out


def test_a_rule_of_ones_own_is_searched_run_and_reported(cli, own_toml, assert_refused, tmp_path):
    allowed = ("--allow-imports", "own_cli_rules")
    words = ("tune", own_toml, "--trials", 1, "--orders", 1, "--workers", 1, "--out", tmp_path / "tune")
    assert cli(*words, *allowed).code == 0
    out = tmp_path / "run"
    words = ("run", tmp_path / "tune" / "best.toml", "--workers", 1, "--out", out)
    assert_refused(cli(*words), "--allow-imports own_cli_rules")
    assert cli(*words, *allowed).code == 0
    assert_refused(cli("report", out), "--allow-imports own_cli_rules")
    assert cli("report", out, *allowed).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["EXPERIMENT"]),
        (["nap"], ["no experiment 'nap'", "src-mnist"]),
        (["nowhere.toml"], ["nowhere.toml", "cannot be read"]),
        (["patches"], ["patches is a study", "cannot be searched"]),
        (["tripartite-mnist"], ["tripartite-mnist cannot be searched", "learns awake"]),
        (["conv-sleep"], ["conv-sleep has several conditions that sleep", "frozen"]),
        (["src-mnist", "--sampler", "dice"], ["dice", "tpe"]),
        (["src-mnist", "--search", "joy=1:2"], ["--search joy", "no parameter 'joy'"]),
        (["src-mnist", "--search", "dropout=0:2"], ["--search network.dropout: 2.0 will not do"]),
        (["src-mnist", "--set", "joy=1"], ["'joy'"]),
        (["src-mnist", "--trials", "0"], ["--trials"]),
        (["src-mnist", "--condition", "ewc"], ["'ewc'", "no spontaneous replay", "rehearsal+src"]),
        (["src-mnist", "--condition", "prayer"], ["no condition 'prayer'", "rehearsal+src"]),
        (["icarl-mnist"], ["--condition", "icarl:50+src"]),
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
    monkeypatch.setattr(sys.modules["neurosleep.cli.tune"], "find_spec", lambda name: None)
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
    assert errors.rstrip().endswith("neurosleep: stopped; the same command goes on from there")
    assert (tmp_path / "best.toml").exists()
