"""Nights on a `ReplayNetwork`: what a step does, REM against none, stopping and going on."""

import copy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurosleep.data.idx import DataError
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.rules.hebbian import Hebbian
from neurosleep.training import DivergenceError
from neurosleep.tripartite import NREM, REM, Architecture, Interleaved, Learner, Night, ReplayNetwork, Settings, losses
from neurosleep.tripartite.step import replay_losses

SMALL = Architecture(features=12, hidden=(16, 16), latents=4, classes=6)
CENTRES = torch.randn(6, 32, generator=torch.Generator().manual_seed(9))


MINIATURE = Architecture(features=32, hidden=(64, 64), latents=8, classes=6)


def task(number, n=60, seed=0, features=12):
    """Inputs and labels of classes 2 * number - 2 and 2 * number - 1: clusters."""
    generator = torch.Generator().manual_seed(100 * seed + number)
    labels = torch.tensor([2 * number - 2, 2 * number - 1]).repeat_interleave(n)
    return CENTRES[labels, :features] + 0.4 * torch.randn(2 * n, features, generator=generator), labels


def learner(seed=0, architecture=SMALL, **settings):
    network = ReplayNetwork(architecture, torch.Generator().manual_seed(seed))
    return Learner(network, Settings(**{"learning_rate": 2e-3, **settings}), seed)


def learn(one, night, tasks=3, **options):
    features = one.network.architecture.features
    for number in range(1, tasks + 1):
        one.begin_task([2 * number - 2, 2 * number - 1])
        one.sleep(night, *task(number, features=features), **options)
    return one


def accuracies(one):
    """Of each of three tasks, on inputs that were not learned."""
    features = one.network.architecture.features
    unseen = (task(number, seed=1, features=features) for number in (1, 2, 3))
    return [float((one.network(x).argmax(1) == y).float().mean()) for x, y in unseen]


def same(one, other):
    """Whether two learners, or two generators, are equal bit for bit."""
    weights = list(zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True))
    if not isinstance(one, Learner):
        return all(torch.equal(a, b) for a, b in weights)
    states = one.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
    moments = zip(*(state.values() for state in states), strict=True)
    return (
        all(torch.equal(a, b) for a, b in weights)
        and all(torch.equal(a[k], b[k]) for a, b in moments for k in a)
        and torch.equal(one.random.get_state(), other.random.get_state())
    )


@pytest.mark.parametrize("seed", range(3))
def test_rem_keeps_old_tasks_that_are_lost_without(seed):
    def keep(rem):
        night = Night([Interleaved(200, NREM(1, 64), rem)])
        return accuracies(learn(learner(seed, MINIATURE, learning_rate=1e-3), night))

    without, with_rem = keep(None), keep(REM(1, 64))
    assert without[0] < 0.1
    assert min(with_rem[:2]) > 0.8
    assert np.mean(with_rem[:2]) > np.mean(without[:2]) + 0.4
    assert min(without[2], with_rem[2]) > 0.9


