"""Silenced neurons in a night, and what a record tells of a stage."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.converters import to_spiking
from neurosleep.networks import relu_network
from neurosleep.sims.drives.silenced import Silenced
from neurosleep.sims.silencing import Silencing
from neurosleep.sleep_record import synaptic_operations

X = np.random.default_rng(1).random((60, 16), dtype=np.float32)
EVERY = {"input": range(16), "hidden1": range(12), "output": range(5)}


def asleep(cut: tuple[int, ...] = ()) -> tuple[nn.Module, ns.Memory]:
    """A network and its memory; nothing comes to the hidden neurons in `cut`, whatever was measured before."""
    model = relu_network((16, 12, 5), init=0.5, generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, X)
    with torch.no_grad():
        next(model.parameters())[list(cut)] = 0
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


def raster(path: Path, population: str) -> np.ndarray:
    with ns.SpikeReader(path) as log:
        return log.raster(population)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_silenced_neurons_are_as_if_nothing_came_to_them(backend: str, tmp_path: Path) -> None:
    model, memory = asleep()
    before = weights(model)
    silenced = {"hidden1": [7, 2], "input": [0, 5]}
    record = ns.sleep(model, memory, stage(silenced=silenced), seed=3, backend=backend, log=tmp_path / "a.h5")
    other, memory = asleep(cut=(2, 7))
    expected = ns.sleep(
        other, memory, stage(silenced={"input": [0, 5]}), seed=3, backend=backend, log=tmp_path / "b.h5"
    )
    assert record.spikes == expected.spikes
    assert record.spikes["output"] > 0
    for population, quiet in (("input", [0, 5]), ("hidden1", [2, 7]), ("output", [])):
        spikes = raster(tmp_path / "a.h5", population)
        assert not spikes[:, quiet].any()
        np.testing.assert_array_equal(spikes, raster(tmp_path / "b.h5", population))
    first, second = weights(model)
    assert torch.equal(first[[2, 7]], before[0][[2, 7]])  # those into silenced neurons, biased by nothing
    rest = [i for i in range(12) if i not in (2, 7)]
    assert torch.equal(first[rest], weights(other)[0][rest])
    assert torch.equal(second, weights(other)[1])
    assert (second[:, [2, 7]] <= before[1][:, [2, 7]]).all()  # a silent presynaptic neuron: only ever depressed
    assert (second[:, [2, 7]] < before[1][:, [2, 7]]).any()
    assert record.silenced == {"hidden1": 2, "input": 2}


def test_silencing_nobody_is_the_ordinary_night() -> None:
    nights = []
    for silenced in (None, {}, {"hidden1": []}):
        model, memory = asleep()
        nights.append((ns.sleep(model, memory, stage(silenced=silenced), seed=3).spikes, weights(model)))
    for spikes, after in nights[1:]:
        assert spikes == nights[0][0]
        assert all(torch.equal(a, b) for a, b in zip(after, nights[0][1], strict=True))
    assert stage(silenced={"hidden1": []}) == stage()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("populations", [("input",), ("hidden1",), ("output",), ("input", "hidden1", "output")])
def test_whole_populations_can_be_silenced(populations: tuple[str, ...], backend: str) -> None:
    model, memory = asleep()
    before = weights(model)
    record = ns.sleep(model, memory, stage(silenced={p: EVERY[p] for p in populations}, steps=60), backend=backend)
    silent_from = min(list(EVERY).index(p) for p in populations)
    assert [n > 0 for n in record.spikes.values()] == [i < silent_from for i in range(3)]
    changed = [not torch.equal(a, b) for a, b in zip(before, weights(model), strict=True)]
    assert changed == [i < silent_from - 1 for i in range(2)]


@pytest.mark.parametrize("how", [{"streams": 3}, {"plasticity": ns.Hebbian(0.02, 0.004)}, {"inhibition": 0.5}])
def test_other_kinds_of_night(how: dict[str, object], tmp_path: Path) -> None:
    records = []
    for backend in ("cpu", "reference"):
        model, memory = asleep()
        before = weights(model)
        quiet = stage(silenced={"hidden1": range(4)}, **how)
        records.append(ns.sleep(model, memory, quiet, backend=backend, precision="float64", log=tmp_path / backend))
        assert not raster(tmp_path / backend, "hidden1")[:, :4].any()
        assert raster(tmp_path / backend, "hidden1")[:, 4:].any()
        assert torch.equal(weights(model)[0][:4], before[0][:4])
    assert records[0].spikes == records[1].spikes


def test_convolutions_can_be_silenced() -> None:
    torch.manual_seed(0)
    images = torch.rand(20, 1, 6, 6)
    for backend in ("cpu", "reference"):
        model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4, bias=False))
        memory = ns.Memory()
        memory.observe(model, images)
        record = ns.sleep(model, memory, stage(silenced={"hidden1": range(48)}), backend=backend)
        assert record.spikes["input"] > 0
        assert record.spikes["hidden1"] == record.spikes["output"] == 0


def test_recorded_spikes_are_dropped_and_others_kept() -> None:
    spikes = np.random.default_rng(0).random((50, 6)) < 0.4
    schedule = Silenced(ns.RecordedSpikes(spikes), (1, 4)).schedule(6, 0.001, None)
    kept = np.zeros_like(spikes)
    for step in range(50):
        kept[step, schedule.ids[schedule.offsets[step] : schedule.offsets[step + 1]]] = True
    expected = spikes.copy()
    expected[:, [1, 4]] = False
    np.testing.assert_array_equal(kept, expected)
    with pytest.raises(ns.InputError, match="silenced input neurons must be from 0 to 5, got 6"):
        Silenced(ns.UniformNoise(5.0), (0, 6)).schedule(6, 0.001, None)


def test_a_night_with_a_checkpoint(tmp_path: Path) -> None:
    quiet = stage(silenced={"hidden1": [0, 1, 2]}, steps=2500)
    model, memory = asleep()
    whole = ns.sleep(model, memory, quiet, seed=3)
    resumed, memory = asleep()

    def stop(_: int) -> None:
        if (tmp_path / "night").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ns.sleep(resumed, memory, quiet, seed=3, checkpoint=tmp_path / "night", on_progress=stop)
    with pytest.raises(ns.InputError, match="checkpoint of another night"):
        ns.sleep(resumed, memory, stage(steps=2500), seed=3, checkpoint=tmp_path / "night")
    record = ns.sleep(resumed, memory, quiet, seed=3, checkpoint=tmp_path / "night")
    assert record.spikes == whole.spikes
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(resumed), strict=True))


def test_membranes_in_a_log(tmp_path: Path) -> None:
    model, memory = asleep()
    sizes = {"input": 16, "hidden1": 12, "output": 5}
    with ns.SpikeLog(tmp_path / "night.h5", sizes, dt=0.001, membranes_every=50) as log:
        ns.sleep(model, memory, stage(silenced={"hidden1": [3]}, decay=0.2), log=log)
    with ns.SpikeReader(tmp_path / "night.h5") as reader:
        _, membranes = reader.membranes("hidden1")
    assert not (membranes[:, 3] > -np.inf).any()
    assert np.isfinite(np.delete(membranes, 3, axis=1)).all()


def test_a_stage_can_be_compared_kept_and_read() -> None:
    one = stage(silenced={"hidden1": np.array([5, 0, 5]), "input": (1,)})
    two = stage(silenced={"input": [1], "hidden1": [0, 5]})
    assert one == two != stage()
    assert hash(one) == hash(two)
    assert one.silenced == {"hidden1": (0, 5), "input": (1,)}
    assert "silenced={'hidden1': (0, 5), 'input': (1,)}" in repr(one)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    assert dict(one.silenced or {})["input"] == (1,)


def test_what_cannot_be_silenced() -> None:
    model, memory = asleep()
    before = weights(model)
    with pytest.raises(ns.InputError, match=r"no population 'hiden1' to silence; did you mean 'hidden1'\? \(there are"):
        ns.sleep(model, memory, stage(silenced={"hiden1": [1]}))
    with pytest.raises(ns.InputError, match="silenced neurons of 'output' must be from 0 to 4, got 5"):
        ns.sleep(model, memory, stage(silenced={"output": [1, 5]}))
    for wrong in ([-1], [0.5], [True], "abc", 3.5):
        with pytest.raises(ns.InputError, match="silenced neurons of 'output' must be whole numbers from 0, got"):
            stage(silenced={"output": wrong})
    with pytest.raises(ns.InputError, match="silenced must name populations and their neurons"):
        stage(silenced=["hidden1"])
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_record_of_a_stage(tmp_path: Path) -> None:
    model, memory = asleep()
    record = ns.sleep(model, memory, stage())
    assert (record.kind, record.populations) == ("SpontaneousReplay", {"input": 16, "hidden1": 12, "output": 5})
    assert record.synaptic_operations == 12 * record.spikes["input"] + 5 * record.spikes["hidden1"] > 0
    assert record.silenced == {}
    pruned = ns.sleep(model, None, ns.MagnitudePruning(0.5))
    assert (pruned.kind, pruned.populations, pruned.synaptic_operations) == ("MagnitudePruning", {}, 0)
    earlier = {"stage": "night", "steps": 1, "dt": 0.1, "seed": 0, "backend": "cpu", "precision": "float32"}
    assert ns.SleepRecord(**earlier, seconds=1.0).kind == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2)],
        [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.AvgPool2d(2, stride=1), nn.Conv2d(6, 2, 2, dilation=2)],
    ],
)
def test_synaptic_operations_of_convolutions(layers: list[nn.Module]) -> None:
    """By hand: a spike passes as many synapses as there are weights and places through which it changes an output."""
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    network = to_spiking(model, torch.rand(3, 2, 8, 8), normalization="none", decay=1.0)
    for place, layer in enumerate(network.layers):
        shape = layer.input_shape
        module = [part for part in model if isinstance(part, nn.Conv2d)][place]
        pool = nn.AvgPool2d(2, stride=1) if place else nn.Identity()
        for neuron in (0, 9, int(np.prod(shape)) - 1, int(np.prod(shape)) // 2 + 3):
            spike = torch.zeros(1, int(np.prod(shape)))
            spike[0, neuron] = 1
            seen = (pool(spike.reshape(1, *shape)) > 0).float()
            with torch.no_grad():
                module.weight.fill_(1.0)
                passed = int(
                    nn.functional.conv2d(
                        seen, module.weight, None, module.stride, module.padding, module.dilation, module.groups
                    ).sum()
                )
            counts = [np.zeros(n, dtype=np.int64) for n in network.sizes]
            counts[place][neuron] = 2
            assert synaptic_operations(network, counts) == 2 * passed > 0


def test_silencing_is_a_mapping() -> None:
    silencing = Silencing({"output": {2, 1}})
    assert dict(silencing) == {"output": (1, 2)}
    assert silencing.get("input", ()) == ()
    assert len(silencing) == 1
