"""Changes of weights, blocks of them, cosines, and the quantities of Fig. 1C-D, on numbers to be checked by eye."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from neurosleep import InputError
from neurosleep.analysis import (
    block_means,
    cosine_similarity,
    group_weights,
    histogram,
    layer_weights,
    output_inputs,
    pixel_groups,
    weight_changes,
)
from neurosleep.analysis.summaries import weight_blocks
from neurosleep.networks import relu_network


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    one, other = (relu_network((4, 6, 5, 3), init=1, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    return one, other


def test_weights_are_pre_major_copies() -> None:
    model, _ = networks()
    weights = layer_weights(model)
    assert [w.shape for w in weights] == [(4, 6), (6, 5), (5, 3)]
    assert weights[0][1, 2] == float(model[1].weight.detach()[2, 1])
    weights[0][:] = 7
    assert float(model[1].weight.detach().max()) < 7


def test_changes_are_after_minus_before() -> None:
    before, after = networks()
    changes = weight_changes(before, after)
    assert changes[1][2, 3] == pytest.approx(float((after[4].weight - before[4].weight).detach()[3, 2]))
    np.testing.assert_array_equal(weight_changes(layer_weights(before), after)[2], changes[2])
    with pytest.raises(InputError, match="layers of the same shapes"):
        weight_changes(before, layer_weights(after)[:2])


def test_cosine_by_hand() -> None:
    assert cosine_similarity([np.array([[3.0, 4.0]])], [np.array([[4.0, 3.0]])]) == [pytest.approx(24 / 25)]
    assert cosine_similarity([np.array([[1.0], [0.0]])], [np.array([[-2.0], [0.0]])]) == [-1]
    assert math.isnan(cosine_similarity([np.zeros((1, 1))], [np.ones((1, 1))])[0])
    one, _ = networks()
    assert cosine_similarity(one, one) == [pytest.approx(1)] * 3


def test_block_means_by_hand() -> None:
    w = np.array([[1.0, 2, 3], [4, 5, 6]])
    found = block_means(w, [[0], [0, 1], []], [[0, 2], [1]])
    np.testing.assert_allclose(found, [[2, 2], [3.5, 3.5], [np.nan, np.nan]])
    with pytest.raises(InputError, match="postsynaptic groups must hold indices from 0 to 2"):
        block_means(w, [[0]], [[3]])
    with pytest.raises(InputError, match="presynaptic groups"):
        block_means(w, [[-1]], [[0]])
    with pytest.raises(InputError, match=r"\(n_pre, n_post\)"):
        block_means(w[0], [[0]], [[0]])


def test_histogram_keeps_every_value() -> None:
    found = histogram([-9, -0.6, 0.1, 0.2, 9], -1, 1, bins=4)
    assert found == {"counts": [2, 0, 2, 1], "from": -1, "to": 1}
    with pytest.raises(InputError, match="low < high"):
        histogram([1], 1, 1)


def test_blocks_of_a_night() -> None:
    before, after = networks()
    changes = weight_changes(before, after)
    neurons = [[np.array([0, 1]), np.array([2])], [np.array([3]), np.array([], dtype=int)]]
    found = weight_blocks(before, after, neurons, [np.array([4, 5]), np.array([0])], [0, 2])
    assert found["fields"][0] == pytest.approx(changes[0][:, :2].mean(1).tolist())
    assert found["fields"][1] == pytest.approx(changes[0][:, 2].tolist())
    middle, last = found["blocks"]
    assert middle[0][0] == pytest.approx(changes[1][:2, 3].mean())
    assert middle[0][1] is None  # class 2 has no specific neuron above
    assert middle[2][2] == pytest.approx(changes[1][4:, 0].mean())
    assert last[0][1] == pytest.approx(changes[2][3, 2])  # the output of class 2
    assert last[0][2] == pytest.approx(changes[2][3, 1])  # of no class


# Pixel 0 is on in both tasks, 1 in task 1 only, 2 in task 2 only, 3 never; 4 in both, though never in all images.
TASK_1 = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 1]])
TASK_2 = np.array([[1, 0, 1, 0, 0], [1, 0, 0, 0, 1]])
WEIGHTS = np.arange(20.0).reshape(5, 4)  # weight 4 i + j from pixel i to output j


def test_pixels_by_the_tasks_that_use_them() -> None:
    groups = pixel_groups(TASK_1, TASK_2)
    assert (groups.unique1.tolist(), groups.unique2.tolist(), groups.overlapping.tolist()) == ([1], [2], [0, 4])
    with pytest.raises(InputError, match="as many pixels"):
        pixel_groups(TASK_1, TASK_2[:, :4])


def test_weights_by_groups_of_pixels() -> None:
    found = group_weights(WEIGHTS, pixel_groups(TASK_1, TASK_2), [2, 3])
    assert {name: values.tolist() for name, values in found.items()} == {
        "unique to task 1": [6, 7],
        "unique to task 2": [10, 11],
        "overlapping": [2, 3, 18, 19],
    }


def test_inputs_to_the_outputs_by_hand() -> None:
    assert output_inputs(WEIGHTS, TASK_1[0], 0, (2, 3)) == (4, 10)  # 0 + 4, and 3 + 7 against 2 + 6
    weights = WEIGHTS.copy()
    weights[0, 2] = 50
    assert output_inputs(weights, TASK_1[0], 0, (2, 3)) == (4, 56)
    with pytest.raises(InputError, match="image must have 5 values"):
        output_inputs(WEIGHTS, TASK_1[0, :4], 0, (2, 3))