@pytest.mark.parametrize("kind", ["soft", "hard", "conditional", "gated"])
def test_a_step_weighs_current_and_dreamed_inputs_and_equals_two_passes(kind):
    """The gradient of one pass over both kinds is that of 1/N and 1 - 1/N of two passes, N = 2."""
    architecture = Architecture(12, (16, 16), 4, 6, kind == "conditional", 0.5 if kind == "gated" else 0.0)
    one = learn(learner(architecture=architecture), Night([NREM(20, 16)]), tasks=1)
    one.begin_task([2, 3])
    stage = Interleaved(1, NREM(1, 16), REM(1, 24, "hard" if kind == "hard" else "soft", 2.0))
    x, y = task(2)
    random = torch.Generator()
    random.set_state(one.random.get_state())
    total = replay_losses(one, stage, x, y)
    one.network.zero_grad()
    (total * torch.tensor([1.0, 1.0, 1.0])).sum().backward()
    got = {name: p.grad.clone() for name, p in one.network.named_parameters() if p.grad is not None}

    drawn = torch.randint(len(x), (16,), generator=random)
    dreams = one.generator.dream(24, stage.rem, random)
    noise = torch.randn(40, 4, generator=random)
    one.network.zero_grad()
    place = {0: 0, 1: 1, 2: 2, 3: 3}
    current_shares = torch.eye(6)[y[drawn]]
    sums = 0.0
    for share, features, shares, z in (
        (1 / 2, x[drawn], current_shares, noise[:16]),
        (1 / 2, dreams.features, dreams.shares, noise[16:]),
    ):
        hidden = one.network.encoder(features)
        mean, log_variance = one.network.mean(hidden), one.network.log_variance(hidden)
        uses_classes = kind in ("conditional", "gated")
        decoded = one.network.decode(mean + z * (log_variance / 2).exp(), shares if uses_classes else None)
        outputs = one.network.classifier(hidden)[:, :4]
        if features is dreams.features:
            teacher = torch.cat([dreams.probabilities, torch.zeros(24, 2)], 1)
            wrong = losses.distillation(outputs, teacher, 1.0 if kind == "hard" else 2.0)
        else:
            wrong = losses.classification(outputs, torch.tensor([place[int(c)] for c in y[drawn]]))
        if kind == "conditional":
            prior = one.network.prior_mean, one.network.prior_log_variance
            divergence = losses.divergence_from_classes(mean, log_variance, *prior, shares)
        else:
            divergence = losses.divergence(mean, log_variance)
        sums = sums + share * (losses.reconstruction(features, decoded) + divergence + wrong).mean()
    sums.backward()
    assert float(total.detach().sum()) == pytest.approx(float(sums.detach()), rel=1e-5)
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, one.network.get_parameter(name).grad, rtol=1e-4, atol=1e-6)


def test_with_more_tasks_the_present_one_counts_less():
    one = learn(learner(), Night([NREM(5, 16)]), tasks=2)
    one.begin_task([4, 5])
    x, y = task(3)
    state = one.random.get_state()
    both = replay_losses(one, Interleaved(1, NREM(1, 16), REM(1, 16)), x, y)
    one.task = 10**9  # nothing but dreams counts then
    one.random.set_state(state)
    dreamed = replay_losses(one, Interleaved(1, NREM(1, 16), REM(1, 16)), x, y)
    one.task = 1  # nothing but the present task
    one.random.set_state(state)
    current = replay_losses(one, Interleaved(1, NREM(1, 16), REM(1, 16)), x, y)
    torch.testing.assert_close(both, current / 3 + 2 * dreamed / 3)


def test_rem_alone_does_nothing_in_the_first_task_and_may_teach_the_generator_only():
    one = learner()
    one.begin_task([0, 1])
    before = copy.deepcopy(one.network.state_dict())
    one.sleep(Night([REM(3, 8)]), *task(1))
    assert all(torch.equal(a, before[name]) for name, a in one.network.state_dict().items())
    one.begin_task([2, 3])
    one.sleep(Night([REM(3, 8)]), *task(2))
    assert not any(torch.equal(a, before[name]) for name, a in one.network.named_parameters())


@pytest.mark.parametrize(
    "stage", [NREM(3, 8, generator_only=True), REM(3, 8, generator_only=True), Interleaved(3, generator_only=True)]
)
def test_the_generator_may_learn_alone_though_adam_has_momentum(stage):
    one = learn(learner(), Night([NREM(5, 16)]), tasks=1)
    one.begin_task([2, 3])
    before = copy.deepcopy(one.network.state_dict())
    one.sleep(Night([stage]), *task(2))
    same_values = {name for name, a in one.network.named_parameters() if torch.equal(a, before[name])}
    assert same_values == {"classifier.weight", "classifier.bias"}


def test_dreaming_and_learning_from_dreams_leave_the_teacher_alone():
    one = learn(learner(), Night([NREM(5, 16)]), tasks=1)
    one.begin_task([2, 3])
    teacher = copy.deepcopy(one.generator.network.state_dict())
    one.sleep(Night([Interleaved(20, NREM(1, 16), REM(1, 16))]), *task(2))
    assert all(torch.equal(a, teacher[name]) for name, a in one.generator.network.state_dict().items())
    assert all(p.grad is None for p in one.generator.network.parameters())
    one.begin_task([4, 5])
    assert one.generator.classes.tolist() == [0, 1, 2, 3]
    assert all(
        torch.equal(a, b) for a, b in zip(one.generator.network.parameters(), one.network.parameters(), strict=True)
    )


