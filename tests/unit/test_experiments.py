"""Configurations mean what they say, and defaults are the released values."""

import numpy as np
import pytest
import torch

from neurosleep import GatedHebbian, Hebbian, InputError, MaskedMeanRate, MeanRate, SpontaneousReplay, UniformNoise
from neurosleep.converters import calibrate
from neurosleep.experiments import EXPERIMENTS
from neurosleep.experiments import config as configuration
from neurosleep.experiments.src_mnist import Config, ImageKeepingMemory, SrcMnist
from neurosleep.networks import relu_network


def stage(n_tasks: int, *settings: str) -> SpontaneousReplay:
    built = SrcMnist()._stage(configuration.build(Config, settings), n_tasks)
    assert isinstance(built, SpontaneousReplay)
    return built


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
        ("src-mnist", ["thresholds=[1.0, 2.0]"], "thresholds needs one value for each of the 3 layers"),
        ("src-mnist", ["order=0 1"], "order must be"),
        ("src-mnist", ["dataset=mnist-small", "window=29"], "window must be from 1 to"),
        ("patches", ["min_overlap=9", "max_overlap=8"], "max_overlap must be at least min_overlap, 9, got 8"),
        ("patches", ["form=corrected", "width=10"], "expected an overlap below 25"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_it_starts(name: str, settings: list[str], message: str) -> None:
    experiment = EXPERIMENTS[name]
    with pytest.raises(InputError, match=message):
        experiment.prepare(configuration.build(experiment.config_type, settings), None)
