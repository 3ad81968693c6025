"""Inputs from data sets and loaders: what is told of arrays holds for them, and never more than a batch is held."""

import weakref
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from neurosleep.converters import calibrate, conversion_report, to_spiking, to_spiking_graph, verify
from neurosleep.converters.batches import Batches
from neurosleep.converters.largest_values import LargestValues
from neurosleep.converters.rows import Rows
from neurosleep.memory import ImageKeepingMemory, Memory
from neurosleep.sims.errors import InputError

X = torch.rand(90, 2, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(90) % 3


class Made(Dataset):
    """Makes inputs on the fly; says which were read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        self.read.append(number)
        return X[number], int(Y[number])


class Streamed(IterableDataset):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(X)


class Again:
    """Gives the same batches whenever it is gone through."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(torch.split(X, 7), torch.split(Y, 7), strict=True)


SOURCES: dict[str, Callable[[], object]] = {
    "data set": Made,
    "loader": lambda: DataLoader(Made(), batch_size=8, shuffle=True),
    "own batches": lambda: DataLoader(Made(), batch_sampler=[list(range(k, k + 9)) for k in range(0, 90, 9)]),
    "without labels": lambda: DataLoader(X, 20),
    "one tensor each": lambda: DataLoader(TensorDataset(X), 20),
    "iterable data set": Streamed,
    "iterable": Again,
    "NumPy": lambda: Again() and _Numpy(),
    "rows": lambda: Rows.of(Made()),
}


class _Numpy(Again):
    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return ((x.numpy(), y.numpy()) for x, y in super().__iter__())


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()


@pytest.mark.parametrize("percentile", [100.0, 97.0])
@pytest.mark.parametrize("case", SOURCES)
def test_all_sources_are_remembered_as_arrays_are(case: str, percentile: float) -> None:
    model, settings = net(), {"percentile": percentile, "moments": True, "each_task": True}
    whole, streamed = Memory(**settings), Memory(**settings)
    whole.observe(model, X)
    streamed.observe(model, SOURCES[case]())
    assert streamed.count == 90
    np.testing.assert_allclose(streamed.mean_input, whole.mean_input, rtol=1e-12)
    np.testing.assert_allclose(streamed.task_means, whole.task_means, rtol=1e-12)
    np.testing.assert_allclose(streamed.calibration.scales, whole.calibration.scales, rtol=1e-5)
    np.testing.assert_allclose(streamed.moments.variance, whole.moments.variance, rtol=1e-9)
    assert streamed.calibration.input_shape == (2, 4, 4)


@pytest.mark.parametrize("case", SOURCES)
def test_all_sources_calibrate_and_report_as_arrays_do(case: str) -> None:
    model = net()
    np.testing.assert_allclose(
        calibrate(model, SOURCES[case](), percentile=99.0).scales,
        calibrate(model, X, percentile=99.0).scales,
        rtol=1e-5,
    )
    for normalization in ("percentile", "max", "model"):
        make = partial(to_spiking_graph, model, normalization=normalization, percentile=99.0, per="channel")
        ours, theirs = make(calibration=SOURCES[case]()), make(calibration=X)
        for name, scale in theirs.notes["scales"].items():
            np.testing.assert_allclose(ours.notes["scales"][name], scale, rtol=1e-5)
        notes, wanted = (graph.notes["calibration"] for graph in (ours, theirs))
        assert notes["input_range"] == wanted["input_range"]
        assert notes["largest_currents"] == pytest.approx(wanted["largest_currents"], rel=1e-5)
        assert notes["examples"].shape == wanted["examples"].shape == (32, 2, 4, 4)
    report = conversion_report(model, theirs, SOURCES[case](), steps=10)
    right = (model(X).argmax(1) == Y).float().mean().item()
    labelled = case not in ("without labels", "one tensor each", "iterable data set")
    assert report.inputs == 90
    assert report.trained_accuracy == (pytest.approx(right) if labelled else None)


def test_verify_takes_labels_of_a_loader() -> None:
    graph = to_spiking_graph(net(), X)
    assert verify(net(), graph, DataLoader(Made(), 30), max_loss=100.0, steps=5).inputs == 90
    with pytest.raises(InputError, match="verify needs max_loss with labels"):
        verify(net(), graph, DataLoader(X, 30), max_loss=100.0, steps=5)


def test_an_array_gives_what_it_always_gave() -> None:
    batches = Batches(X)
    assert [id(x) for x in batches] == [id(batches.whole)] == [id(X)]
    assert (batches.count, batches.shape, batches.first_labels) == (90, (2, 4, 4), None)


def test_each_item_is_read_once_a_pass() -> None:
    made = Made()
    Memory().observe(net(), made)
    assert sorted(made.read) == [0, *range(90)]  # one to know the shape
    made.read.clear()
    Memory(percentile=99.0, coding="on-off").observe(net(), DataLoader(made, 30))
    assert sorted(made.read) == sorted([*range(90)] * 2)  # range, and all else; the loader knows how many there are


class Held:
    """Batches of which a weak reference is kept, to the array whose numbers they are."""

    def __init__(self) -> None:
        self.alive: list[int] = []

    def __iter__(self) -> Iterator[torch.Tensor]:
        given: list[weakref.ref[np.ndarray]] = []
        for k in range(10):
            numbers = np.random.default_rng(k).random((9, 2, 4, 4), dtype=np.float32) + k
            given.append(weakref.ref(numbers))
            yield torch.from_numpy(numbers)
            del numbers
            self.alive.append(sum(one() is not None for one in given))


@pytest.mark.parametrize("percentile", [100.0, 90.0])
def test_no_batch_is_held_when_the_next_comes(percentile: float) -> None:
    held = Held()
    Memory(percentile=percentile, moments=True, coding="shifted").observe(net(), held)
    to_spiking_graph(net(), held)
    assert len(held.alive) >= 50
    assert max(held.alive) == 1  # the one that just came


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_a_graph_is_calibrated_by_a_loader_that_cannot_count(per: str) -> None:
    ours, theirs = (to_spiking_graph(net(), x, per=per, percentile=95.0) for x in (Again(), X))
    for name, scale in theirs.notes["scales"].items():
        np.testing.assert_allclose(ours.notes["scales"][name], scale, rtol=1e-5)


def test_percentiles_of_fewer_values_than_were_announced() -> None:
    values = np.random.default_rng(0).normal(size=(3, 101))
    for share in (50.0, 97.3, 99.9, 100.0):
        for announced in (101, 150, 1000):
            seen = LargestValues(announced, share)
            for part in np.array_split(values, 7, axis=1):
                seen.add(part)
            np.testing.assert_allclose(seen.result(), np.percentile(values, share, axis=1), rtol=1e-12)
    seen = LargestValues(100, 99.0)
    with pytest.raises(InputError, match="more inputs came than there are said to be"):
        seen.add(values)


class Shapes(Again):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter([X[:5], X[5:9, :, :2]])


def batches_of(*batches: object) -> object:
    return type("Own", (), {"__iter__": lambda self: iter(batches)})()


def missing() -> torch.Tensor:
    x = X.clone()
    x[3, 1, 2, 0] = torch.nan
    return x


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "no batch": (lambda: batches_of(), "inputs: Own gives no batch; give at least one input"),
    "empty loader": (lambda: DataLoader(TensorDataset(X[:0])), "inputs: DataLoader gives no batch"),
    "empty data set": (lambda: TensorDataset(X[:0]), "inputs: the data set TensorDataset is empty"),
    "empty batch": (lambda: batches_of(X[:4], X[:0]), "batch 2: inputs must be .*n at least 1"),
    "shapes": (Shapes, r"batch 2: inputs have the shape \(2, 2, 4\), and those before \(2, 4, 4\)"),
    "items of shapes": (
        lambda: data_set_of(X[0], X[0, :, :2]),
        "items of Own make no batch .*give tensors of one shape",
    ),
    "missing": (
        lambda: batches_of(X, missing()),
        r"batch 2: .*1 values that are not finite, the first at \(3, 1, 2, 0\)",
    ),
    "dicts": (
        lambda: batches_of({"image": X, "label": Y}),
        "batch 1: .*got a dict of image, label; let the loader give",
    ),
    "text": (lambda: batches_of("a.png"), r"must come as inputs \(n, ...\), or as \(inputs, labels\), got str"),
    "labels first": (lambda: batches_of((3, X)), "batch 1: .*got tuple"),
    "uint8": (lambda: batches_of((255 * X).to(torch.uint8)), "batch 1: .*most often x / 255"),
    "channels last": (lambda: DataLoader(X.movedim(1, 3)), "take"),
}