def test_only_classes_seen_so_far_compete():
    """The classifier's weights of classes that are still to come get no gradient."""
    one = learn(learner(), Night([NREM(5, 16)]), tasks=1)
    gradient = one.network.classifier.weight.grad
    assert gradient[:2].abs().sum() > 0
    assert not gradient[2:].any()


def test_new_classes_are_pushed_down_by_dreams():
    one = learn(learner(), Night([NREM(100, 16)]), tasks=1)
    one.begin_task([2, 3])
    one.sleep(Night([REM(1, 16)]), *task(2))
    assert (one.network.classifier.bias.grad[2:4] > 0).all()


def test_what_is_minimised_is_weighted_as_set():
    gradients = {}
    for name, settings in {
        "plain": {},
        "reconstruction": {"reconstruction_weight": 3.0},
        "divergence": {"divergence_weight": 3.0},
        "scale": {"divergence_scale": 1024.0},
        "none": {"reconstruction_weight": 0.0, "divergence_weight": 0.0},
    }.items():
        one = learn(learner(**settings), Night([NREM(1, 16)]), tasks=1)
        gradients[name] = [p.grad for p in (one.network.decoder[4].bias, one.network.log_variance.bias)]
    plain, none = gradients["plain"], gradients["none"]
    torch.testing.assert_close(gradients["reconstruction"][0], 3 * plain[0])
    torch.testing.assert_close(gradients["divergence"][0], plain[0])
    torch.testing.assert_close(gradients["divergence"][1], gradients["scale"][1])
    assert not torch.allclose(gradients["divergence"][1], plain[1])
    assert not none[0].any()
    assert not none[1].any()


def test_features_are_standardised_by_the_first_task_and_dreams_are_of_that_kind():
    x, y = task(1)
    one = learner(standardise=True)
    one.learn_task(100 * x + 7, y, 1, [NREM(5, 16)])
    other = learner()
    z = (100 * x + 7 - one.network.feature_mean) / one.network.feature_scale
    other.learn_task(z, y, 1, [NREM(5, 16)])
    torch.testing.assert_close(one.network.encoder[0].weight, other.network.encoder[0].weight)
    scale = one.network.feature_scale.clone()
    one.learn_task(*task(2), 2, [REM(5, 16)])
    assert torch.equal(one.network.feature_scale, scale)
    assert torch.equal(one.generator.network.feature_scale, scale)


def test_adam_keeps_its_moments_from_task_to_task_unless_told():
    for reset in (False, True):
        one = learn(learner(reset_adam=reset), Night([NREM(5, 16)]), tasks=1)
        one.begin_task([2, 3])
        assert bool(one.optimizer.state_dict()["state"]) is not reset
        one.sleep(Night([NREM(5, 16)]), *task(2))
        assert {float(state["step"]) for state in one.optimizer.state_dict()["state"].values()} == {5 if reset else 10}


@pytest.mark.parametrize("downscaled", [False, True])
def test_the_generator_is_copied_before_downscaling_or_after(downscaled):
    one = learn(learner(downscaled_generator=downscaled), Night([MagnitudePruning(0.5), NREM(5, 16)]), tasks=2)
    zeros = float((one.generator.network.decoder[0].weight == 0).float().mean())
    assert (zeros == 0.5) is downscaled


def test_a_night_of_all_stages_in_two_cycles_is_recorded_in_order(tmp_path):
    replay = SpontaneousReplay(steps=200, drive=MeanRate(200.0), plasticity=Hebbian(1e-4, 1e-5), thresholds=0.5)
    night = Night([MagnitudePruning(0.75), NREM(4, 16), REM(3, 16), replay], cycles=2)
    assert night.iterations == 14
    seen = []
    one = learner()
    for number in (1, 2):
        one.begin_task([2 * number - 2, 2 * number - 1])
        one.sleep(night, *task(number), on_iteration=lambda i, network: seen.append(i))
    names = ["magnitude-pruning", "nrem", "rem", "spontaneous-replay"] * 4
    assert [record.stage for record in one.records] == names
    assert one.records[0].zeroed["encoder.0"] == 0.75
    assert one.records[3].spikes["input"] > 0
    assert one.records[3].weight_changes
    assert seen[:9] == [0, 1, 2, 3, 4, 5, 6, 7, 7]
    assert one.records[5].losses["classification"] > 0
    assert [record.iterations for record in one.records[:3]] == [0, 4, 3]
    path = tmp_path / "learner.pt"
    one.save(path)
    assert [r.to_dict() for r in Learner.load(path).records] == [r.to_dict() for r in one.records]
    assert Learner.load(path).memory.mean_input.tolist() == one.memory.mean_input.tolist()
    assert one.memory.count == sum(len(task(number)[0]) for number in (1, 2))  # once, however many cycles


