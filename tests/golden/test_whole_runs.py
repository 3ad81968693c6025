"""Whole runs from the command line, in short: accuracies stay within 3 points of the stored ones.

Training differs a little between processors, so there are several seeds and no exact values; `compare.py` compares
exactly, with another revision on one machine.
"""

import sys
from typing import NamedTuple

import numpy as np
import pytest

from neurosleep.cli import main

POINTS = 3.0


class Whole(NamedTuple):
    toml: str
    """Two seeds of an experiment that ships, in short."""
    percent: dict[str, float]
    """Mean test accuracy at the end over the seeds, by condition."""


SMALL = """
seeds = 2
[stream]
dataset = "mnist-small"
images_per_task = 600
[network]
hidden = [100, 60]
init = 0.05
[training]
epochs = 2
"""
WHOLE = {
    "src": Whole(
        'like = "src-mnist"'
        + SMALL
        + """
[base]
steps_more = 0
[[base.night]]
steps = 500
plasticity = { inc = 0.01 }
[conditions]
src = {}
"rehearsal:0.05+src" = { method = "rehearsal:0.05" }
joint = { method = "joint", night = [], training = { epochs = 4 } }
""",
        {"src": 23.0, "rehearsal:0.05+src": 21.5, "joint": 87.2},
    ),
    "icarl": Whole(
        'like = "icarl-mnist"'
        + SMALL
        + """
[[base.night]]
steps = 500
""",
        {"icarl:200": 62.6, "icarl:50+src": 43.9},
    ),
    "tripartite": Whole(
        """
like = "tripartite-mnist"
seeds = 2
[stream]
dataset = "mnist-small"
[network]
hidden = [100, 60]
latents = 20
class_means = true
observation_noise = true
[looks]
early = 1
[[base.night]]
iterations = 20
nrem = { imagined = 0.7 }
rem = { targets = "drawn" }
[conditions."graded0.1+rem"]
before = [{ kind = "GradedDownscaling", rate = 0.1 }]
""",
        {"graded0.1+rem": 74.5},
    ),
}


@pytest.fixture
def plain(monkeypatch, request):
    """Reads a folder, whichever version wrote it."""
    monkeypatch.syspath_prepend(request.path.parent)
    from plain import plain

    return plain


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_run_ends_where_it_did(name, tmp_path, monkeypatch, plain):
    run = WHOLE[name]
    file, out = tmp_path / "short.toml", tmp_path / "out"
    file.write_text(run.toml)
    words = ("run", file, "--set", f"conditions={list(run.percent)}", "--workers", 1, "--out", out)
    monkeypatch.setattr(sys, "argv", ["neurosleep", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    found = {
        condition: 100 * float(np.mean([record["accuracy"] for record in seeds.values()]))
        for condition, seeds in plain(out)["conditions"].items()
    }
    assert found == pytest.approx(run.percent, abs=POINTS)