def data_set_of(*items: torch.Tensor) -> object:
    own = type("Own", (Dataset,), {"__len__": lambda self: len(items), "__getitem__": lambda self, k: items[k]})
    return own()


@pytest.mark.parametrize("case", WRONG)
def test_what_will_not_do_is_refused_in_one_line(case: str) -> None:
    make, message = WRONG[case]
    for use in (
        to_spiking_graph,
        partial(to_spiking, normalization="max", decay=1.0),
        Memory().observe,
        ImageKeepingMemory().observe,
        Memory(percentile=99.0, coding="on-off").observe,
    ):
        with pytest.raises(InputError, match=message) as caught:
            use(net(), make())
        assert "\n" not in str(caught.value)


def test_what_can_be_read_once_is_enough_where_once_is() -> None:
    streamed, whole = Memory(), Memory()
    streamed.observe(net(), iter(Again()))
    whole.observe(net(), X)
    np.testing.assert_allclose(streamed.mean_input, whole.mean_input, rtol=1e-12)
    for use in (Memory(percentile=99.0).observe, Memory(coding="shifted").observe, to_spiking_graph):
        with pytest.raises(InputError, match=r"which can be read only once, but must be gone through \d times; give a"):
            use(net(), iter(Again()))


def test_a_memory_that_refuses_a_late_batch_is_as_it_was() -> None:
    for memory in (Memory(moments=True), Memory(coding="rates", each_task=True), ImageKeepingMemory()):
        model = net()
        memory.observe(model, X)
        before = memory.count, memory.mean_input.copy(), memory.calibration, memory.moments, list(memory.task_means)
        with pytest.raises(InputError, match="batch 2"):
            memory.observe(model, batches_of(X, missing()))
        assert memory.count == before[0]
        np.testing.assert_array_equal(memory.mean_input, before[1])
        assert (memory.calibration, memory.moments, len(memory.task_means)) == (before[2], before[3], len(before[4]))