def test_callbacks_come_every_so_often_and_at_the_end_of_each_stage():
    seen = []
    one = learner()
    one.learn_task(*task(1), 1, [NREM(5, 8), NREM(4, 8)], every=3, on_iteration=lambda i, network: seen.append(i))
    assert seen == [3, 5, 6, 9]


EXTRAS = {
    "plain": (SMALL, {}),
    "bfloat16": (SMALL, {"bfloat16": True}),
    "all": (Architecture(12, (16, 16), 4, 6, True, 0.5, True, True), {"standardise": True, "reset_adam": True}),
}


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("stopped_at", [2, 17, 30, 41])
def test_stopped_anywhere_and_gone_on_with_is_bit_for_bit_uninterrupted(tmp_path, stopped_at, extras):
    night = Night([MagnitudePruning(0.5), Interleaved(30, NREM(1, 16), REM(1, 16)), REM(20, 16)])
    architecture, settings = EXTRAS[extras]
    whole = learner(architecture=architecture, **settings)
    one = copy.deepcopy(whole)
    path = tmp_path / "learner.pt"
    for number in (1, 2, 3):
        whole.learn_task(*task(number), number, night)

    def stop(i, network):
        if i == stopped_at:
            raise KeyboardInterrupt

    one.learn_task(*task(1), 1, night)
    with pytest.raises(KeyboardInterrupt):
        one.learn_task(*task(2), 2, night, on_iteration=stop, checkpoint=path, checkpoint_every=0)
    again = Learner.load(path)
    assert (again.stage, again.iteration) == ((1, stopped_at - 1) if stopped_at < 31 else (2, stopped_at - 31))
    for number in (2, 3):
        again.learn_task(*task(number), number, night)
    assert same(again, whole)
    assert same(again.generator, whole.generator)
    assert [r.losses for r in again.records[3:]] == [r.losses for r in whole.records[3:]]
    again.learn_task(*task(3), 3, night)  # is finished already
    assert same(again, whole)


