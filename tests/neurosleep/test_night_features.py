"""Nights with neurons and projections of their own: through `sleep`, its files and its record, and as TOML."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.experiments.description import from_plain, to_plain
from neurosleep.experiments.paths import below
from neurosleep.networks import relu_network
from neurosleep.night import Member, fall_asleep
from neurosleep.sims.drives.populations import Kicks

STAGE = ns.SpontaneousReplay(
    1500,
    ns.MeanRate(300.0),
    ns.Hebbian(2.0**-8, 2.0**-9),
    thresholds=1.0,
    neurons={
        "hidden1": ns.Neurons(refractory=2, adaptation=ns.Adaptation(0.1, 0.05)),
        "output": ns.Neurons(lateral=0.1),
    },
    projections=[
        ns.Projection("output", "hidden1", ns.RandomWeights(0.0, 0.3), delay=4, plastic=True),
        ns.Projection("hidden1", "hidden1", ns.RandomWeights(mean=-0.05)),
    ],
)


def asleep() -> tuple[torch.nn.Module, ns.Memory]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs = relu_network([12, 8, 3]), torch.rand(40, 12)
    memory = ns.Memory()
    memory.observe(model, inputs)
    return model, memory


def test_a_night_is_slept_saved_and_told(tmp_path: Path) -> None:
    """The projections' end is in the record, and the network that wakes up has its own layers alone."""
    model, memory = asleep()
    before = model.state_dict()
    member = Member.of(model, memory, STAGE, precision="float64")
    assert [each.delay for each in member.network.projections] == [4, 1]
    alone = ns.simulate_ensemble([member], STAGE.steps)[0]
    log, saved = tmp_path / "spikes.h5", tmp_path / "night"
    record = ns.sleep(model, memory, STAGE, precision="float64", log=log, checkpoint=saved)
    assert record.spikes == {
        name: int(n.sum()) for name, n in zip(member.network.populations, alone.spike_counts, strict=True)
    }
    (told,) = record.projections
    end = alone.network.projections[0].weights - member.network.projections[0].weights
    assert (told.layer, told.size) == ("output to hidden1", 24)
    assert told.potentiated + told.depressed == np.count_nonzero(end) > 0
    assert told.largest_change == pytest.approx(np.abs(end).max())
    assert record.to_dict()["projections"][0]["layer"] == "output to hidden1"
    assert record.hidden_until is None
    assert record.synaptic_operations == sum(
        record.spikes[name] * n for name, n in (("input", 8), ("hidden1", 3 + 8), ("output", 8))
    )
    assert model.state_dict().keys() == before.keys()
    with ns.SpikeReader(log) as reader:
        steps, ids = reader.events("hidden1", 0, 1500)
    gaps = [np.diff(steps[ids == neuron]) for neuron in range(8)]
    assert min(gap.min() for gap in gaps if gap.size) > 2


