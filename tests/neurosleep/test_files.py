"""Text and JSON on disk, and what is asked of the installation."""

import json
import math
from pathlib import Path

import pytest

from neurosleep.files import need, processor, read_bytes, reading, write_json, write_text
from neurosleep.sims.errors import InputError


def test_json_is_written_whole_and_nan_is_null(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": math.nan, "b": [1, 2.5, "ä"]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": None, "b": [1, 2.5, "ä"]}
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_bytes() == before


def test_text_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.txt"
    with pytest.raises(OSError, match=r"while writing: .*file\.txt'"):
        write_text(path, "text")
    write_text(tmp_path / "file.txt", "old ä")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file.txt", "new \ud800")
    assert [p.read_text(encoding="utf-8") for p in tmp_path.iterdir()] == ["old ä"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyError("seed"), TypeError("none"), RecursionError("deep")])
def test_damaged_files_say_what_to_do(error: Exception) -> None:
    with (
        pytest.raises(InputError, match=rf"x\.json is damaged .*{type(error).__name__}.*start the same command again"),
        reading(Path("x.json")),
    ):
        raise error


def test_clear_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^mine$"), reading(Path("x.json")):
        raise InputError("mine")
    with pytest.raises(InputError, match="missing cannot be read"):
        read_bytes(tmp_path / "missing")


def test_what_is_not_installed_is_named_with_its_extra() -> None:
    assert need("json", "any") is json
    with pytest.raises(InputError, match=r"no_such_module is not installed: pip install 'neurosleep\[extra\]'"):
        need("no_such_module.part", "extra")


def test_processor_has_a_name() -> None:
    assert processor().strip()
