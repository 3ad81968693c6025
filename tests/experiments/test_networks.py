"""Networks as values: the same weights for a seed, and the populations that the converter makes of them."""

import pytest
import torch

import neurosleep as ns
from neurosleep.experiments import (
    Condition,
    ConvolutionalNetwork,
    GenerativeNetwork,
    ReluNetwork,
    ResidualNetwork,
    SnnNetwork,
    VggNetwork,
)
from neurosleep.experiments.learning import sleeping_chain
from neurosleep.memory import FeatureMemory, ImageKeepingMemory
from neurosleep.night import fall_asleep
from neurosleep.sims.network import population_sizes
from neurosleep.training import Trainer
from neurosleep.tripartite import NREM

NIGHT = ns.SpontaneousReplay(10, ns.MeanRate(50.0), ns.GatedHebbian(0.01, 0.001), thresholds=1.0)
NETWORKS = [
    ReluNetwork((30, 20)),
    SnnNetwork((30,), steps=3),
    ConvolutionalNetwork((3, 4), kernel=3, hidden=(20, 15)),
    ConvolutionalNetwork((2,), kernel=5, stride=3, hidden=()),
    GenerativeNetwork((30, 20), latents=5),
]
IMAGES = [ResidualNetwork((2, 3), blocks=2), VggNetwork((2, 3), convolutions=1, hidden=(5,))]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_sizes_are_the_populations_that_sleep(network) -> None:
    chain = sleeping_chain(network.make(144, 10, 0))
    inputs = torch.rand(8, 144)
    if isinstance(network, ConvolutionalNetwork):
        inputs = inputs.reshape(8, *network.shape(144))
    memory = ns.Memory()
    memory.observe(chain, inputs)
    asleep = fall_asleep(chain, memory, NIGHT).network
    assert dict(asleep.populations) == population_sizes(network.sizes(144, 10))
    assert chain(inputs).shape == (8, 10)


@pytest.mark.parametrize("network", [ResidualNetwork(), VggNetwork()])
def test_networks_of_images_take_at_most_fifteen_million_multiply_adds(network) -> None:
    model, total = network.make(3 * 32 * 32, 10, 0).eval(), 0

    def count(module, _, output) -> None:
        nonlocal total
        total += output[0].numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    assert model(torch.zeros(1, *network.shape(3 * 32 * 32))).shape == (1, 10)
    assert 5e6 < total < 15e6
    assert f"{total / 1e6:.1f} million" in type(network).__doc__


@pytest.mark.parametrize("network", [*NETWORKS, *IMAGES], ids=lambda network: type(network).__name__)
def test_weights_are_those_of_the_seed(network) -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in network.make(144, 10, seed).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    torch.manual_seed(5)
    assert torch.equal(weights(1), weights(1))


def test_convolutions_are_named_by_their_place() -> None:
    names = [name for name, _ in ConvolutionalNetwork().make(784, 10, 0).named_parameters()]
    assert names == ["0.weight", "2.weight", "5.weight", "8.weight"]  # as in library/conv-sleep.toml


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvolutionalNetwork(()), "channels must be at least one"),
        (lambda: ConvolutionalNetwork((8, 0)), "channels must be at least one"),
        (lambda: ConvolutionalNetwork(stride=0), "channels must be at least one"),
        (lambda: ConvolutionalNetwork().sizes(10, 2), "square images of one channel, got inputs of 10 values"),
        (lambda: ConvolutionalNetwork().make(16, 2, 0), "images of 4 x 4 are too small for 2 convolutions of 5 x 5"),
        (lambda: GenerativeNetwork(latents=0), "latents"),
        (lambda: GenerativeNetwork(hidden=()), "hidden"),
        (lambda: SnnNetwork(beta=1.5).make(4, 2, 0), "beta"),
        (lambda: SnnNetwork(steps=0).make(4, 2, 0), "steps"),
        (lambda: SnnNetwork(coding="rate").make(4, 2, 0), "coding"),
        (lambda: ResidualNetwork(()), "channels must be at least one, got none"),
        (lambda: ResidualNetwork(blocks=0), "blocks must be"),
        (lambda: VggNetwork((4, 0)), "channels"),
        (lambda: VggNetwork((2, 2, 2)).make(16, 2, 0), "images of 4 x 4 are too small for 3 poolings"),
        (
            lambda: VggNetwork().populations(2048, 2),
            "got inputs of 2048 values: for images of CIFAR .* layers = 'pixels'",
        ),
        (lambda: ReluNetwork(dropout=1.5).make(4, 2, 0), "dropout"),
    ],
)
def test_wrong_networks_are_refused(make, message: str) -> None:
    with pytest.raises(ns.InputError, match=message):
        make()


def test_who_learns_awake() -> None:
    generative = GenerativeNetwork()
    assert Condition().learns_awake(ReluNetwork())
    assert Condition([NIGHT]).learns_awake(SnnNetwork())
    assert not Condition([NREM()]).learns_awake(generative)
    assert Condition(method="joint").learns_awake(generative)
    assert Condition([NIGHT], "ewc").learns_awake(generative)
    assert Condition([NIGHT], training=Trainer()).learns_awake(generative)
    Condition([NIGHT], training=Trainer()).check(generative)
    with pytest.raises(ns.InputError, match="a method or training is not for one whose night has NREM or REM"):
        Condition([NREM()], training=Trainer()).check(generative)


@pytest.mark.parametrize(
    ("calibration", "kind"),
    [("all", ns.Memory), ("last", ns.Memory), ("kept images", ImageKeepingMemory), ("first task", ImageKeepingMemory)],
)
def test_memories_of_a_calibration(calibration: str, kind: type) -> None:
    memory = Condition([NIGHT], calibration=calibration).memory(ReluNetwork())
    assert type(memory) is kind
    assert type(Condition([NREM()], calibration=calibration).memory(GenerativeNetwork())) is FeatureMemory
    large, small = torch.ones(4, 6), torch.full((4, 6), 0.5)
    model = ReluNetwork((5,), init=1.0).make(6, 2, 0).eval()
    for inputs in (large, small):
        memory.observe(model, inputs)
    scales = {"all": 1.0, "last": 0.5, "kept images": 1.0, "first task": 1.0}
    means = {"all": 0.75, "last": 0.75, "kept images": 0.75, "first task": 1.0}
    alone = ns.Memory()
    alone.observe(model, large * scales[calibration])
    assert memory.mean_input.tolist() == pytest.approx([means[calibration]] * 6)
    assert memory.calibration.scales == pytest.approx(alone.calibration.scales)
