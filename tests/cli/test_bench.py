"""The command `bench`: what it refuses."""

import pytest


@pytest.mark.parametrize("widths", ["abc", "300,", "300;1200", "5", "-300", "100000", ""])
def test_bad_widths_are_refused(cli, assert_refused, tmp_path, widths):
    result = cli("bench", "--widths", widths, "--out", tmp_path / "out")
    assert_refused(result, "--widths", "from 10 to 20000", repr(widths))
    assert not (tmp_path / "out").exists()


def test_bad_rounds_are_refused(cli, assert_refused):
    assert_refused(cli("bench", "--rounds", 0), "--rounds")


def test_a_missing_data_folder_is_refused(cli, assert_refused, tmp_path):
    assert_refused(cli("bench", "--data-dir", tmp_path / "nowhere"), "--data-dir", "nowhere")


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_measured(cli, tmp_path):
    (tmp_path / "file").write_text("")
    result = cli("bench", "--quick", "--out", tmp_path / "file" / "out")
    assert result.code in (1, 2)
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert result.err.startswith("neurosleep: ")


def test_help_says_what_is_compared(cli):
    result = cli("bench", "--help")
    assert result.code == 0
    for words in ("PyTorch", "NumPy", "Brian2", "--quick", "--widths", "--rounds", "--out"):
        assert words in result.out
