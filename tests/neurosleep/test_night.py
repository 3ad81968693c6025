from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.converters import chain
from neurosleep.networks import relu_network

X = np.random.default_rng(1).random((60, 16), dtype=np.float32)


def asleep() -> tuple[nn.Module, ns.Memory]:
    model = relu_network((16, 12, 5), init=0.5, generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, X)
    return model, memory


def stage(**how: object) -> ns.SpontaneousReplay:
    arguments: dict[str, object] = {
        "steps": 400,
        "drive": ns.MeanRate(200.0),
        "plasticity": ns.GatedHebbian(0.02, 0.004),
        "thresholds": 1.0,
        "gain_scale": 2.0,
    }
    return ns.SpontaneousReplay(**{**arguments, **how})


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_record_and_log_tell_what_happened(tmp_path: Path) -> None:
    model, memory = asleep()
    before = weights(model)
    record = ns.sleep(model, memory, stage(plasticity=ns.Hebbian(0.02, 0.004)), seed=3, log=tmp_path / "night.h5")
    assert record.spikes["output"] > 0
    with ns.SpikeReader(tmp_path / "night.h5") as log:
        assert log.complete
        assert {p: log.counts(p) for p in log.populations} == record.spikes
        assert [(e.name, e.start, e.stop, e.seed) for e in log.epochs] == [("spontaneous-replay", 0, 400, 3)]
        assert log.rates("hidden1").mean() == pytest.approx(record.rates["hidden1"])
    assert (record.steps, record.seed, record.backend, record.precision) == (400, 3, "cpu", "float32")
    for old, p, change in zip(before, model.parameters(), record.weight_changes, strict=True):
        difference = (p.detach() - old).double().numpy()
        assert change.potentiated == (difference > 0).sum() > 0
        assert change.depressed == (difference < 0).sum() > 0
        assert change.largest_change == pytest.approx(np.abs(difference).max())
        assert change.mean_after - change.mean_before == pytest.approx(difference.mean(), abs=1e-7)
    assert record.seconds > 0
    assert ns.SleepRecord(**{**record.to_dict(), "weight_changes": record.weight_changes}) == record


@pytest.mark.parametrize("streams", [1, 3])
def test_the_record_says_when_hidden_neurons_fired_last(tmp_path: Path, streams: int) -> None:
    raster = np.zeros((400, 16), dtype=bool)
    raster[[3, 90, 141]] = True
    for index, (drive, decay) in enumerate(((ns.MeanRate(200.0), 0.9), (ns.RecordedSpikes(raster), 1.0))):
        model, memory = asleep()
        night = stage(drive=drive, decay=decay, gain_scale=9.0, streams=streams, plasticity=None)
        path = tmp_path / f"{index}.h5" if streams == 1 else None
        record = ns.sleep(model, memory, night, log=path)
        assert record.hidden_until is not None
        assert record.hidden_until == 142 if index else 350 < record.hidden_until <= 400
        if path is not None:
            with ns.SpikeReader(path) as log:
                assert record.hidden_until == int(log.events("hidden1", 0, 400)[0][-1]) + 1
        assert ns.sleep(model, memory, night, backend="reference").hidden_until is None


