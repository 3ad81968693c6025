"""Configurations mean what they say, and defaults are the released values."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from neurosleep import GatedHebbian, Hebbian, InputError, MaskedMeanRate, MeanRate, SpontaneousReplay, UniformNoise
from neurosleep.continual.methods import METHODS
from neurosleep.converters import calibrate
from neurosleep.networks import relu_network
from neurosleep.papers import EXPERIMENTS
from neurosleep.papers import config as configuration
from neurosleep.papers.base import RunContext
from neurosleep.papers.folder import RunFolder
from neurosleep.papers.src import IcarlExperiment, SrcExperiment
from neurosleep.papers.src_config import Config
from neurosleep.papers.src_memories import FirstTaskMemory, ImageKeepingMemory
from neurosleep.papers.src_methods import MethodName


def experiment(name: str) -> SrcExperiment:
    found = EXPERIMENTS[name]
    assert isinstance(found, SrcExperiment)
    return found


def stage(n_tasks: int, *settings: str, name: str = "src-mnist", method: str = "src") -> SpontaneousReplay:
    found = experiment(name)
    return found.stage(configuration.build(found.config_type, settings), n_tasks, MethodName.parse(method))


def test_nights_are_the_released_ones() -> None:
    assert [stage(n).steps for n in range(1, 6)] == [15_000, 20_000, 25_000, 30_000, 35_000]
    first = stage(1)
    assert first.drive == MaskedMeanRate(239.515363, 11, (28, 28))
    assert first.plasticity == GatedHebbian(0.032064, 0.003344, 0.001)
    assert first.thresholds == (14.548273, 44.560317, 38.046326)
    assert (first.gain_scale, first.decay, first.inhibition, first.dt) == (55.882454, 0.999, 0.0, 0.001)
    assert first.normalization == "released"


def test_settings_reach_the_night() -> None:
    assert stage(1, "plasticity=hebbian", "inc=0.5").plasticity == Hebbian(0.5, 0.003344)
    assert stage(1, "drive=mean-rate", "max_rate=10").drive == MeanRate(10.0)
    assert stage(1, "drive=uniform-noise").drive == UniformNoise(239.515363)
    assert stage(2, "sleep_steps=10", "sleep_steps_more=3").steps == 13
    assert stage(1, "normalization=max", "decay=1.0").normalization == "max"


def test_image_keeping_memory_measures_on_everything_seen() -> None:
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    early, late = (relu_network((6, 8, 3), init=0.5, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    memory = ImageKeepingMemory()
    memory.observe(early, x[:20])
    memory.observe(late, x[20:])
    assert memory.calibration == calibrate(late, x)
    assert memory.count == 50
    np.testing.assert_allclose(memory.mean_input, x.double().mean(0).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("src-mnist", ['methods=["prayer"]'], "there is no method 'prayer'; there are: sequential, ewc"),
        ("src-mnist", ['methods=["joint+src"]'], "'joint.src' cannot be: joint has no tasks in sequence"),
        ("src-mnist", ['methods=["sequential:3"]'], "sequential takes no value"),
        ("src-mnist", ['methods=["ewc:much"]'], "'much' is not a number"),
        ("src-mnist", ['methods=["icarl:1.5"]'], "capacity must be a whole number"),
        ("src-mnist", ['methods=["rehearsal:2"]'], "fraction"),
        ("src-mnist", ['methods=["icarl:5"]', "dataset=mnist-small"], "at least 1 exemplar for each of 10 classes"),
        ("src-mnist", ["methods=[]"], "at least one"),
        ("src-mnist", ['methods=["src", "src"]'], "each only once, got src, src"),
        ("src-cub200", [], "CUB-200 needs embeddings that you supply"),
        ("src-mnist", ["thresholds=[1.0, 2.0]"], "thresholds needs one value for each of the 3 layers"),
        ("src-mnist", ["order=0 1"], "order must be"),
        ("src-mnist", ["dataset=mnist-small", "window=29"], "window must be from 1 to"),
        ("patches", ["min_overlap=9", "max_overlap=8"], "max_overlap must be at least min_overlap, 9, got 8"),
        ("patches", ["form=corrected", "width=10"], "expected an overlap below 25"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_it_starts(
    name: str, settings: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEUROSLEEP_DATA", raising=False)
    experiment = EXPERIMENTS[name]
    with pytest.raises(InputError, match=message):
        experiment.prepare(configuration.build(experiment.config_type, settings), None)


def test_presets_and_defaults_can_run() -> None:
    """Every default and preset is a configuration that fits together (data aside)."""
    for found in EXPERIMENTS.values():
        for preset in ({}, *found.presets.values()):
            config = configuration.build(found.config_type, [], preset)
            if isinstance(found, SrcExperiment):
                assert len(config.thresholds) == len(config.hidden) + 1
                assert found.amount(config) > 0


@pytest.mark.parametrize(
    ("name", "rate", "thresholds", "steps"),
    [
        ("src-fashion-mnist", MaskedMeanRate(181.047258), (40.446884, 27.596929, 33.109393), (15_000, 20_000)),
        ("src-cross-modal", MaskedMeanRate(227.437205), (4.700579, 7.750487, 7.055086), (6_666, 12_468)),
        ("src-cifar10", MeanRate(453.020604), (8.070491, 0.907842, 1.728840), (15_000, 15_000)),
        ("src-cub200", MeanRate(32.0), (1.0, 1.0, 1.0), (5_000, 5_000)),
    ],
)
def test_other_data_have_their_released_nights(
    name: str, rate: MaskedMeanRate | MeanRate, thresholds: tuple[float, ...], steps: tuple[int, int]
) -> None:
    nights = [stage(n, name=name) for n in (1, 2)]
    assert tuple(night.steps for night in nights) == steps
    assert nights[0].drive == rate
    assert nights[0].thresholds == thresholds


def test_icarl_sleeps_by_its_capacity() -> None:
    rates = {k: stage(1, name="icarl-mnist", method=f"icarl:{k}+src").drive for k in (50, 100, 500, 1000)}
    assert [drive.max_rate for drive in rates.values()] == [95.654279, 114.365720, 114.365720, 27.393650]
    own = stage(1, "icarl_night=own", name="icarl-mnist", method="icarl:50+src")
    assert own.drive == stage(1).drive
    assert isinstance(experiment("icarl-mnist"), IcarlExperiment)


def test_first_task_memory_knows_only_the_first() -> None:
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    early, late = (relu_network((6, 8, 3), init=0.5, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    memory = FirstTaskMemory()
    memory.observe(early, x[:20])
    memory.observe(late, x[20:])
    assert memory.calibration == calibrate(late, x[:20])
    np.testing.assert_allclose(memory.mean_input, x[:20].double().mean(0).numpy(), rtol=1e-12)


def test_methods_are_read() -> None:
    assert MethodName.parse("src") == MethodName("src", "sequential", None, True)
    assert MethodName.parse("sequential") == MethodName("sequential", "sequential", None, False)
    assert MethodName.parse("rehearsal:0.02+src") == MethodName("rehearsal:0.02+src", "rehearsal", 0.02, True)
    method = MethodName.parse("icarl:50").make(Config(), seed=0)
    assert method.name == "icarl"


def run_small(*settings: str, keep=None, name: str = "src-mnist"):
    found = experiment(name)
    small = [
        *("hidden=[20]", "thresholds=[1.0, 1.0]", "images_per_task=60", "epochs=1", "rehearsal_epochs=1"),
        *("joint_epochs=1", "sleep_steps=50", "sleep_steps_more=0", "dataset=mnist-small"),
    ]
    config = configuration.build(found.config_type, [*small, *settings])
    done: list[float] = []
    found.prepare(config, None)
    context = RunContext(0, "cpu", None, None, done.append)
    if keep is not None:
        context = replace(context, keep=keep)
    run = found.run(config, context)
    return config, run, sum(done)


def test_every_method_runs_and_progress_adds_up() -> None:
    names = [f"{base}{sleep}" for base in METHODS for sleep in ("", "+src") if base != "sequential"]
    names = ["sequential", "src", *names, "joint", "last-task"]
    config, run, done = run_small(f"methods={names}".replace("'", '"'))
    assert list(run["methods"]) == names
    assert done == pytest.approx(experiment("src-mnist").amount(config))
    for name, history in run["methods"].items():
        slept = name == "src" or name.endswith("+src")
        assert len(history["nights"]) == (5 if slept else 0)
    rows = experiment("src-mnist").summarize(config, [run])
    assert [row["method"] for row in rows] == names
    assert run["methods"]["sequential"]["accuracy_matrix"] != run["methods"]["src"]["accuracy_matrix"]


def test_parts_of_a_run_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open("stub", Config())
    keep = partial(folder.keep, 0)
    setting = 'methods=["sequential", "joint"]'
    first = run_small(setting, keep=keep)[1]
    assert {file.name for file in (tmp_path / "runs" / "seed-0.parts").iterdir()} == {"sequential.json", "joint.json"}
    assert run_small(setting, keep=keep) == (first_config(setting), first, 0)  # nothing was done again
    (tmp_path / "runs" / "seed-0.parts" / "joint.json").write_text("{")
    with pytest.raises(InputError, match=r"joint\.json is damaged"):
        run_small(setting, keep=keep)
    folder.write_run(0, first)
    assert not (tmp_path / "runs" / "seed-0.parts").exists()


def first_config(*settings: str) -> Config:
    return run_small(*settings, keep=lambda name, do: {"history": {"nights": []}, "weights": {}, "seconds": 0})[0]


def test_test_on_training_images_is_an_option() -> None:
    found = experiment("src-mnist")
    stream = found.stream(configuration.build(found.config_type, ["dataset=mnist-small", "evaluate_on=train"]), None, 0)
    assert all(task.test_inputs is task.inputs for task in stream.tasks)


def test_stand_in_for_birds() -> None:
    """The protocol of CUB-200, on data that are not CUB-200: two tasks of 100 classes, sleep with the mean input."""
    settings = ["dataset=permuted-digits", "images_per_task=300", 'methods=["sequential", "src"]']
    config, run, _ = run_small(*settings, name="src-cub200")
    assert [len(task) for task in run["tasks"]] == [100, 100]
    assert run["task_names"] == ["0 to 99", "100 to 199"]
    row = experiment("src-cub200").summarize(config, [run])[0]
    assert {"task 1 %", "task 2 %"} <= set(row)