def test_streams_silence_and_kicks_go_with_it() -> None:
    model, memory = asleep()
    drive = {"input": ns.MeanRate(300.0), "output": Kicks(ns.UniformNoise(50.0), 0.8)}
    night = replace(STAGE, steps=300, drive=drive, streams=2, silenced={"hidden1": [0, 3]})
    member = fall_asleep(model, memory, night, precision="float64").member
    both = [ns.simulate_ensemble([member], 300, backend=backend)[0] for backend in ("cpu", "reference")]
    for a, b in zip(both[0].spike_counts, both[1].spike_counts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert both[0].spike_counts[1][[0, 3]].tolist() == [0, 0]
    assert both[0].spike_counts[2].any()


def test_a_night_is_a_table_and_back() -> None:
    table = to_plain(STAGE)
    assert table["projections"][1]["weights"] == {"kind": "RandomWeights", "mean": -0.05}
    assert table["neurons"]["hidden1"]["adaptation"] == {"kind": "Adaptation", "jump": 0.1, "tau": 0.05}
    again = from_plain(table, (ns.SpontaneousReplay,), "night")
    assert to_plain(again) == table
    assert (again.neurons, again.projections[0].weights) == (STAGE.neurons, STAGE.projections[0].weights)
    assert hash(again.neurons) == hash(STAGE.neurons)
    short = {
        "kind": "SpontaneousReplay",
        "steps": 9,
        "drive": {"kind": "MeanRate", "max_rate": 1.0},
        "plasticity": "none",
        "neurons": {"refractory": 2},
        "projections": [{"source": "input", "target": "output", "weights": {"kind": "StoredWeights", "path": "w.npy"}}],
    }
    made = from_plain(short, (ns.SpontaneousReplay,), "night")
    assert made.neurons == ns.Neurons(refractory=2)
    assert made.projections[0].weights == ns.StoredWeights("w.npy")
    assert "neurons.adaptation.tau" not in set(below(short, (ns.SpontaneousReplay,)))
    assert "neurons.refractory" in set(below({**short, "neurons": {}}, (ns.SpontaneousReplay,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neurons": {"hidden1": {"refractroy": 2}}}, "did you mean 'refractory'"),
        ({"neurons": {"hidden1": {"refractory": -2}}}, "night.neurons.hidden1: refractory must be at least 0"),
        ({"projections": [{"source": "input", "target": "output"}]}, r"projections\[0\]: Projection needs weights"),
        ({"projections": [{"source": "a", "target": "b", "weights": {"kind": "Zeros"}}]}, "no kind 'Zeros'"),
        ({"projections": {"source": "a"}}, "expected a list of tables"),
    ],
)  # fmt: skip
def test_tables_that_will_not_do_are_told_by_their_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(ns.InputError, match=message):
        from_plain({**to_plain(STAGE), **change}, (ns.SpontaneousReplay,), "night")


def test_text_cannot_hold_arrays() -> None:
    stage = replace(STAGE, projections=[ns.Projection("input", "output", np.zeros((2, 2)))])
    with pytest.raises(ns.InputError, match="cannot hold ndarray"):
        to_plain(stage)


def test_unknown_populations_are_told_when_a_model_falls_asleep() -> None:
    model, memory = asleep()
    projection = ns.Projection("hidden7", "output", [[1.0]])
    for change in ({"neurons": {"hidden7": ns.Neurons(1)}}, {"projections": [projection]}):
        with pytest.raises(ns.InputError, match="hidden7"):
            ns.sleep(model, memory, replace(STAGE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("normalised", [False, True])
def test_currents_are_scaled(normalised: bool) -> None:
    """Chains and graphs; without currents a night is that of a network without biases."""
    torch.manual_seed(3)
    between = [nn.BatchNorm1d(8, affine=False)] if normalised else []
    model = nn.Sequential(nn.Linear(6, 8), *between, nn.ReLU(), nn.Linear(8, 3)).eval()
    memory = ns.Memory()
    memory.observe(model, torch.rand(20, 6))
    biases = {}
    for scale in (1.0, 0.25, 0.0):
        stage = ns.SpontaneousReplay(200, ns.MeanRate(400.0), ns.Hebbian(0.01, 0.001), 1.0, bias_scale=scale)
        network = fall_asleep(model, memory, stage).network
        biases[scale] = np.concatenate([layer.bias.ravel() for layer in network.layers])
    assert biases[1.0].any()
    np.testing.assert_array_equal(biases[0.25], biases[1.0] / 4)
    assert not biases[0.0].any()
    spikes = [ns.sleep(deepcopy(model), memory, stage, backend="reference").spikes]
    for layer in (0, -1):
        nn.init.zeros_(model[layer].bias)
    spikes.append(ns.sleep(deepcopy(model), memory, stage, backend="reference").spikes)
    assert spikes[0] == spikes[1]
    assert spikes[0]["input"] > 0
