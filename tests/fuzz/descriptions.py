"""Texts, and folders of texts: experiments, settings, arguments, records, searches; and the folder of an experiment."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import PIL.Image

from neurosleep.data import cifar
from neurosleep.experiments import load
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.library import text as shipped
from neurosleep.experiments.loading import from_toml
from neurosleep.experiments.page.report import write_report
from neurosleep.experiments.results import Results
from neurosleep.experiments.running import run
from neurosleep.sims.errors import InputError, NeurosleepError
from neurosleep.tuning.kept import open_study

from . import hdf5, texts
from .commands import command
from .formats import Format, NonsenseError, sane

LIBRARY = ("src-mnist", "sleep-length", "tripartite-mnist", "patches")
TINY = """
question = "q?"
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
[[conditions.asleep.night]]
kind = "SpontaneousReplay"
steps = 200
thresholds = [2.0, 2.0]
gain_scale = 10.0
drive = { kind = "MeanRate", max_rate = 200.0 }
plasticity = { kind = "GatedHebbian", inc = 0.03, dec = 0.003 }
"""
SETTINGS = ("inc=0.03", "base.night.0.steps=3000", 'conditions=["src", "joint"]', "stream.order=random", "seeds=3")


def _toml(folder: Path) -> None:
    for name in LIBRARY:
        (folder / f"{name}.toml").write_text(shipped(name), encoding="utf-8")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")


def _described(folder: Path, number: int) -> Any:
    found = []
    for name in (*LIBRARY, "tiny"):
        experiment = load(folder / f"{name}.toml")
        text = experiment.to_toml()
        sane(from_toml(text).to_toml() == text, "what it writes of itself is another experiment")
        found.append(text)
    return found


def _settings(folder: Path) -> None:
    (folder / "settings.txt").write_text("\n".join(SETTINGS) + "\n")


def _set(folder: Path, number: int) -> Any:
    lines = (folder / "settings.txt").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return load("src-mnist", lines).to_toml()


def _arguments(folder: Path) -> None:
    words = ["src-mnist", "--seeds", "2", "--workers", "1", "--set", "inc=0.03", "--ensemble", "3", "--set", "epochs=2"]
    (folder / "arguments.txt").write_text("\n".join(words) + "\n")


def _commanded(folder: Path, number: int) -> Any:
    words = (folder / "arguments.txt").read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
    return command("run", *words, "--show")


def _experiment() -> Experiment:
    experiment = from_toml(TINY)
    assert isinstance(experiment, Experiment)
    return replace(experiment, logs="first")


def _folder(folder: Path) -> None:
    run(_experiment(), folder / "out", workers=1, progress=False)
    (folder / "out" / "runs" / "awake" / "seed-1.json").unlink()
    (folder / "out" / "runs" / "awake" / "seed-1.error.txt").write_text("a story\nthat ends so\n")


def _opened(folder: Path, number: int) -> Any:
    out = folder / "out"
    results = Results.open(out)
    found = {
        "records": {str(run): record for run, record in results.records.items()},
        "summary": results.summary().to_csv(),
        "table": results.table().to_csv(),
        "told": repr(results),
    }
    damaged = dict(results.damaged)
    if number % 64 == 1 and results.records:
        try:
            write_report(results)
        except NeurosleepError as error:
            raise NonsenseError(f"no page: {error}") from error
        sane((out / "report.html").stat().st_size > 1000, "a page without anything on it")
    elif number % 64 == 17:
        sane(run(results.experiment, out, workers=1, progress=False).complete, "not finished by the same call")
    elif number % 4 == 0:
        results.save()
    if damaged:
        raise InputError(next(iter(damaged.values())))
    with results.spikes("asleep") as reader:
        found["spikes"] = [reader.events(name) for name in reader.layers]
    return found


def _journal(folder: Path) -> None:
    study = open_study(_search(), str(folder / "journal.log"))
    for x in (0.1, 0.2):
        study.enqueue_trial({"inc": x})
        trial = study.ask({"inc": optuna.distributions.FloatDistribution(0, 1)})
        trial.report(x, 1)
        study.tell(trial, x)


def _search() -> Any:
    return SimpleNamespace(seed=0, sampler="tpe")


def _searched(folder: Path, number: int) -> Any:
    study = open_study(_search(), str(folder / "journal.log"))
    return [(t.number, t.state.name, t.values, dict(t.params)) for t in study.get_trials(deepcopy=False)]


def _mosaic(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 800, 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "cat.jpg", quality=88)


def _tiles(folder: Path, number: int) -> Any:
    return cifar._tiles(folder / "cat.jpg", 50, None)


_RUNS = tuple(f"out/runs/{name}" for name in ("awake/seed-0", "asleep/seed-0", "asleep/seed-1"))
FORMATS = (
    Format("toml", _toml, _described, tuple(f"{n}.toml" for n in (*LIBRARY, "tiny")), (texts.of_toml,) * 3, weight=0.7),
    Format("settings", _settings, _set, ("settings.txt",), (texts.of_toml,)),
    Format("arguments", _arguments, _commanded, ("arguments.txt",), (texts.of_toml,)),
    Format(
        "record",
        _folder,
        _opened,
        tuple(f"{name}.json" for name in _RUNS),
        (texts.of_json,),
        weight=0.4,
        first=(0, 1, 17),
    ),
    Format(
        "folder",
        _folder,
        _opened,
        ("out/experiment.toml", "out/runs/asleep/condition.toml", "out/runs/awake/seed-1.error.txt", "out/results.csv"),
        weight=0.2,
    ),
    Format("folder-log", _folder, _opened, ("out/runs/asleep/seed-0.h5",), hdf5.STRUCTURES, weight=0.2),
    Format("search", _journal, _searched, ("journal.log",), weight=0.5),
    Format("mosaic", _mosaic, _tiles, ("cat.jpg",)),
)
