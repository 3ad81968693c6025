import numpy as np
import pytest
import torch

from neurosleep import GatedHebbian, InputError, MagnitudePruning, Memory, SpontaneousReplay, UniformNoise
from neurosleep.continual import Nights, Stream, class_incremental, evaluate, learn, learn_jointly, task_order
from neurosleep.continual.learning import night_seed
from neurosleep.networks import relu_network
from neurosleep.training import Trainer


def stream(order: str = "released", seed: int = 0, images_per_task: int | None = None) -> Stream:
    """Six classes, each a bright stretch of its own among 24 inputs."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 40)
    rng.shuffle(labels)
    inputs = rng.random((240, 24), dtype=np.float32) * 0.3
    for i, label in enumerate(labels):
        inputs[i, 4 * label : 4 * label + 4] += 0.6
    return class_incremental(
        inputs[60:], labels[60:], inputs[:60], labels[:60], order=order, seed=seed, images_per_task=images_per_task
    )


def network() -> torch.nn.Sequential:
    return relu_network((24, 30, 6), dropout=0.1, init=0.1, generator=torch.Generator().manual_seed(0))


def test_stream_splits_by_class() -> None:
    tasks = stream(images_per_task=25).tasks
    assert [task.classes for task in tasks] == [(0, 1), (2, 3), (4, 5)]
    for task in tasks:
        assert len(task.labels) == 25
        assert set(task.labels.tolist()) == set(task.test_labels.tolist()) == set(task.classes)
    assert sum(len(task.test_labels) for task in tasks) == 60
    assert len(stream().joint_labels) == 180
    whole = stream()
    assert sum(len(task.labels) for task in whole.tasks) == 180
    kept = whole.joint_inputs[(whole.joint_labels == 2) | (whole.joint_labels == 3)]
    assert torch.equal(whole.tasks[1].inputs, kept)  # in the data's own order


def test_orders() -> None:
    assert task_order(5, "released", 7) == [0, 1, 2, 3, 4]
    assert task_order(5, "4 2,0 1 3", 7) == [4, 2, 0, 1, 3]
    random = [tuple(task_order(5, "random", seed)) for seed in range(20)]
    assert random == [tuple(task_order(5, "random", seed)) for seed in range(20)]
    assert len(set(random)) > 10
    assert [task.classes for task in stream(order="2 0 1").tasks] == [(4, 5), (0, 1), (2, 3)]
    for wrong in ("backwards", "0 1", "0 1 2 3 3", ""):
        with pytest.raises(InputError, match="order must be 'released', 'random' or the numbers 0 to 4"):
            task_order(5, wrong, 0)


def test_classes_must_divide() -> None:
    x, y = np.zeros((10, 3), dtype=np.float32), np.arange(10)
    with pytest.raises(InputError, match="must divide the 10 classes, got 3"):
        class_incremental(x, y, x, y, classes_per_task=3)


def test_sequential_forgets_and_joint_does_not() -> None:
    tasks = stream()
    trainer = Trainer(epochs=20, batch_size=10)
    history = learn(network(), tasks, trainer)
    assert [point.name for point in history.checkpoints] == ["T1", "T2", "T3"]
    matrix = history.accuracy_matrix()
    assert matrix.shape == (3, 3)
    assert np.diag(matrix).min() > 0.9
    assert matrix[2, :2].mean() < 0.5
    assert history.accuracy == pytest.approx(np.average(matrix[2], weights=[len(t.test_labels) for t in tasks.tasks]))
    assert learn_jointly(network(), tasks, trainer).accuracy > 0.9


def test_nights_follow_each_task() -> None:
    def stages(n_tasks: int) -> list[object]:
        return [
            MagnitudePruning(0.1),
            SpontaneousReplay(100 * n_tasks, UniformNoise(50.0), GatedHebbian(0.01, 0.001), 1.0),
        ]

    seen: list[str] = []
    steps: list[int] = []
    memory = Memory()
    nights = Nights(stages=stages, memory=memory, precision="float64", on_progress=steps.append)
    history = learn(
        network(), stream(), Trainer(2, 10), nights=nights, on_checkpoint=lambda point, _: seen.append(point.name)
    )
    assert seen == [point.name for point in history.checkpoints] == ["T1", "S1", "T2", "S2", "T3", "S3"]
    assert [night.stage for night in history.nights] == ["magnitude-pruning", "spontaneous-replay"] * 3
    assert [night.steps for night in history.nights] == [0, 100, 0, 200, 0, 300]
    assert len({night.seed for night in history.nights}) == 6
    assert history.nights[1].precision == "float64"
    assert sum(steps) == 600
    assert memory.count == 180
    np.testing.assert_array_equal(history.accuracy_matrix()[1], history.checkpoints[3].task_accuracies)
    assert history.to_dict()["accuracy"] == history.accuracy


def test_nights_may_be_left_out() -> None:
    tonight = SpontaneousReplay(40, UniformNoise(50.0), GatedHebbian(0.01, 0.001), thresholds=(0.5, 0.5))
    stages = {1: [tonight], 2: [], 3: [tonight]}
    memory = Memory()
    history = learn(
        network(), stream(), Trainer(epochs=1), nights=Nights(lambda n: [tonight], memory, sleep_after=[1, 3])
    )
    assert len(history.nights) == 2
    assert memory.count == 180  # of all tasks
    assert (
        history.to_dict()["checkpoints"]
        == learn(network(), stream(), Trainer(epochs=1), nights=Nights(lambda n: stages[n], Memory())).to_dict()[
            "checkpoints"
        ]
    )
    for wrong, told in (([0], "from 1"), ([], "from 1"), ([2, 2], "each once"), ([4], "names task 4, but there are 3")):
        with pytest.raises(InputError, match=told):
            learn(network(), stream(), Trainer(), nights=Nights(lambda n: [tonight], Memory(), sleep_after=wrong))


def test_same_seed_same_history() -> None:
    histories = [learn(network(), stream(), Trainer(2, 10), seed=seed) for seed in (5, 5, 6)]
    assert histories[0].to_dict() == histories[1].to_dict()
    models = [network() for _ in range(2)]
    for model, disturb in zip(models, (1, 2), strict=True):
        torch.manual_seed(disturb)  # what was drawn elsewhere before must not matter
        learn(model, stream(), Trainer(1, 10), seed=5)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_seeds_of_nights_differ() -> None:
    assert len({night_seed(seed, task, stage) for seed in range(9) for task in range(9) for stage in range(3)}) == 243


def test_evaluate_counts_every_test_input_once() -> None:
    point = evaluate(network(), stream())
    assert point.name == "now"
    assert len(point.task_accuracies) == 3