def test_a_kill_leaves_a_checkpoint_that_goes_on(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_learner import *\n"
        "one = learner(); one.begin_task([0, 1])\n"
        "one.sleep(Night([NREM(10**7, 16)]), *task(1), checkpoint=sys.argv[2], checkpoint_every=0.05)\n"
    )
    path = tmp_path / "learner.pt"
    here = Path(__file__).parent
    process = subprocess.Popen([sys.executable, script, here, path], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert path.exists(), said
    one = Learner.load(path)
    assert one.iteration > 0
    other = learner()
    other.begin_task([0, 1])
    done = one.iteration
    other.sleep(Night([NREM(done, 16)]), *task(1))
    weights = zip(one.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_a_loss_that_is_not_finite_is_named_and_the_file_stays(tmp_path):
    path = tmp_path / "learner.pt"
    night = Night([NREM(130, 16), NREM(30, 16)])

    def spoil(i, network):
        if i == 145:
            with torch.no_grad():
                network.decoder[0].weight[0, 0] = torch.nan

    whole = learn(learner(), night, tasks=1)
    one = learner()
    one.learn_task(*task(1), 1, Night([NREM(130, 16)]), checkpoint=path)
    good = path.read_bytes()
    one = learner()
    with pytest.raises(DivergenceError, match=r"task 1, stage nrem, by iteration 30; .* below 0.002"):
        one.learn_task(*task(1), 1, night, on_iteration=spoil, checkpoint=path)
    assert path.read_bytes() == good
    assert (one.stage, one.iteration, len(one.records)) == (1, 0, 1)
    assert same(one, Learner.load(path))
    one.learn_task(*task(1), 1, night)  # now nothing spoils it
    assert same(one, whole)


def test_a_stage_without_steps_that_spoils_weights_is_named_and_undone():
    def spoil(i, network):
        with torch.no_grad():
            network.encoder[0].weight[0, 0] = torch.nan

    one = learner()
    before = copy.deepcopy(one)
    with pytest.raises(DivergenceError, match="task 1, after stage magnitude-pruning;"):
        one.learn_task(*task(1), 1, [MagnitudePruning(0.5)], on_iteration=spoil)
    assert same(one, before)
    assert (one.stage, one.records) == (0, [])


def test_a_checkpoint_never_holds_what_is_not_finite(tmp_path):
    path = tmp_path / "learner.pt"

    def spoil(i, network):
        if i == 7:
            with torch.no_grad():
                network.classifier.bias[5] = torch.inf  # of a class to come: no loss shows it

    one = learner()
    with pytest.raises(DivergenceError, match="by iteration 7;"):
        one.learn_task(*task(1), 1, [NREM(20, 16)], on_iteration=spoil, checkpoint=path, checkpoint_every=0)
    assert same(one, Learner.load(path))
    assert one.iteration == 6


def test_a_learning_rate_that_is_much_too_large_is_named():
    one = learner(learning_rate=1e30)
    before = copy.deepcopy(one.network.state_dict())
    with pytest.raises(DivergenceError, match=r"task 1, stage nrem, by iteration 9; .* below 1e\+30"):
        one.learn_task(*task(1), 1, [NREM(9, 16)])
    assert all(torch.equal(a, before[name]) for name, a in one.network.state_dict().items())


def test_tasks_come_in_order():
    one = learner()
    with pytest.raises(InputError, match="expected task 1 or what is left of 0, got task 2"):
        one.learn_task(*task(2), 2, [NREM(1)])
    one.learn_task(*task(1), 1, [NREM(1)])
    with pytest.raises(InputError, match="label 2 is not a class of this task"):
        one.learn_task(*task(2), 1, [NREM(1)])
    with pytest.raises(InputError, match="class 0 must be new"):
        one.learn_task(*task(1), 2, [NREM(1)])


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "learner.pt"
    learner().save(path)
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], b"", b"nonsense", b"junk\n"):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match="expected a file that a learner was saved to"):
            Learner.load(path)
    with pytest.raises(DataError, match="learner was saved to"):
        Learner.load(tmp_path / "missing.pt")
    torch.save({"format": 99}, path)
    with pytest.raises(DataError, match="of format 2"):
        Learner.load(path)
    torch.save({"format": 2}, path)
    with pytest.raises(DataError, match="not whole"):
        Learner.load(path)


def test_bad_input_is_named():
    one = learner()
    x, y = task(1)
    with pytest.raises(InputError, match="label 0 is not a class of this task"):
        one.sleep(Night([NREM(1)]), x, y)
    with pytest.raises(InputError, match="class 6 must be new"):
        one.begin_task([6])
    one.begin_task([0, 1])
    with pytest.raises(InputError, match="class 1 must be new"):
        one.begin_task([1])
    with pytest.raises(InputError, match="each once"):
        one.begin_task([2, 2])
    with pytest.raises(InputError, match=r"expected inputs \(n, 12\)"):
        one.sleep(Night([NREM(1)]), x[:, :3], y)
    with pytest.raises(InputError, match="not finite"):
        one.sleep(Night([NREM(1)]), x * torch.nan, y)
    for make, said in (
        (lambda: one.sleep(Night([NREM(1)]), x, y, every=0), "every must be at least 1"),
        (lambda: one.sleep(Night([NREM(1)]), x, y, checkpoint="no/where.pt"), "there is no folder no"),
        (lambda: one.sleep(Night([NREM(1)]), x.to("meta"), y), "must be numbers, got a tensor on the device 'meta'"),
        (lambda: Settings(learning_rate=0.0), "learning_rate must be"),
        (lambda: Settings(divergence_weight=-1.0), "divergence_weight must be"),
    ):
        with pytest.raises(InputError, match=said):
            make()


