"""The published numbers, at full length: `pytest -m slow`, about 7 minutes on two cores; needs full MNIST."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from neurosleep.cli.demo import SETTINGS as DEMO
from neurosleep.experiments import run
from neurosleep.experiments.loading import load
from neurosleep.experiments.results import Results

SHARED = Path(__file__).parents[3] / "shared" / "data"
RUNS: dict[str, tuple[str, Sequence[str]]] = {
    "demo": ("src-mnist", (*DEMO, "seeds=4")),
    "patches": ("patches", ("seeds=5",)),
    "mnist": ("src-mnist", ('conditions=["sequential", "src", "joint"]', "seeds=10")),
}


def results_of(name: str, out: Path) -> Results:
    results = run(load(*RUNS[name]), out, data_dir=str(SHARED) if SHARED.is_dir() else None)
    assert results.complete
    return results


def accuracies(results: Results) -> dict[str, float]:
    return {row["condition"]: row["accuracy %"] for row in results.rows()}


@pytest.mark.parametrize("name", RUNS)
def test_what_is_run_is_there(name: str) -> None:
    """The one quick test here: the others would otherwise fail, unseen, for a name that has changed."""
    experiment: Any = load(*RUNS[name])
    assert len(experiment.runs) == {"demo": 12, "patches": 5, "mnist": 30}[name]
    assert experiment.conditions.keys() >= ({"Patches"} if name == "patches" else {"sequential", "src", "joint"})


@pytest.mark.slow
def test_demo_gains_15_points(tmp_path: Path) -> None:
    accuracy = accuracies(results_of("demo", tmp_path / "demo"))
    assert accuracy["src"] - accuracy["sequential"] >= 15
    assert accuracy["joint"] > 85


@pytest.mark.slow
def test_patches_are_recovered(tmp_path: Path) -> None:
    """Fig. 1B: task 1 is forgotten from 13 overlapping pixels on, and comes back up to 16."""
    for row in results_of("patches", tmp_path / "patches").rows():
        if row["overlap"] <= 12:
            assert row["T2 %"] == row["S %"] == 100
        elif row["overlap"] <= 16:
            assert row["T2 %"] == pytest.approx(50, abs=5)
            assert row["S %"] >= 95


@pytest.mark.slow
def test_mnist_in_the_released_order(tmp_path: Path) -> None:
    """Table 1: sequential 19.49, SRC 48.47 +- 5.03, joint 98.02 there; 94.15 measured with the authors' script."""
    accuracy = accuracies(results_of("mnist", tmp_path / "mnist"))
    assert 19 <= accuracy["sequential"] <= 20
    assert 43.4 <= accuracy["src"] <= 53.5
    assert accuracy["joint"] >= 94
