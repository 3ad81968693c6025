"""Kills, full disks and starts at the same time, a few of each; the commands do more of them."""

import json

import pytest


@pytest.mark.parametrize(("what", "runs"), [("kills", 9), ("disk", 22), ("starts", 20)])
def test_a_few(fuzz, tmp_path, what, runs):
    done = fuzz(tmp_path, what, "--runs", str(runs), "--json", str(tmp_path / "found.json"))
    assert (tmp_path / "found.json").exists(), done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["failing"] == []
    assert done.returncode == 0
