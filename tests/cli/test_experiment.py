"""`neurosleep experiment` on the command line."""

import pytest

from neurosleep.experiments.library import names

TOML = """
question = "Is it over soon?"
seeds = 2
[stream]
images_per_task = 40
classes_per_task = 5
[network]
kind = "ReluNetwork"
hidden = [20]
[training]
epochs = 1
[conditions.awake]
[conditions.asleep]
night = [{ kind = "MagnitudePruning", fraction = 0.5 }]
"""


def test_a_question_of_ones_own(cli, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(TOML)
    result = cli("experiment", file, "--workers", 1, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert "Is it over soon?" in result.out
    assert "asleep - awake: accuracy" in result.out
    for name in ("results.nc", "results.csv", "report.html", "experiment.toml"):
        assert (tmp_path / "out" / name).exists()
    again = cli("experiment", file, "--seeds", 3, "--workers", 1, "--out", tmp_path / "out")
    assert "n = 3 seeds" in again.out
    assert cli("report", tmp_path / "out").code == 0


@pytest.mark.parametrize("name", names())
def test_shown_questions_can_be_asked(cli, tmp_path, name):
    shown = cli("experiment", name, "--show")
    assert shown.code == 0
    file = tmp_path / "shown.toml"
    file.write_text(shown.out)
    assert cli("experiment", file, "--show").out == shown.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sleep-lenght"], ["no question 'sleep-lenght'", "did you mean 'sleep-length'"]),
        (["none.toml"], ["none.toml cannot be read"]),
        (["bad.toml"], ["bad.toml", "no key 'night'", "did you mean 'nights'"][:2]),
        (["good.toml", "--seeds", "0"], ["--seeds"]),
        (["good.toml", "--workers", "1", "--scheduler", "tcp://127.0.0.1:9"], ["workers", "scheduler"]),
        (["good.toml", "--out", "full"], ["does not hold an experiment"]),
    ],
)
def test_refused(cli, assert_refused, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(TOML)
    (tmp_path / "bad.toml").write_text('question = "?"\nnight = []\n[conditions.a]\n')
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert_refused(cli("experiment", *words), *told)
    assert not (tmp_path / "runs").exists()
