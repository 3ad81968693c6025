"""A headless browser, and pages of experiments with a few made-up runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.record import RunId
from neurosleep.sims.spikes.log import SpikeLog

NIGHT = ns.SpontaneousReplay(
    400, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)
SIZES = {"input": 50, "hidden1": 80, "output": 10}
NASTY = 'a <b onclick="x()">&amp; "%{y}" </script>'


def tiny(conditions: dict[str, Condition], seeds: int, logs: str = "first", question: str = "Does it?") -> Experiment:
    """An experiment that is not run here: `fill` writes what it would have left."""
    return Experiment(question, conditions, seeds=seeds, logs=logs, stream=DataStream(images_per_task=60))


def record(experiment: Experiment, run: RunId, spikes: dict[str, int] | None) -> dict:
    """A finished run with made-up numbers, which are the same every time."""
    draw = np.random.default_rng([run.seed, list(experiment.conditions).index(run.condition)])
    asleep = bool(experiment.conditions[run.condition].night)
    names = [f"{letter}{task}" for task in (1, 2) for letter in ("TS" if asleep else "T")]
    points = [
        {"name": name, "task": int(name[1]), "task_accuracies": draw.random(2).tolist(), "accuracy": draw.random()}
        for name in names
    ]
    stages = [
        {
            "task": task, "index": 0, "stage": "night", "kind": "SpontaneousReplay", "seconds": 0.1,
            "begin": 400 * (task - 1), "steps": 400, "dt": 0.001, "seed": task, "backend": "cpu",
            "precision": "float32", "populations": SIZES, "spikes": spikes or dict.fromkeys(SIZES, 5),
            "rates": dict.fromkeys(SIZES, draw.random()), "silenced": {}, "synaptic_operations": 10,
            "weight_changes": [
                {"layer": str(i), "size": 100, "potentiated": 3, "depressed": 20, "mean_before": 0.0,
                 "mean_after": 0.1, "mean_absolute_change": 0.1, "largest_change": 0.2}
                for i in range(2)
            ],
        }
        for task in ((1, 2) if asleep else ())
    ]  # fmt: skip
    return {
        "format": 1, "condition": run.condition, "seed": run.seed, "accuracy": points[-1]["accuracy"],
        "tasks": [{"name": "0, 1", "classes": [0, 1]}, {"name": "2, 3", "classes": [2, 3]}],
        "checkpoints": points, "stages": stages, "specific": None, "log": spikes is not None,
        "seconds": {"total": 1.0, "sleep": 0.2}, "versions": {"neurosleep": "1", "torch": "2"},
        "machine": {"python": "3.11", "system": "any <os>", "processor": "p", "cores": 1},
    }  # fmt: skip


def fill(
    folder: Path, experiment: Experiment, failing: tuple[RunId, ...] = (), missing: tuple[RunId, ...] = ()
) -> Path:
    """Write the folder of an experiment as its runs would have."""
    files = ExperimentFolder(folder)
    files.open(experiment)
    for run in experiment.runs:
        if run in failing:
            files.write_error(run, "Traceback\nInputError: <it> failed & fell")
        elif run not in missing:
            logged = experiment.logged(run) and bool(experiment.conditions[run.condition].night)
            log = folder / "half.h5" if logged else None
            spikes = write_spikes(log) if log else None
            files.write_run(run, json.loads(json.dumps(record(experiment, run, spikes))), log)
    return folder


def write_spikes(path: Path, per_neuron: int = 6) -> dict[str, int]:
    """Write two nights of random spikes; return how many each population has in each."""
    draw = np.random.default_rng(0)
    with SpikeLog(path, SIZES, dt=0.001, seed=0, overwrite=True) as log:
        for night in (0, 1):
            log.begin_epoch(f"night {night + 1}")
            log.append(
                [
                    (
                        np.sort(draw.integers(0, 400, per_neuron * size)).astype(np.uint32),
                        draw.integers(0, size, per_neuron * size).astype(np.uint32),
                    )
                    for size in SIZES.values()
                ],
                400,
            )
            log.end_epoch()
    return {name: per_neuron * size for name, size in SIZES.items()}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The page of each of some experiments, by name."""
    from neurosleep.experiments.page.report import write_report
    from neurosleep.experiments.results import Results

    base = tmp_path_factory.mktemp("pages")
    two = {"awake": Condition(), "asleep": Condition([NIGHT])}
    three = {**two, NASTY: Condition([replace(NIGHT, steps=300)])}
    names = ("rehearsal:0.02+src", "a_name_without_any_space_that_goes_on_and_on", "icarl:100 with nights of its own")
    many = {
        name: Condition([replace(NIGHT, steps=100 + n)])
        for n, name in enumerate((*names, *(f"p{n}+rem" for n in range(17))))
    }
    folders = [
        fill(base / "two", tiny(two, 4)),
        fill(
            base / "nasty", tiny(three, 3, question=f"Is {NASTY} safe?"),
            failing=(RunId("asleep", 1),), missing=(RunId(NASTY, 2),),
        ),
        fill(base / "many", tiny(many, 2, "none")),
        fill(base / "one", tiny({"asleep": Condition([NIGHT])}, 1)),
        fill(base / "empty", tiny(two, 1), missing=tuple(tiny(two, 1).runs)),
    ]  # fmt: skip
    return {folder.name: write_report(Results.open(folder)) for folder in folders}


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine: pages cannot be looked at")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def look(browser, pages):
    """Open a page of an experiment; in the end nothing may have gone wrong, nor anything but pages been asked for."""
    contexts, wrong, asked = [], [], []

    def open_page(name: str, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[name].as_uri())
        page.wait_for_function("!document.getElementById('night') || document.getElementById('raster')._fullLayout")
        return page

    yield open_page
    addresses = {page.as_uri() for page in pages.values()}
    for context in contexts:
        context.close()
    assert wrong == []
    # What a page has in itself (data:, blob:) is no request to anyone.
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} <= addresses