def test_same_seed_same_night_with_and_without_log(tmp_path: Path) -> None:
    nights = []
    for log, seed in ((None, 3), (tmp_path / "a.h5", 3), (None, 4)):
        model, memory = asleep()
        record = ns.sleep(model, memory, stage(), seed=seed, log=log)
        nights.append((weights(model), record.spikes))
    assert nights[0][1] == nights[1][1]
    assert all(torch.equal(a, b) for a, b in zip(nights[0][0], nights[1][0], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(nights[0][0], nights[2][0], strict=True))


def test_backends_and_precisions_give_the_same_spikes() -> None:
    spikes = []
    for backend, precision in (("cpu", "float64"), ("reference", "float64"), ("cpu", None)):
        model, memory = asleep()
        spikes.append(ns.sleep(model, memory, stage(), backend=backend, precision=precision).spikes)
    assert spikes[0] == spikes[1]
    assert spikes[0]["input"] == spikes[2]["input"]


def test_stages_follow_each_other_in_one_log(tmp_path: Path) -> None:
    model, memory = asleep()
    with ns.SpikeLog(tmp_path / "nights.h5", {"input": 16, "hidden1": 12, "output": 5}, dt=0.001) as log:
        first = ns.sleep(model, memory, stage(steps=50, name="early"), log=log)
        pruned = ns.sleep(model, None, ns.MagnitudePruning(0.5), log=log)
        assert [int((p == 0).sum()) for p in model.parameters()] == [96, 30]
        second = ns.sleep(model, memory, stage(steps=70, name="late"), log=log)
    assert pruned.spikes == {"input": 0, "hidden1": 0, "output": 0}
    with ns.SpikeReader(tmp_path / "nights.h5") as reader:
        assert [(e.name, e.start, e.stop) for e in reader.epochs] == [("early", 0, 50), ("late", 50, 120)]
        assert reader.counts("input") == first.spikes["input"] + second.spikes["input"]


def test_an_interrupted_night_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model, memory = asleep()
    before = weights(model)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ns.sleep(model, memory, stage(steps=5000), log=tmp_path / "night.h5", on_progress=stop)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    with ns.SpikeReader(tmp_path / "night.h5") as log:
        assert not log.complete
        assert log.complete_until == 1000


def test_a_full_disk_leaves_the_model_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, memory = asleep()
    before = weights(model)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "night.h5")

    monkeypatch.setattr(ns.SpikeLog, "append", full)
    with pytest.raises(OSError, match="No space left"):
        ns.sleep(model, memory, stage(), log=tmp_path / "night.h5")
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_downscaling_in_sleep_and_alone() -> None:
    model, memory = asleep()
    record = ns.sleep(model, memory, stage(downscaling=ns.MagnitudePruning(0.5), downscale_every=400), seed=3)
    assert record.spikes["output"] > 0
    for p in model.parameters():
        assert (p == 0).sum() == round(0.5 * p.numel())  # the last step but one was followed by a downscaling
    before = weights(model)
    record = ns.sleep(model, None, ns.GradedDownscaling(rate=0.5, exponent=2.0))
    assert (record.stage, record.steps) == ("graded-downscaling", 0)
    for old, p in zip(before, model.parameters(), strict=True):
        loss = 1 - (p.detach() / old)[old != 0]
        size = old[old != 0].abs()
        assert 0 < loss.min() < loss.max() <= 0.5
        assert (loss[size.argsort()].diff() <= 1e-6).all()


@pytest.mark.parametrize("night", [stage(), ns.MagnitudePruning(0.5)])
def test_a_model_is_traced_once_a_night(night: object, monkeypatch: pytest.MonkeyPatch) -> None:
    model, memory = asleep()
    seen, trace = [], chain.traced
    monkeypatch.setattr(chain, "traced", lambda module: seen.append(module) or trace(module))
    before = weights(model)
    ns.sleep(model, memory, night)
    assert seen == [model]
    assert not torch.equal(before[0], weights(model)[0])


def test_progress_counts_every_step() -> None:
    model, memory = asleep()
    done: list[int] = []
    ns.sleep(model, memory, stage(steps=2300), on_progress=done.append)
    assert done == [1000, 1000, 300]


def test_what_does_not_fit(tmp_path: Path) -> None:
    model, memory = asleep()
    before = weights(model)
    with pytest.raises(ns.InputError, match=r"needs a memory that has seen data: call memory.observe"):
        ns.sleep(model, ns.Memory(), stage())
    with pytest.raises(ns.InputError, match="needs a memory"):
        ns.sleep(model, None, stage())
    with pytest.raises(ns.InputError, match="784 pixels, but the network has 16 inputs"):
        ns.sleep(model, memory, stage(drive=ns.MaskedMeanRate(10.0)))
    with pytest.raises(ns.InputError, match="steps must be at least 0"):
        stage(steps=-5)
    with pytest.raises(ns.InputError, match="percentile"):
        ns.sleep(model, memory, stage(normalization="percentile"))
    (tmp_path / "there.h5").write_text("mine")
    with pytest.raises(ns.InputError, match=r"there.h5 already exists"):
        ns.sleep(model, memory, stage(), log=tmp_path / "there.h5")
    assert (tmp_path / "there.h5").read_text() == "mine"
    with pytest.raises(ns.ConversionError, match="Tanh"):
        ns.sleep(nn.Sequential(model, nn.Tanh()), memory, stage())
    wrong = ns.Memory()
    wrong.observe(model, X * 3)
    with pytest.raises(ns.InputError, match=r"mean_input must lie in \[0, 1\]"):
        ns.sleep(model, wrong, stage())
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


def frozen_first() -> tuple[nn.Module, ns.Memory]:
    model, memory = asleep()
    first = next(m for m in model.modules() if isinstance(m, nn.Linear))
    first.requires_grad_(False)
    return model, memory


