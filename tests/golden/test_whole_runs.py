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
    words: tuple[str, ...]
    seeds: int
    percent: dict[str, float]
    """Mean test accuracy at the end over the seeds, by condition."""


def settings(*texts):
    return tuple(word for text in texts for word in ("--set", text))


SMALL = ("dataset=mnist-small", "images_per_task=600", "hidden=[100, 60]", "init=0.05")
WHOLE = {
    "src": Whole(
        (
            *("run", "src-mnist"),
            *settings(*SMALL, "epochs=2", "joint_epochs=4", 'methods=["src", "rehearsal:0.05+src", "joint"]'),
            *settings("sleep_steps=500", "sleep_steps_more=0", "inc=0.01"),
        ),
        2,
        {"src": 23.0, "rehearsal:0.05+src": 21.5, "joint": 87.2},
    ),
    "icarl": Whole(
        (
            "run",
            "icarl-mnist",
            *settings(*SMALL, "epochs=2", "sleep_steps=500", 'methods=["icarl:200", "icarl:50+src"]'),
        ),
        2,
        {"icarl:200": 62.6, "icarl:50+src": 43.9},
    ),
    "tripartite": Whole(
        (
            *("run", "tripartite-mnist"),
            *settings("dataset=mnist-small", "hidden=[100, 60]", "latents=20", "iterations=20", "class_means=true"),
            *settings("observation_noise=true", "targets=drawn", "imagined=0.7"),
            *settings('conditions=["graded0.1+rem"]', "look_early=1"),
        ),
        2,
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
    out = tmp_path / "out"
    monkeypatch.setattr(
        sys, "argv", ["neurosleep", *run.words, "--seeds", str(run.seeds), "--workers", "1", "--out", str(out)]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    found = {
        condition: 100 * float(np.mean([record["accuracy"] for record in seeds.values()]))
        for condition, seeds in plain(out)["conditions"].items()
    }
    assert found == pytest.approx(run.percent, abs=POINTS)
