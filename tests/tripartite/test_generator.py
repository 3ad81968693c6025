"""What a `ReplayNetwork` dreams."""

import pytest
import torch

from neurosleep.sims.errors import InputError
from neurosleep.tripartite import REM, Architecture, ReplayNetwork
from neurosleep.tripartite.generator import Generator

SMALL = Architecture(features=12, hidden=(10, 8), latents=3, classes=4)


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


def test_dreams_are_decoded_noise_with_what_the_classifier_says_of_the_old_classes_only():
    network = ReplayNetwork(SMALL)
    old = torch.tensor([3, 1])
    dreams = Generator(network, old).dream(6, REM(1, temperature=2.0), seeded())
    z = torch.randn(6, 3, generator=seeded())
    torch.testing.assert_close(dreams.features, network.decode(z))
    outputs = network(dreams.features)[:, [3, 1]]
    torch.testing.assert_close(dreams.probabilities, torch.softmax(outputs / 2, 1))
    assert dreams.shares is None
    hard = Generator(network, old).dream(6, REM(1, targets="hard"), seeded())
    assert torch.equal(hard.probabilities, torch.eye(2)[outputs.argmax(1)])
    assert not dreams.features.requires_grad
    assert not dreams.probabilities.requires_grad


def test_dreams_are_fresh_each_time():
    generator, random = Generator(ReplayNetwork(SMALL), torch.tensor([0])), seeded()
    one, other = (generator.dream(4, REM(1), random).features for _ in range(2))
    assert not torch.isclose(one, other).any()


def test_a_generator_does_not_learn_with_its_network():
    network = ReplayNetwork(SMALL)
    generator = Generator(network, torch.tensor([0]))
    before = generator.network.decoder[0].weight.clone()
    with torch.no_grad():
        network.decoder[0].weight.add_(1)
    assert torch.equal(generator.network.decoder[0].weight, before)
    assert not any(p.requires_grad for p in generator.network.parameters())
    assert all(p.requires_grad for p in network.parameters())


def test_conditional_dreams_come_from_the_gaussians_of_old_classes_equally_often():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, conditional_prior=True))
    centres = torch.tensor([100.0, 200, 300, 400])
    with torch.no_grad():
        network.prior_mean.copy_(centres[:, None].expand(4, 3))
        network.prior_log_variance.fill_(-20)
    dreams = Generator(network, torch.tensor([3, 1])).dream(400, REM(1), seeded())
    of_class = network.decode(centres[:, None].expand(4, 3))
    drawn = torch.cdist(dreams.features, of_class).argmin(1)
    torch.testing.assert_close(dreams.features, of_class[drawn], rtol=1e-3, atol=1e-2)
    assert set(drawn.tolist()) == {1, 3}
    assert 160 < (drawn == 3).sum() < 240  # 200 +- 4 standard deviations


def test_conditional_dreams_vary_as_their_class_does():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, conditional_prior=True))
    with torch.no_grad():
        network.prior_mean.zero_()
        network.prior_log_variance.fill_(2 * torch.log(torch.tensor(5.0)))
    dreams = Generator(network, torch.tensor([2])).dream(6, REM(1), seeded())
    random = seeded()
    z = torch.randn(6, 3, generator=random)
    torch.testing.assert_close(dreams.features, network.decode(5 * z))


def test_dreams_are_decoded_with_the_gates_of_a_class_and_learned_with_those_the_teacher_sees_in_them():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, gating=0.5))
    generator = Generator(network, torch.tensor([3]))
    dreams = generator.dream(6, REM(1), seeded())
    z = torch.randn(6, 3, generator=seeded())
    torch.testing.assert_close(dreams.features, network.decode(z, torch.eye(4)[[3] * 6]))
    two = Generator(network, torch.tensor([3, 1]))
    for targets in ("soft", "hard"):
        dreams = two.dream(6, REM(1, targets=targets), seeded())
        assert torch.equal(dreams.shares[:, [3, 1]], dreams.probabilities)
        assert not dreams.shares[:, [0, 2]].any()


def test_dreams_stay_in_the_space_of_standardised_features():
    network = ReplayNetwork(SMALL)
    network.standardise_by(10 + 3 * torch.randn(20, 12, generator=seeded()))
    dreams = Generator(network, torch.tensor([0, 1])).dream(6, REM(1), seeded())
    raw = dreams.features * network.feature_scale + network.feature_mean
    torch.testing.assert_close(dreams.features, network.decode(torch.randn(6, 3, generator=seeded())))
    torch.testing.assert_close(dreams.probabilities, torch.softmax(network(raw)[:, :2] / 2, 1))


def test_a_generator_of_no_class_is_refused():
    with pytest.raises(InputError, match="at least one class"):
        Generator(ReplayNetwork(SMALL), torch.zeros(0, dtype=torch.int64))


def test_dreams_may_count_as_the_class_that_they_were_decoded_for():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, conditional_prior=True))
    centres = torch.tensor([100.0, 200, 300, 400])
    with torch.no_grad():
        network.prior_mean.copy_(centres[:, None].expand(4, 3))
        network.prior_log_variance.fill_(-20)
    old = torch.tensor([3, 1])
    dreams = Generator(network, old).dream(50, REM(1, targets="drawn"), seeded())
    decoded_for = torch.cdist(dreams.features, network.decode(centres[:, None].expand(4, 3))).argmin(1)
    assert torch.equal(old[dreams.probabilities.argmax(1)], decoded_for)
    assert torch.equal(dreams.probabilities.sort(1).values, torch.tensor([[0.0, 1.0]]).expand(50, 2))
    with pytest.raises(InputError, match="needs dreams of a class"):
        Generator(ReplayNetwork(SMALL), old).dream(5, REM(1, targets="drawn"), seeded())


def test_dreams_vary_around_what_is_decoded_as_training_left_it_over():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, observation_noise=True))
    generator = Generator(network, torch.tensor([0]))
    plain = generator.dream(20_000, REM(1), seeded()).features
    factor = torch.randn(12, 12, generator=seeded(1))
    network.residual.copy_(factor @ factor.T)
    noisy = Generator(network, torch.tensor([0])).dream(20_000, REM(1), seeded()).features - plain
    torch.testing.assert_close(torch.cov(noisy.T), factor @ factor.T, rtol=0.03, atol=0.5)
    torch.testing.assert_close(noisy.mean(0), torch.zeros(12), rtol=0, atol=0.15)


def test_noise_of_features_that_never_vary_is_tiny_and_finite():
    network = ReplayNetwork(Architecture(12, (10, 8), 3, 4, observation_noise=True))
    network.renew_noise()  # before anything was learned
    assert network.noise.abs().max() < 1e-15
    network.residual[:6, :6] = 4.0  # perfectly correlated; the others constant
    network.renew_noise()
    torch.testing.assert_close(network.noise @ network.noise.T, network.residual, rtol=0.01, atol=0.01)