@pytest.mark.parametrize(
    "night",
    [
        stage(),
        stage(downscaling=ns.MagnitudePruning(0.5), downscale_every=100),
        ns.MagnitudePruning(0.5),
        ns.GradedDownscaling(),
    ],
)
def test_frozen_layers_stay_as_they_are(night: object) -> None:
    model, memory = frozen_first()
    before = weights(model)
    ns.sleep(model, memory, night)
    assert torch.equal(before[0], weights(model)[0])
    assert not torch.equal(before[1], weights(model)[1])
    model.requires_grad_(False)
    with pytest.raises(ns.InputError, match=r"could change no layer.*requires_grad_\(True\)"):
        ns.sleep(model, memory, night)


def test_downscaling_of_named_layers() -> None:
    model, memory = asleep()
    first, last = (name for name, m in model.named_modules() if isinstance(m, nn.Linear))
    before = weights(model)
    ns.sleep(model, None, ns.MagnitudePruning(0.5, plastic=[last]))
    assert torch.equal(before[0], weights(model)[0])
    assert (weights(model)[1] == 0).float().mean() == 0.5
    with pytest.raises(ns.InputError, match="plastic must name layers among"):
        ns.sleep(model, None, ns.GradedDownscaling(plastic=["head"]))
    with pytest.raises(ns.InputError, match="plastic must be several names"):
        ns.GradedDownscaling(plastic=first)
    with pytest.raises(ns.InputError, match="leave that of downscaling out"):
        ns.sleep(model, memory, stage(downscaling=ns.MagnitudePruning(0.5, plastic=[last])))
    model.get_submodule(first).requires_grad_(False)
    for asked in (ns.MagnitudePruning(0.5, plastic=[first]), stage(plastic=(first,))):
        with pytest.raises(ns.InputError, match=f"plastic names '{first}', whose weights are frozen"):
            ns.sleep(model, memory, asked)


@pytest.mark.parametrize("how", [{}, {"streams": 2}, {"downscaling": ns.MagnitudePruning(0.5)}, {"decay": 0.9}])
def test_a_member_of_an_ensemble_sleeps_as_the_model_would(how: dict[str, object]) -> None:
    model, memory = asleep()
    night = stage(**how)
    members = [ns.Member.of(model, memory, night, seed=seed) for seed in (3, 4)]
    other, results = ns.simulate_ensemble(members, steps=night.steps)[::-1]
    record = ns.sleep(model, memory, night, seed=3)
    assert [int(counts.sum()) for counts in results.spike_counts] == list(record.spikes.values())
    for layer, p in zip(results.network.layers, model.parameters(), strict=True):
        np.testing.assert_array_equal(layer.weights.T, p.detach())
    assert not np.array_equal(other.spike_counts[0], results.spike_counts[0])
    with pytest.raises(TypeError, match="normalization"):
        ns.to_spiking(model, memory.calibration)
    with pytest.raises(ns.InputError, match=r"normalization must be .*'released', 'none', got 3"):
        stage(normalization=3)


class Soft(ns.Hebbian):
    def factor(self, weights: np.ndarray) -> np.ndarray:
        return 1 / (1 + weights**2)


class Halved(ns.GradedDownscaling):
    def apply(self, weights: np.ndarray) -> np.ndarray:
        return weights / 2


class Named(ns.GatedHebbian):
    """Changes nothing of the rule."""


def test_a_rule_of_ones_own_runs_as_written_or_not_at_all() -> None:
    model, memory = asleep()
    for night in (stage(plasticity=Soft(0.01, 0.001)), stage(downscaling=Halved())):
        with pytest.raises(ns.BackendError, match=r'of its own.* "cpu"|of its own.*\'cpu\''):
            ns.sleep(model, memory, night)
    before = weights(model)
    ns.sleep(model, memory, stage(plasticity=None, downscaling=Halved()), backend="reference")
    assert torch.equal(weights(model)[0], before[0] / 2)
    ns.sleep(model, memory, stage(plasticity=Soft(0.01, 0.001)), backend="reference")
    ns.sleep(model, memory, stage(plasticity=Named(0.01, 0.001)))
    for wrong in ("hebbian", ns.Hebbian):
        with pytest.raises(ns.InputError, match=r"plasticity must be Rule\(...\) or PerLayer\(...\) or None"):
            ns.sleep(model, memory, stage(plasticity=wrong))


def test_public_names_and_module_paths() -> None:
    assert callable(ns.sleep)  # the function, whatever was imported before
    assert set(ns.__all__) <= set(dir(ns))
    for name in ns.__all__:
        assert getattr(ns, name) is not None
    unknown = "nap"
    with pytest.raises(AttributeError, match="nap"):
        getattr(ns, unknown)
