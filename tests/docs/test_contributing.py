"""The code of CONTRIBUTING.md runs as it stands, offline; what is to be added is short."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from neurosleep.converters.nir.targets import PROFILES

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
TOML = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_each_addition_is_short() -> None:
    assert len(PYTHON) == 9
    for code in (*PYTHON, *TOML):
        assert len([line for line in code.splitlines() if line.strip()]) < 20


def test_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nir")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PROFILES, "mychip", None)  # so that it is gone afterwards
    (toml,) = TOML
    Path("noise.toml").write_text(toml, "utf-8")
    printed, names = io.StringIO(), {"__name__": "contributing"}
    with contextlib.redirect_stdout(printed):
        for code in PYTHON:
            exec(compile(code, "CONTRIBUTING.md", "exec"), names)  # noqa: S102
    said = printed.getvalue()
    drive, rule = said.splitlines()[:2]
    assert re.match(r"\[\[(\d\d), 0, 0, (\d\d), 0, 0, 0, 0, 0, 0\], \[\1, 0, 0, \2, 0\]\]", drive), drive
    assert rule != "[1. 0.]"  # the rule has changed the weights of the first neuron
    assert "mychip 1.0" in said
    assert Path("mychip.nir").exists()
    assert "released - awake: accuracy" in said
