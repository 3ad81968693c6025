"""Thresholds that find themselves: in a night, before it, in files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.continual.learning import night_seed
from neurosleep.experiments.description import from_plain, to_plain
from neurosleep.experiments.loading import build, parse
from neurosleep.experiments.settings import with_settings
from neurosleep.networks import relu_network
from neurosleep.night import Member, fall_asleep
from neurosleep.sims import checkpoint
from neurosleep.sims.errors import InputError
from neurosleep.sims.thresholds import STEPS, firing_rates
from neurosleep.spontaneous_replay import USUAL_RATE
from neurosleep.trial_night import try_night

X = torch.rand(40, 20, generator=torch.Generator().manual_seed(1))
AUTO = ns.SpontaneousReplay(400, ns.MeanRate(60.0), ns.GatedHebbian(0.01, 0.001), target_rates={"hidden1": 0.05})
ASKED = {"hidden1": 0.05, "hidden2": 0.02, "output": 0.02}


def asleep(seed: int = 0) -> tuple[nn.Module, ns.Memory]:
    model, memory = relu_network((20, 60, 40, 10), generator=torch.Generator().manual_seed(seed)), ns.Memory()
    memory.observe(model, X)
    return model, memory


def weights(model: nn.Module) -> list[Any]:
    return [p.tolist() for p in model.parameters()]


def test_a_night_finds_what_is_suggested() -> None:
    model, memory = asleep()
    before = weights(model)
    found = ns.suggest(model, memory, stage=AUTO, seed=3)
    assert weights(model) == before
    assert found.asked == ASKED
    assert {name: found.rates[name] for name in ASKED} == pytest.approx(ASKED, rel=0.04)
    assert found.stage == replace(AUTO, thresholds=found.thresholds, target_rates=USUAL_RATE)
    by_itself, other = asleep(), asleep()
    record = ns.sleep(*by_itself, AUTO, seed=3)
    assert record.thresholds == found.thresholds
    assert record.to_dict()["thresholds"] == found.thresholds
    told = ns.sleep(*other, found.stage, seed=3)
    assert told.spikes == record.spikes
    assert weights(by_itself[0]) == weights(other[0]) != before
    assert fall_asleep(model, memory, AUTO, seed=4).network.layers[0].threshold != found.thresholds["hidden1"]
    assert fall_asleep(model, memory, replace(AUTO, gain_scale=9.0), seed=3).network.layers[1].threshold == (
        pytest.approx(9 * found.thresholds["hidden2"], rel=1e-4)
    )


def test_the_table_says_what_was_asked_and_what_was_got() -> None:
    model, memory = asleep()
    lines = str(ns.suggest(model, memory, {"input": 0.1, "output": 0.04})).splitlines()
    assert lines[0].split() == ["population", "neurons", "threshold", "asked", "%", "got", "%"]
    assert [line.split()[0] for line in lines[1:]] == ["input", "hidden1", "hidden2", "output"]
    assert [line.split()[3] for line in lines[1:]] == ["10", "2", "2", "4"]
    assert [float(line.split()[4]) for line in lines[1:]] == pytest.approx([10, 2, 2, 4], rel=0.1)


def test_a_suggested_drive_lets_the_input_fire_at_its_rate() -> None:
    model, memory = asleep()
    memory.mean_input[:10] = 0  # type: ignore[index]
    for rate in (0.02, 0.1, 0.4):
        drive = ns.suggest(model, memory, {"input": rate, "hidden1": 0.01, "hidden2": 0.01}, steps=600).stage.drive
        assert np.minimum(1, 0.002 * drive.max_rate * memory.mean_input).mean() == pytest.approx(rate, rel=1e-4)
    assert ns.suggest(model, memory, 0.01).asked == dict.fromkeys(("input", *ASKED), 0.01)


def test_a_stopped_night_goes_on_with_the_thresholds_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FIRST_PIECE", 100)
    whole, stopped = asleep(), asleep()
    expected = ns.sleep(*whole, AUTO)

    def stop(_: int) -> None:
        if (tmp_path / "night").exists():
            raise KeyboardInterrupt

    files = {"log": tmp_path / "spikes.h5", "checkpoint": tmp_path / "night"}
    with pytest.raises(KeyboardInterrupt):
        ns.sleep(*stopped, AUTO, on_progress=stop, **files)
    with pytest.raises(InputError, match="another night"):
        ns.sleep(*stopped, replace(AUTO, target_rates=0.03), **files)
    record = ns.sleep(*stopped, AUTO, **files)
    assert record.thresholds == expected.thresholds
    assert weights(stopped[0]) == weights(whole[0])


def test_thresholds_are_those_of_the_intact_network_as_the_night_begins() -> None:
    model, memory = asleep()
    plain = Member.of(model, memory, AUTO)
    lesioned = Member.of(model, memory, replace(AUTO, silenced={"hidden1": range(60), "input": [3]}))
    assert [x.threshold for x in lesioned.network.layers] == [x.threshold for x in plain.network.layers]
    assert firing_rates(replace(plain, segments=())) == ns.suggest(model, memory, stage=AUTO).rates
    pruned = replace(AUTO, downscaling=ns.MagnitudePruning(0.5))
    rates = ns.suggest(model, memory, stage=pruned)
    assert {name: rates.rates[name] for name in ASKED} == pytest.approx(ASKED, rel=0.04)
    for later, same in ((pruned, False), (replace(pruned, downscale_every=100), True)):
        assert (
            Member.of(model, memory, later).network.layers[0].threshold == plain.network.layers[0].threshold
        ) == same
    human = Member.of(model, memory, replace(AUTO, hypnogram="human"))
    assert [x.threshold for x in human.network.layers] == [x.threshold for x in plain.network.layers]
    short = ns.RecordedSpikes(np.random.default_rng(0).random((50, 20)) < 0.1)
    assert ns.suggest(model, memory, stage=replace(AUTO, drive=short, steps=50)).steps == 50 < STEPS


def test_thresholds_by_population() -> None:
    model, memory = asleep()
    stage = ns.SpontaneousReplay(10, ns.MeanRate(60.0), None, {"output": 3.0, "hidden1": 1, "hidden2": 2.0})
    assert [x.threshold for x in fall_asleep(model, memory, stage).network.layers] == [1, 2, 3]
    same = ns.SpontaneousReplay(10, ns.MeanRate(60.0), None, {"hidden1": 1, "hidden2": 2.0, "output": 3.0})
    assert stage == same
    assert hash(stage) == hash(same)
    for thresholds, said in (
        ({"hiden1": 1.0}, "thresholds must name the populations hidden1, hidden2, output, got hiden1"),
        ({"hidden1": 1.0, "output": 2.0}, "must name the populations .* got hidden1, output"),
    ):
        with pytest.raises(InputError, match=said):
            fall_asleep(model, memory, replace(stage, thresholds=thresholds))


def silent(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        list(model.parameters())[1][:] = -1
    return model


def test_what_cannot_be_is_said_before_the_night() -> None:
    model, memory = asleep()
    before = weights(silent(model))
    with pytest.raises(InputError, match="population 'hidden2' can never fire"):
        ns.sleep(model, memory, AUTO)
    assert weights(model) == before
    assert ns.sleep(model, memory, replace(AUTO, steps=0)).thresholds == dict.fromkeys(ASKED, 1.0)
    try_night(silent(relu_network((20, 60, 40, 10))), ns.Memory(), X, [AUTO])
    for make, said in (
        (lambda: ns.suggest(model, ns.Memory()), r"call memory\.observe"),
        (lambda: ns.suggest(model, memory, 0), r"rate of the input must be above 0 and below 1, the share of inputs"),
        (lambda: ns.suggest(model, memory, 2.0, AUTO), r"the rate of 'hidden1' must be above 0 and at most 1"),
        (lambda: ns.suggest(model, memory, "fast"), "target_rates must be a number, got 'fast'"),
        (lambda: ns.suggest(model, memory, {"input": 0.1}, AUTO), "target_rates: no population 'input'"),
        (lambda: ns.suggest(model, memory, steps=0), "steps must be at least 1, got 0"),
        (lambda: try_night(model, memory, X, [replace(AUTO, target_rates={"h": 0.1})]), "target_rates: no population"),
        (lambda: replace(AUTO, thresholds=1.0), "target_rates are what thresholds='auto' aims at"),
        (lambda: replace(AUTO, target_rates=1.5), "target_rates must be above 0 and at most 1, got 1.5"),
        (
            lambda: replace(AUTO, thresholds="atuo", target_rates=USUAL_RATE),
            "thresholds must be a number or .* or 'auto'",
        ),
        (lambda: replace(AUTO, thresholds={"a": 0}, target_rates=USUAL_RATE), "thresholds must be above 0 and finite"),
    ):
        with pytest.raises(InputError, match=said) as error:
            make()
        assert "\n" not in str(error.value)


FILE = """
question = "?"
[[base.night]]
kind = "SpontaneousReplay"
steps = 100
drive = { kind = "MeanRate", max_rate = 5.0 }
plasticity = { kind = "Hebbian", inc = 0.1, dec = 0.2 }
[conditions]
src = {}
"""


def test_thresholds_in_files() -> None:
    for stage in (AUTO, replace(AUTO, thresholds={"hidden1": 1.5, "output": 2.0}, target_rates=USUAL_RATE)):
        assert from_plain(to_plain(stage), (ns.SpontaneousReplay,), "night") == stage

    def night(*settings: str) -> Any:
        (stage,) = build(with_settings(parse(FILE, "mine"), settings)[0], "mine").conditions["src"].night
        return stage.thresholds, stage.target_rates

    assert night() == ("auto", 0.02)
    assert night("thresholds=2") == (2.0, 0.02)
    assert night("thresholds=[1, 2]") == ((1.0, 2.0), 0.02)
    assert night("thresholds={ hidden1 = 1.0 }") == ({"hidden1": 1.0}, 0.02)
    assert night("thresholds=auto", "target_rates=0.01") == ("auto", 0.01)
    assert night("target_rates={ output = 0.01 }") == ("auto", {"output": 0.01})
    with pytest.raises(InputError, match="thresholds = 'atuo' will not do"):
        night("thresholds=atuo")


def test_each_night_of_a_stream_finds_its_own() -> None:
    from neurosleep.continual import Nights, class_incremental, learn
    from neurosleep.training import Trainer

    labels = torch.arange(40) % 4
    stream = class_incremental(X, labels, X, labels)
    model = relu_network((20, 60, 40, 4), generator=torch.Generator().manual_seed(0))
    gentle = replace(AUTO, plasticity=ns.GatedHebbian(1e-4, 1e-5))
    nights = learn(model, stream, Trainer(epochs=1), nights=Nights(lambda n: [gentle], ns.Memory()), seed=5).nights
    assert nights[0].thresholds != nights[1].thresholds
    assert nights[1].seed == night_seed(5, 2, 0)