def test_rows_are_read_in_any_order() -> None:
    made = Made()
    rows = Rows.of(made)
    assert (rows.shape, rows.dtype, len(rows), rows.labelled) == (X.shape, X.dtype, 90, True)
    made.read.clear()
    assert torch.equal(rows[torch.tensor([5, 2])], X[[5, 2]])
    assert made.read == [5, 2]
    assert torch.equal(rows[:3], X[:3])
    assert torch.equal(rows[Y == 1], X[Y == 1])
    some = rows.only(Y == 2).only(torch.tensor([1, 0]))
    assert torch.equal(some[:], X[[5, 2]])
    assert torch.cat(rows.labels()).tolist() == Y.tolist()
    order = [torch.tensor([8, 1]), torch.tensor([0])]
    assert [x.tolist() for x, _ in rows.parts(order)] == [X[[8, 1]].tolist(), X[[0]].tolist()]
    assert rows[torch.zeros(0, dtype=torch.int64)].shape == (0, 2, 4, 4)


def test_rows_of_a_loader_are_what_its_sampler_chooses() -> None:
    chosen = Rows.of(DataLoader(Made(), sampler=SubsetRandomSampler([4, 7, 8])))
    assert torch.equal(chosen[:], X[[4, 7, 8]])
    assert len(Rows.of(DataLoader(Made(), 7, shuffle=True, drop_last=True))) == 90
    for data, said in (
        (
            DataLoader(Made(), sampler=WeightedRandomSampler(torch.ones(90), 90)),
            "chooses its inputs by WeightedRandomS",
        ),
        (DataLoader(Made(), batch_sampler=[[1, 2]]), "chooses its inputs by .* list; give the data set"),
        (Streamed(), "must be read in any order, which Streamed cannot"),
        (DataLoader(Streamed()), "must be read in any order, which DataLoader cannot"),
    ):
        with pytest.raises(InputError, match=said):
            Rows.of(data)
