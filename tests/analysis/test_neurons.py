"""Which neurons are specific, what reaches them, and whether they fire more: on networks where that is known."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from neurosleep import InputError, RecordedSpikes, SpikeLog, SpikeReader, simulate
from neurosleep.analysis import (
    ClassResponses,
    bonferroni,
    class_responses,
    compare,
    count_spikes,
    input_change,
    night_rates,
    random_neurons,
    specific_neurons,
)
from neurosleep.analysis.summaries import input_changes, replay
from neurosleep.sims.network import Kernels, SpikingLayer, SpikingNetwork

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("inhibition", "biased"), [(0.0, False), (0.3, True)])
def test_counting_is_the_reference_engines(inhibition: float, biased: bool) -> None:
    rng = np.random.default_rng(1)
    sizes = (12, 9, 8, 5)
    layers = tuple(
        SpikingLayer(
            rng.normal(0.1, 0.5, (a, b)),
            gain=0.7,
            threshold=0.9,
            decay=0.9,
            inhibition=inhibition,
            bias=rng.random(b) * 0.1 if biased else None,
        )
        for a, b in pairwise(sizes)
    )
    network = SpikingNetwork(layers)
    trains = rng.random((25, 4, 12)) < 0.3
    counts = count_spikes(network, trains)
    assert all(0 < c.sum() < c.size * 25 for c in counts)
    for index in range(4):
        expected = simulate(network, RecordedSpikes(trains[:, index]), None, 25, backend="reference").spike_counts
        for got, want in zip(counts, expected[1:], strict=True):
            np.testing.assert_array_equal(got[index], want)


def answering_network() -> SpikingNetwork:
    """Eight inputs, two a class; hidden neuron 2 c and 2 c + 1 fire with the inputs of class c, neuron 8 never."""
    first = np.zeros((8, 9), dtype=np.float32)
    for i in range(8):
        first[i, i] = 1.0
    first[6, 7] = first[7, 6] = 1.0  # the last pair answers to both its inputs, and so more often
    second = np.eye(9, dtype=np.float32)[::-1].copy()  # the same neurons in reverse
    return SpikingNetwork(
        (
            SpikingLayer(first, threshold=0.9),
            SpikingLayer(second, threshold=0.9),
            SpikingLayer(np.ones((9, 4), np.float32)),
        )
    )


def inputs_of_classes() -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros((8, 8), dtype=np.float32)
    for c in range(4):
        x[c, 2 * c], x[c, 2 * c + 1] = 1.0, 0.4  # the even neuron of a pair fires more
    x[4:] = x[:4]
    return x, np.array([0, 1, 2, 3, 0, 1, 2, 3])


def test_specific_neurons_are_those_that_answer() -> None:
    x, y = inputs_of_classes()
    responses = class_responses(answering_network(), x, y, seed=5)
    assert responses.classes == (0, 1, 2, 3)
    assert len(responses.counts) == 2  # hidden layers only
    assert responses.counts[0][1, 2] == 25  # an input of 1 fires in every step
    assert 0 < responses.counts[0][1, 3] < 25
    assert responses.counts[0][:, 8].sum() == 0
    below, above = specific_neurons(responses, top=2)
    assert [sorted(group.tolist()) for group in below] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert below[0].tolist() == [0, 1]  # most spikes first
    assert [sorted(group.tolist()) for group in above] == [[7, 8], [5, 6], [3, 4], [1, 2]]
    assert [len(group) for group in specific_neurons(responses, top=5)[0]] == [2, 2, 2, 2]  # silent ones never


def test_responses_do_not_depend_on_labels_and_do_on_the_seed() -> None:
    x, y = inputs_of_classes()
    network = answering_network()
    one, same, other = (class_responses(network, x, y, seed=s).counts[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    together = class_responses(network, x, np.zeros(8, dtype=int), seed=1).counts[0]
    np.testing.assert_allclose(together[0], one.mean(0))


def test_two_readings_of_specific() -> None:
    """Neuron 0 fires most for class 0, and even more for class 1."""
    responses = ClassResponses((0, 1), [np.array([[9.0, 5, 0], [10, 0, 1]])], 25)
    assert [g.tolist() for g in specific_neurons(responses, top=1)[0]] == [[1], [0]]
    assert [g.tolist() for g in specific_neurons(responses, top=1, selection="most-active")[0]] == [[0], [0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.full((2, 8), 2.0)}, r"inputs must lie in \[0, 1\]"),
        ({"inputs": np.zeros((2, 7))}, r"inputs must be \(n, 8\)"),
        ({"labels": [0]}, r"labels must be \(2,\)"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_responses_refuse(change: dict[str, object], message: str) -> None:
    arguments = {"inputs": np.zeros((2, 8)), "labels": [0, 1]} | change
    with pytest.raises(InputError, match=message):
        class_responses(answering_network(), **arguments)
    with pytest.raises(InputError, match="input spikes must be"):
        count_spikes(answering_network(), np.zeros((3, 2, 7), dtype=bool))


def two_layers(first: list[list[float]], second: list[list[float]]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    for layer, weights in ((model[0], first), (model[2], second)):
        layer.weight.data = torch.tensor(weights, dtype=torch.float32)
    return model


def test_input_change_by_hand() -> None:
    before = two_layers([[1, 0], [0, 1], [1, 1]], [[1, 1, 1], [0, 0, 1]])
    after = two_layers([[2, 0], [0, -1], [1, 1]], [[1, 1, 1], [0, 0, 3]])
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    hidden, output = input_change(before, after, [[0, 1], [1]], x)
    np.testing.assert_allclose(hidden.before, [2, 1])  # means of (1, 3) and (2, 0)
    np.testing.assert_allclose(hidden.after, [4, -1])
    np.testing.assert_allclose(hidden.change, [2, -2])
    np.testing.assert_allclose(output.change, [6])  # 3 becomes 9
    with pytest.raises(InputError, match="indices from 0 to 2"):
        input_change(before, after, [[3]], x)
    with pytest.raises(InputError, match="neurons of 3 layers"):
        input_change(before, after, [[0], [0], [0]], x)


def test_input_changes_show_each_class_its_own_inputs() -> None:
    before = two_layers([[1, 0], [0, 1], [1, 1]], [[1, 1, 1], [0, 0, 1]])
    after = two_layers([[2, 0], [0, -1], [1, 1]], [[1, 1, 1], [0, 0, 1]])
    x, y = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([0, 1])
    neurons = [[np.array([0]), np.array([0, 1])]]
    (found,) = input_changes(before, after, neurons, x, y, [0, 1], [[0], [1]])
    assert [task["change"] for task in found["tasks"]] == [1.0, 1.5]  # 1 -> 2; 3 -> 6 and 0 -> 0
    assert found["tasks"][1]["n"] == 2
    assert found["test"] is None  # task 1 has one neuron only


@pytest.mark.parametrize("kind", ["welch", "student"])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_t_test_is_scipys(kind: str, alternative: str) -> None:
    a, b = RNG.normal(1, 1, 30), RNG.normal(0.5, 3, 20)
    found = compare(a, b, kind=kind, alternative=alternative, comparisons=3)
    expected = stats.ttest_ind(a, b, equal_var=kind == "student", alternative=alternative)
    assert (found.statistic, found.df) == (expected.statistic, expected.df)
    assert found.p_uncorrected == expected.pvalue
    assert found.p == min(1, 3 * expected.pvalue)
    assert found.ns == (30, 20)
    assert found.sds == (pytest.approx(a.std(ddof=1)), pytest.approx(b.std(ddof=1)))


def test_t_by_hand() -> None:
    """Means 2 and 5, variances 1, n = 3: t = -3 / sqrt(2 / 3) = -3.674 with 4 degrees of freedom."""
    found = compare([1, 2, 3], [4, 5, 6], kind="student", comparisons=2)
    assert found.statistic == pytest.approx(-3 / math.sqrt(2 / 3))
    assert found.df == 4
    assert str(found) == "t(4) = -3.67, p = 0.043 (Bonferroni, 2 tests), n = 3 and 3"
    one_sided = compare([1, 2, 3], [4, 5, 6], kind="student", alternative="less")
    assert str(one_sided) == "t(4) = -3.67, p = 0.011, one-sided, n = 3 and 3"


def test_bonferroni() -> None:
    assert bonferroni(0.01, 8) == pytest.approx(0.08)
    assert bonferroni(0.3, 8) == 1
    assert math.isnan(bonferroni(math.nan, 8))


def test_a_test_without_spread_is_not_defined() -> None:
    found = compare([0.0, 0.0], [0.0, 0.0])
    assert str(found) == "t not defined (no spread), n = 2 and 2"
    assert found.to_dict()["p"] is None
    assert compare([0.0, 0.0], [0.0, 1.0]).p_uncorrected < 1  # one group's spread will do


def test_t_test_refuses() -> None:
    with pytest.raises(InputError, match="at least two finite values"):
        compare([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="kind must be"):
        compare([1, 2], [1, 2], kind="u")
    with pytest.raises(InputError, match="alternative must be"):
        compare([1, 2], [1, 2], alternative="more")
    with pytest.raises(InputError, match="comparisons must be"):
        compare([1, 2], [1, 2], comparisons=0)


def test_random_neurons_are_none_of_the_specific_ones() -> None:
    drawn = random_neurons(20, 8, exclude=[np.arange(10), [10, 11]], seed=1)
    assert drawn.tolist() == [12, 13, 14, 15, 16, 17, 18, 19]
    some = random_neurons(100, 10, exclude=[np.arange(50)], seed=1)
    assert len(set(some.tolist())) == 10
    assert some.min() >= 50
    assert some.tolist() == random_neurons(100, 10, exclude=[np.arange(50)], seed=1).tolist()
    assert some.tolist() != random_neurons(100, 10, exclude=[np.arange(50)], seed=2).tolist()
    with pytest.raises(InputError, match="9 random neurons were asked for, but 8 of the layer's 20"):
        random_neurons(20, 9, exclude=[np.arange(12)])


def test_rates_of_one_night_of_a_log(tmp_path: Path) -> None:
    with SpikeLog(tmp_path / "night.h5", {"input": 2, "output": 2}, dt=0.5) as log:
        for name, neuron in (("first", 0), ("second", 1)):
            log.begin_epoch(name)
            spike = np.array([0], dtype=np.uint32), np.array([neuron], dtype=np.uint32)
            log.append([spike, spike], 4)
            log.end_epoch()
    with SpikeReader(tmp_path / "night.h5") as reader:
        assert night_rates(reader, 0)["output"].tolist() == [0.5, 0]  # one spike in 4 steps of 0.5 s
        assert night_rates(reader)["output"].tolist() == [0, 0.5]
        with pytest.raises(InputError, match="there is no night 2"):
            night_rates(reader, 2)


def test_replay_compares_each_class_and_the_tasks() -> None:
    rates = np.array([5.0, 6, 1, 2, 9, 8, 7, 9, 0, 1])
    groups = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5]), np.array([6, 7])]
    found, above = replay([rates, rates[::-1]], [groups] * 2, [np.array([8, 9])] * 2, [0, 1, 2, 3], [[0, 1], [2, 3]])
    assert [group["mean"] for group in found["groups"]] == [5.5, 1.5, 8.5, 8, 0.5]
    assert [group["class"] for group in found["groups"]] == [0, 1, 2, 3, None]
    assert above["groups"][0]["mean"] == 0.5
    expected = stats.ttest_ind([9, 8], [0, 1], equal_var=False)
    assert found["tests"][2]["p"] == pytest.approx(8 * expected.pvalue)  # four classes, two layers
    recent = stats.ttest_ind([9, 8, 7, 9], [5, 6, 1, 2], equal_var=False, alternative="greater")
    assert found["recent"]["p"] == pytest.approx(2 * recent.pvalue)
    assert found["recent"]["statistic"] > 0
    assert found["recent"]["alternative"] == "greater"


def test_class_specific_neurons_are_of_dense_layers_only() -> None:
    layer = SpikingLayer(np.ones((2, 1, 3, 3), dtype=np.float32), kernels=Kernels((1, 5, 5)), name="conv")
    with pytest.raises(InputError, match=r"got convolutions \('conv'\): give the dense layers"):
        count_spikes(SpikingNetwork((layer,)), np.zeros((1, 1, 25), dtype=bool))