def test_bfloat16_learns_too():
    one = learner(0, MINIATURE, learning_rate=1e-3, bfloat16=True)
    learn(one, Night([Interleaved(200, NREM(1, 64), REM(1, 64))]))
    assert np.mean(accuracies(one)) > 0.7
    assert all(p.dtype == torch.float32 for p in one.network.parameters())


NOISY = Architecture(12, (16, 16), 4, 6, observation_noise=True)


def test_the_residual_is_the_covariance_of_what_reconstruction_leaves_over():
    one = learner(architecture=NOISY)
    inputs, _ = task(1)
    one.learn_task(*task(1), 1, [NREM(300, 64)])
    with torch.no_grad():
        _, mean, log_variance = one.network.encode(inputs)
        noise = torch.randn(50, *mean.shape, generator=torch.Generator().manual_seed(1))
        left = (inputs - one.network.decode(mean + noise * (log_variance / 2).exp())).flatten(0, 1)
    expected = left.T @ left / len(left)
    assert (one.network.residual - expected).norm() < 0.2 * expected.norm()
    torch.testing.assert_close(one.network.noise @ one.network.noise.T, one.network.residual, rtol=0.02, atol=0.001)


def test_present_and_dreamed_inputs_count_in_the_residual_as_in_the_loss():
    class Ones(torch.nn.Module):
        def forward(self, latents):
            return torch.ones(len(latents), 12)

    one = learner(architecture=NOISY)
    one.network.decoder = torch.nn.Sequential(Ones())  # all dreams are 1, and are decoded without error
    for c in range(3):
        one.begin_task([c])
    inputs = torch.full((8, 12), 4.0)
    replay_losses(one, Interleaved(1, NREM(1, 64), REM(1, 16)), inputs, torch.full((8,), 2))
    torch.testing.assert_close(one.network.residual, torch.full((12, 12), (4 - 1) ** 2 / 3))
    one.iteration = 99
    replay_losses(one, REM(1, 16), inputs, torch.full((8,), 2))
    torch.testing.assert_close(one.network.residual, torch.full((12, 12), 0.98 * 9 / 3))


BY_CLASS = Architecture(12, (16, 16), 4, 6, class_means=True, observation_noise=True)


def test_class_means_are_those_of_the_task_that_taught_the_class():
    one = learner(architecture=BY_CLASS, standardise=True)
    for number in (1, 2):
        one.learn_task(*task(number), number, [Interleaved(3, NREM(1, 16), REM(1, 16, "drawn"))])
    for number in (1, 2):
        x, y = task(number)
        for c in y.unique():
            expected = one.network.standardised(x[y == c]).mean(0)
            torch.testing.assert_close(one.network.class_mean[c], expected)
    assert not one.network.class_mean[4:].any()


def test_present_classes_are_classified_by_dreams_of_them_as_much_as_is_said():
    """With a decoder that gives 0, a dream is the class's mean: then the loss of imagined inputs is known."""
    x, y = task(1)
    parts = {}
    for share in (0.0, 0.25, 1.0):
        one = learner(architecture=replace(BY_CLASS, observation_noise=False))
        with torch.no_grad():
            one.network.decoder[4].weight.zero_()
            one.network.decoder[4].bias.zero_()
        one.begin_task([0, 1])
        one.network.keep_means(x, y)
        drawn = torch.randint(len(x), (64,), generator=copy.deepcopy(one.random).set_state(one.random.get_state()))
        parts[share] = replay_losses(one, NREM(1, 64, imagined=share), x, y)
        of_means = losses.classification(one.network(one.network.class_mean[y[drawn]])[:, :2], y[drawn]).mean()
        real = losses.classification(one.network(x[drawn])[:, :2], y[drawn]).mean()
        torch.testing.assert_close(parts[share][2], (1 - share) * real + share * of_means)
    assert parts[0.0][2] != parts[1.0][2]
    torch.testing.assert_close(parts[0.0][0], parts[1.0][0])  # what is reconstructed is the inputs


def test_dreams_of_a_class_need_a_network_that_has_such():
    one = learner()
    one.begin_task([0, 1])
    with pytest.raises(InputError, match="imagined needs dreams of a class"):
        one.sleep(Night([NREM(1, 8, imagined=0.5)]), *task(1))
