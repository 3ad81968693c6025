"""The network of tripartite sleep, and what spontaneous replay may know of it."""

import numpy as np
import pytest
import torch

from neurosleep.memory import FeatureMemory
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.tripartite import Architecture, ReplayNetwork

SMALL = Architecture(features=12, hidden=(10, 8), latents=3, classes=4)


def test_the_papers_network_has_its_size():
    network = ReplayNetwork()
    assert sum(p.numel() for p in network.parameters()) == 12_905_324
    assert [tuple(layer.weight.shape) for layer in network.downscaled_layers().values()] == [
        (2000, 1024),
        (2000, 2000),
        (100, 2000),
        (100, 2000),
        (100, 2000),
        (2000, 100),
        (2000, 2000),
        (1024, 2000),
    ]


def test_initial_weights_are_uniform_within_one_over_the_root_of_inputs_and_fixed_by_the_seed():
    before = torch.get_rng_state()
    one, same, other = (ReplayNetwork(SMALL, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, layer in one.downscaled_layers().items():
        bound = layer.in_features**-0.5
        assert 0.8 * bound < layer.weight.abs().max() <= bound
        assert 0.2 * bound < layer.bias.abs().max() <= bound
        assert torch.equal(layer.weight, same.get_submodule(name).weight)
        assert not torch.equal(layer.weight, other.get_submodule(name).weight)


def test_encoding_gives_hidden_values_mean_and_log_variance_of_latents():
    network = ReplayNetwork(SMALL)
    x = torch.randn(5, 12)
    hidden, mean, log_variance = network.encode(x)
    expected = torch.relu(network.encoder[2](torch.relu(network.encoder[0](x))))
    torch.testing.assert_close(hidden, expected)
    torch.testing.assert_close(mean, network.mean(expected))
    torch.testing.assert_close(log_variance, network.log_variance(expected))
    torch.testing.assert_close(network(x), network.classifier(expected))


def test_standardised_features_have_mean_0_and_deviation_1_and_the_network_takes_them_raw():
    network = ReplayNetwork(SMALL)
    x = 3 + 5 * torch.randn(50, 12)
    assert torch.equal(network.standardised(x), x)
    x[:, 4] = 7.0  # does not vary
    plain = network(x)
    network.standardise_by(x)
    z = network.standardised(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(12).index_fill(0, torch.tensor([4]), 0))
    torch.testing.assert_close(network(x), network.sleeping_chain()(z))
    assert not torch.allclose(network(x), plain)


def test_the_sleeping_chain_shares_weights_and_computes_the_same():
    network = ReplayNetwork(SMALL)
    x = torch.randn(5, 12)
    chain = network.sleeping_chain()
    assert torch.equal(chain(x), network(x))
    with torch.no_grad():
        chain[0].weight.mul_(2)
    assert torch.equal(chain(x), network(x))


@pytest.mark.parametrize("rule", [MagnitudePruning(0.75), GradedDownscaling()])
def test_downscaling_is_the_simulations_layer_by_layer_and_spares_biases(rule):
    network = ReplayNetwork(SMALL)
    before = {n: layer.weight.detach().numpy().copy() for n, layer in network.downscaled_layers().items()}
    biases = [layer.bias.detach().clone() for layer in network.downscaled_layers().values()]
    zeroed = network.downscale(rule)
    for name, layer in network.downscaled_layers().items():
        expected = rule.apply(before[name])
        assert np.array_equal(layer.weight.detach().numpy(), expected)
        assert not np.array_equal(expected, before[name])
        assert zeroed[name] == np.mean(expected == 0)
        if isinstance(rule, MagnitudePruning):
            assert np.count_nonzero(expected == 0) == round(0.75 * expected.size)
    for bias, layer in zip(biases, network.downscaled_layers().values(), strict=True):
        assert torch.equal(bias, layer.bias)


def test_gates_silence_their_share_of_units_for_a_class_and_mix():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, gating=0.25))
    first, second = network.get_buffer("gate0"), network.get_buffer("gate1")
    assert first.shape == (4, 8)
    assert second.shape == (4, 10)
    assert (first == 0).sum(1).tolist() == [2] * 4
    assert (second == 0).sum(1).tolist() == [2] * 4
    assert not (torch.equal(first[0], first[1]) and torch.equal(second[0], second[1]))
    z = torch.randn(2, 3)
    shares = torch.eye(4)[[0, 2]]
    hidden = torch.relu(network.decoder[0](z)) * first[[0, 2]]
    hidden = torch.relu(network.decoder[2](hidden)) * second[[0, 2]]
    torch.testing.assert_close(network.decode(z, shares), network.decoder[4](hidden))
    half = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    mixed = torch.relu(network.decoder[0](z[:1])) * (first[:1] + first[1:2]) / 2
    mixed = torch.relu(network.decoder[2](mixed)) * (second[:1] + second[1:2]) / 2
    torch.testing.assert_close(network.decode(z[:1], half), network.decoder[4](mixed))
    with pytest.raises(InputError, match="give the classes"):
        network.decode(z)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"features": 0}, "features must be a whole number of at least 1, got 0"),
        ({"hidden": (3, 0)}, r"hidden\[1\] must be a whole number of at least 1, got 0"),
        ({"hidden": ()}, "at least one layer"),
        ({"latents": 2.5}, "latents must be a whole number, got 2.5"),
        ({"gating": -0.1}, "gating must be at least 0 and below 1"),
        ({"gating": 1.0}, "gating must be at least 0 and below 1"),
    ],
)
def test_bad_sizes_are_refused(sizes, said):
    with pytest.raises(InputError, match=said):
        Architecture(**sizes)


def test_rates_of_signed_features_are_those_of_their_positive_part():
    network = ReplayNetwork(Architecture(2, (3,), 2, 2))
    memory = FeatureMemory()
    memory.observe(network.sleeping_chain(), torch.tensor([[4.0, -1.0], [2.0, 1.0]]))
    assert memory.largest == 4
    assert memory.mean_input.tolist() == [0.75, 0.125]
    memory.observe(network.sleeping_chain(), torch.tensor([[8.0, -3.0]] * 2))  # above the largest: full rate, no more
    assert memory.mean_input.tolist() == [0.875, 0.0625]
    with pytest.raises(InputError, match="no input is above 0"):
        FeatureMemory().observe(network.sleeping_chain(), torch.tensor([[-1.0, -1.0]]))


def test_class_means_are_added_to_what_is_decoded():
    plain, network = ReplayNetwork(SMALL), ReplayNetwork(Architecture(12, (10, 8), 3, 4, class_means=True))
    x, y = torch.randn(30, 12), torch.tensor([2, 0, 2]).repeat(10)
    network.keep_means(x, y)
    assert not network.class_mean[[1, 3]].any()
    torch.testing.assert_close(network.class_mean[2], x[y == 2].mean(0))
    z, shares = torch.randn(2, 3), torch.tensor([[0.0, 0, 1, 0], [0.25, 0, 0.75, 0]])
    decoded = network.decode(z, shares) - plain.decode(z)
    torch.testing.assert_close(decoded[0], network.class_mean[2])
    torch.testing.assert_close(decoded[1], 0.25 * network.class_mean[0] + 0.75 * network.class_mean[2])
    with pytest.raises(InputError, match="give the classes"):
        network.decode(z)
