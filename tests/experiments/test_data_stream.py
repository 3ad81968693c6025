"""What is learned: the same for a seed, divided, ordered and cut as it says."""

from pathlib import Path

import numpy as np
import pytest
import torch

import neurosleep as ns
from neurosleep.data import ColourImages
from neurosleep.experiments import Condition, DataStream, Experiment, ReluNetwork, run
from neurosleep.experiments import data_stream as module
from neurosleep.training import Trainer


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Sixty inputs of six values, sorted by their four classes: the first value of each is its class."""
    y = np.repeat(np.arange(4), 15)
    x = np.random.default_rng(0).random((60, 6), dtype=np.float32)
    x[:, 0] = y / 10
    path = tmp_path_factory.mktemp("data") / "own.npz"
    np.savez(path, train_x=x, train_y=y, test_x=x[::3] / 2, test_y=y[::3])
    return str(path)


def classes(stream: ns.continual.Stream) -> list[list[int]]:
    """Which class of the file the inputs of each task are of."""
    return [sorted({round(10 * float(x)) for x in task.inputs[:, 0]}) for task in stream.tasks]


def test_released_random_and_written_orders(own: str) -> None:
    assert classes(DataStream(own, order="released").make(3)) == [[0, 1], [2, 3]]
    assert classes(DataStream(own, order="1 0").make(3)) == [[2, 3], [0, 1]]
    drawn = [classes(DataStream(own).make(seed)) for seed in range(6)]
    assert drawn == [classes(DataStream(own).make(seed)) for seed in range(6)]
    assert {str(tasks) for tasks in drawn} == {"[[0, 1], [2, 3]]", "[[2, 3], [0, 1]]"}


def test_images_of_cifar_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def images(name: str, split: str, data_dir: str | None) -> ColourImages:
        pixels = np.zeros((20, 32, 32, 3), np.uint8)
        pixels[:, 0, 1] = (51, 102, 255)
        return ColourImages(pixels, np.arange(20) % 10, name, "train", Path(data_dir or ""), "made", ())

    monkeypatch.setattr(ns.data, "load_cifar", images)
    stream = DataStream("cifar10", layers="pixels").make(0, "of colours")
    image = stream.tasks[0].inputs.reshape(-1, 3, 32, 32)
    assert (len(stream.tasks), image.shape, float(image.sum())) == (5, (4, 3, 32, 32), pytest.approx(4 * 1.6))
    assert image[0, :, 0, 1].tolist() == pytest.approx([0.2, 0.4, 1.0])


def test_dealt_classes_are_numbered_as_they_are_learned(own: str) -> None:
    described = DataStream(own, order="dealt")
    for seed in range(5):
        order = described.class_order(4, seed)
        stream = described.make(seed)
        assert sorted(order) == [0, 1, 2, 3]
        assert [task.classes for task in stream.tasks] == [(0, 1), (2, 3)]
        for task in stream.tasks:
            for inputs, labels in ((task.inputs, task.labels), (2 * task.test_inputs, task.test_labels)):
                assert [order[int(label)] for label in labels] == [round(10 * float(x)) for x in inputs[:, 0]]
    assert len({str(described.class_order(4, seed)) for seed in range(5)}) > 1
    assert DataStream(own).class_order(4, 3) == [0, 1, 2, 3]


def test_joint_learning_of_what_tasks_have_or_of_all(own: str) -> None:
    for joint, n in (("tasks", 20), ("all", 60)):
        stream = DataStream(own, images_per_task=10, joint=joint, shuffled=True).make(1)
        assert [len(task.inputs) for task in stream.tasks] == [10, 10]
        assert len(stream.joint_inputs) == len(stream.joint_labels) == n
    assert torch.equal(
        DataStream(own, images_per_task=10, shuffled=True).make(1).joint_inputs,
        torch.cat([task.inputs for task in DataStream(own, images_per_task=10, shuffled=True).make(1).tasks]),
    )


def test_evaluated_on_what_was_learned(own: str) -> None:
    test, train = (
        DataStream(own, images_per_task=10, evaluate_on=part, shuffled=True).make(1) for part in ("test", "train")
    )
    for one, other in zip(test.tasks, train.tasks, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(other.test_inputs, other.inputs)
        assert torch.equal(other.test_labels, other.labels)
        assert len(one.test_inputs) == 10
        assert not torch.equal(one.test_inputs, other.test_inputs)


def test_shuffled_inputs_of_sorted_files_hold_all_classes(own: str) -> None:
    whole, mixed = DataStream(own, order="released").make(0), DataStream(own, 10, 2, "released", shuffled=True).make(0)
    assert {int(label) for label in mixed.tasks[0].labels} == {0, 1}
    assert torch.equal(whole.tasks[0].test_inputs, mixed.tasks[0].test_inputs)
    with pytest.raises(ns.InputError, match=r"images_per_task=10 keeps no input of class 1.*shuffled=True"):
        DataStream(own, 10, 2, "released").make(0)


def test_layers_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def arrays(name: str, data_dir: str | None, layers: str, content: str) -> None:
        asked.append((name, data_dir, layers))
        raise ns.InputError("asked")

    monkeypatch.setattr(module, "_arrays", arrays)
    for layers in ("vgg-cifar100", "conv-cifar10"):
        with pytest.raises(ns.InputError, match="asked"):
            DataStream("cifar100", layers=layers).make(0, "somewhere")
    assert asked == [("cifar100", "somewhere", "vgg-cifar100"), ("cifar100", "somewhere", "conv-cifar10")]


def test_sizes_without_the_data() -> None:
    assert (DataStream("mnist").tasks, DataStream("mnist").inputs) == (5, 60_000)
    assert (DataStream("cifar100", 300, 10).tasks, DataStream("cifar100", 300, 10).inputs) == (10, 3000)
    assert DataStream("cross-modal").tasks == 2
    assert DataStream("own.npz", classes_per_task=5).tasks == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnits"}, "there is no data set 'mnits'; there are mnist-small"),
        ({"images_per_task": 0}, "images_per_task must be at least 1, or left out, got 0"),
        ({"classes_per_task": 0}, "classes_per_task must be at least 1, got 0"),
        ({"order": "0 0"}, "order must be"),
        ({"order": "delt"}, "order must be"),
        ({"joint": "al"}, "no joint 'al'; did you mean 'all'"),
        ({"evaluate_on": "training"}, "no evaluate_on 'training'; did you mean 'train'"),
        ({"layers": "vgg-cifar10"}, "no layers 'vgg-cifar10'; did you mean 'vgg-cifar100'"),
    ],
)
def test_wrong_streams_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ns.InputError, match=message):
        DataStream(**changes)


def test_classes_that_do_not_divide_are_refused(own: str) -> None:
    with pytest.raises(ns.InputError, match="3"):
        DataStream(own, classes_per_task=3).make(0)


def test_a_rewritten_file_is_read_again_and_not_mixed_with_old_runs(tmp_path, own: str) -> None:
    held = dict(np.load(own))
    path = tmp_path / "own.npz"
    np.savez(path, **held)
    stream = DataStream(str(path))
    sums, digests = [float(stream.make(0).joint_inputs.sum())], [stream.digest()]

    def asked(seeds: int) -> Experiment:
        network = ReluNetwork([5], init=0.3)
        return Experiment("Q?", {"a": Condition()}, seeds=seeds, stream=stream, network=network, training=Trainer(1))

    run(asked(1), tmp_path / "runs", workers=1, progress=False)
    run(asked(2), tmp_path / "runs", workers=1, progress=False)  # the same data: goes on
    np.savez(path, **{**held, "train_x": held["train_x"] / 2})
    sums.append(float(stream.make(0).joint_inputs.sum()))
    digests.append(stream.digest())
    assert sums[1] == pytest.approx(sums[0] / 2)
    assert digests[0] != digests[1]
    with pytest.raises(ns.InputError, match="is of other data"):
        run(asked(3), tmp_path / "runs", workers=1, progress=False)
