from pathlib import Path

import numpy as np
import pytest
import torch

from neurosleep import CuedReplay, InputError, MeanRate, Memory, SpontaneousReplay, sleep
from neurosleep.converters import calibrate
from neurosleep.converters.input_coding import InputCoding
from neurosleep.memory import FeatureMemory, ImageKeepingMemory
from neurosleep.networks import relu_network

X = np.random.default_rng(0).random((90, 12), dtype=np.float32)


def network(seed: int = 0) -> torch.nn.Sequential:
    return relu_network((12, 8, 3), init=0.5, generator=torch.Generator().manual_seed(seed))


def test_mean_is_that_of_everything_seen() -> None:
    memory, model = Memory(), network()
    for part in np.split(X, [10, 11, 60]):
        memory.observe(model, part)
    assert memory.count == 90
    np.testing.assert_allclose(memory.mean_input, X.astype(np.float64).mean(0), rtol=1e-12)
    assert memory.calibration is not None  # products of parts may round otherwise than that of the whole
    np.testing.assert_allclose(memory.calibration.scales, calibrate(model, X).scales, rtol=1e-6)


def test_scales_of_all_or_of_the_last() -> None:
    for scales in ("all", "last"):
        memory, model = Memory(scales=scales), network()
        memory.observe(model, X)
        large = memory.calibration
        with torch.no_grad():
            for p in model.parameters():
                p *= 0.5
        memory.observe(model, X)
        assert memory.calibration == (large if scales == "all" else calibrate(model, X))
        assert large != calibrate(model, X)


def test_holds_a_fixed_number_of_values_and_no_inputs() -> None:
    memory, model = Memory(), network()
    held = []
    for part in np.split(X, 9):
        memory.observe(model, part)
        held.append(
            sum(
                np.asarray(getattr(value, "scales", value)).size
                for name, value in vars(memory).items()
                if not isinstance(value, str) and name != "_owner"
            )
        )
    assert set(held) == {
        12 + 2 + 7
    }  # mean input, maxima, percentile, count, and that means of tasks, moments and a coding are not kept


def test_saved_and_loaded(tmp_path: Path) -> None:
    memory = Memory(percentile=99.0, output="softmax", scales="last")
    memory.observe(network(), X)
    memory.save(tmp_path / "memory.npz")
    loaded = Memory.load(tmp_path / "memory.npz")
    assert vars(loaded).keys() == vars(memory).keys()
    for key, value in vars(memory).items():
        np.testing.assert_array_equal(getattr(loaded, key), value) if key == "mean_input" else None
        assert key in ("mean_input", "_owner") or getattr(loaded, key) == value
    loaded.observe(network(), X)
    assert loaded.count == 180
    assert [p.name for p in tmp_path.iterdir()] == ["memory.npz"]


def test_saving_leaves_the_old_file_if_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    with pytest.raises(InputError, match="seen nothing"):
        memory.save(tmp_path / "m.npz")
    memory.observe(network(), X)
    memory.save(tmp_path / "m.npz")
    before = (tmp_path / "m.npz").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        memory.save(tmp_path / "m.npz")
    assert (tmp_path / "m.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", "truncated", "other", "pickle", "newer"])
def test_damaged_files(tmp_path: Path, content: object) -> None:
    path = tmp_path / "memory.npz"
    memory = Memory()
    memory.observe(network(), X)
    memory.save(path)
    match content:
        case bytes():
            path.write_bytes(content)
        case "truncated":
            path.write_bytes(path.read_bytes()[:-200])
        case "other":
            np.savez(path, weights=X)
        case "pickle":
            np.savez(path, format=1, mean_input=np.array([{"an": "object"}], dtype=object))
        case "newer":
            np.savez(path, format=3)
    with pytest.raises(InputError, match=r"memory.npz"):
        Memory.load(path)
    with pytest.raises(InputError, match=r"nowhere\.npz"):
        Memory.load(tmp_path / "nowhere.npz")


def test_wrong_inputs() -> None:
    memory, model = Memory(), network()
    memory.observe(model, X)
    with pytest.raises(InputError, match=r"inputs must be \(n, 12\)"):
        memory.observe(model, X[:, :5])
    with pytest.raises(InputError, match="this memory holds state of another network"):
        memory.observe(network(), X)
    with pytest.raises(InputError, match="not finite"):
        memory.observe(model, X * np.nan)
    with pytest.raises(InputError, match="no scales 'some'"):
        Memory(scales="some")
    assert memory.count == 90


@pytest.mark.parametrize("first_only", [False, True])
def test_a_memory_that_keeps_images_measures_the_present_network_on_them(first_only: bool) -> None:
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    model, late = (relu_network((6, 8, 3), init=0.5, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    memory = ImageKeepingMemory(first_only=first_only)
    memory.observe(model, x[:20])
    model.load_state_dict(late.state_dict())
    memory.observe(model, x[20:])
    kept = x[:20] if first_only else x
    assert memory.calibration == calibrate(late, kept)
    assert memory.count == len(kept)
    np.testing.assert_allclose(memory.mean_input, kept.double().mean(0).numpy(), rtol=1e-12)


def test_a_memory_that_refuses_stays_as_it_was() -> None:
    for memory in (Memory(), FeatureMemory(), ImageKeepingMemory(), ImageKeepingMemory(first_only=True)):
        for wrong in (
            X[:, :5],
            torch.utils.data.DataLoader(X[:, :5]),
            X * np.nan,
            ["a", "b"],
        ):
            with pytest.raises(InputError, match="inputs"):
                memory.observe(network(), wrong)
        assert memory.count == 0
        model = network()
        memory.observe(model, X)  # which belonged to none of the networks that failed
        mean, count = memory.mean_input, memory.count
        with pytest.raises(InputError):
            memory.observe(model, X[:, :11])
        with pytest.raises(InputError, match="not finite"):
            memory.observe(model, X * np.inf)
        assert memory.mean_input is mean or np.array_equal(memory.mean_input, mean)
        assert memory.count == count


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"percentile": "99"}, "percentile must be a number, got '99'"),
        ({"percentile": 0}, "percentile must be above 0 and at most 100, got 0"),
        ({"percentile": float("nan")}, "percentile must be a number, got nan"),
        ({"output": "sigmoid"}, r"no output 'sigmoid' \(known: relu, softmax\)"),
        ({"scales": "first"}, r"no scales 'first'.*\(known: all, last\)"),
    ],
)
def test_settings_of_a_memory_are_checked_at_once(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Memory(**wrong)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("count", -1, "count must be from 1"),
        ("count", 0.5, "count must be one of iu"),
        ("mean_input", np.full(12, np.nan), "mean_input must be from any to any finite"),
        ("mean_input", np.zeros((3, 4)), "mean_input must be any of float64"),
        ("calibration", np.array([1.0, np.nan]), "calibration must be from 0"),
        ("calibration", np.array([1.0, -1.0]), "calibration must be from 0"),
        ("calibration", np.array([]), "mean of 12 inputs"),
        ("input_shape", np.array([5, 5]), r"mean of 12 inputs and its shape \[5, 5\]"),
        ("output", "none", "output must be among relu, softmax"),
        ("scales", "some", "no scales 'some'"),
        ("percentile", 101.0, "percentile must be from 0 to 100"),
        ("format", 3, "format must be from 1 to 2"),
    ],
)
def test_values_that_no_memory_has(tmp_path: Path, name: str, value: object, says: str) -> None:
    path = tmp_path / "memory.npz"
    memory = Memory()
    memory.observe(network(), X)
    memory.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, name: value})
    with pytest.raises(InputError, match=f"memory.npz is not a memory written by Memory.save.*{says}"):
        Memory.load(path)


def test_a_memory_of_features_keeps_what_it_scales_by(tmp_path: Path) -> None:
    memory, path = FeatureMemory(), tmp_path / "memory.npz"
    memory.observe(network(), 4 * X - 1)
    memory.save(path)
    loaded = FeatureMemory.load(path)
    assert loaded.largest == memory.largest > 1
    assert isinstance(loaded, FeatureMemory)
    loaded.observe(network(), X)
    assert loaded.largest == memory.largest


def test_a_memory_that_keeps_images_is_no_file(tmp_path: Path) -> None:
    memory = ImageKeepingMemory()
    memory.observe(network(), X)
    with pytest.raises(InputError, match="is not saved; keep them"):
        memory.save(tmp_path / "m.npz")
    with pytest.raises(InputError, match="ever saved"):
        ImageKeepingMemory.load(tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_the_mean_of_each_task(tmp_path: Path) -> None:
    model, first, second = network(), X[:40], X[40:]
    memory = Memory(each_task=True)
    for inputs in (first, second):
        memory.observe(model, inputs)
    memory.save(tmp_path / "memory.npz")
    for one in (memory, Memory.load(tmp_path / "memory.npz")):
        assert one.each_task
        assert [mean.tolist() for mean in one.task_means] == [
            torch.from_numpy(x).double().mean(0).tolist() for x in (first, second)
        ]
    plain = Memory()
    plain.observe(model, first)
    cued = SpontaneousReplay(3, CuedReplay(MeanRate(9.0)), None)
    with pytest.raises(InputError, match=r"Memory\(each_task=True\)"):
        sleep(model, plain, cued)
    assert sleep(model, memory, cued).steps == 3
    plain.save(tmp_path / "plain.npz")
    assert (plain.task_means, Memory.load(tmp_path / "plain.npz").each_task) == ([], False)


SIGNED = torch.randn(80, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 4.0]).view(2, 1, 1)


def convolution() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2))


@pytest.mark.parametrize("kind", ["rectified", "shifted", "on-off"])
def test_the_mean_is_that_of_coded_rates(tmp_path: Path, kind: str) -> None:
    memory, model, x = Memory(coding=kind, moments=True), convolution(), SIGNED.double()
    memory.observe(model, SIGNED[:30])
    coding = memory.coding
    first = x[:30]
    if kind == "shifted":
        ends = first.amin((0, 2, 3)), first.amax((0, 2, 3))
        assert (coding.low, coding.high) == tuple(tuple(end.tolist()) for end in ends)
    else:
        assert coding.high == ((first.max() if kind == "rectified" else first.abs().max()).item(),)
    memory.observe(model, 2 * SIGNED[30:])  # partly beyond the range, which stays
    assert memory.coding == coding
    rates = coding.rates(torch.cat([x[:30], 2 * x[30:]]))
    np.testing.assert_allclose(memory.mean_input, rates.mean(0).flatten(), rtol=1e-12)
    assert len(memory.mean_input) == (36 if kind == "on-off" else 18)
    assert 0 <= memory.mean_input.min() <= memory.mean_input.max() <= 1
    np.testing.assert_allclose(memory.moments.mean, torch.cat([x[:30], 2 * x[30:]]).mean(0), rtol=1e-9)
    memory.save(tmp_path / "memory.npz")
    loaded = Memory.load(tmp_path / "memory.npz")
    assert (loaded.coding, loaded.network_coding, loaded.calibration) == (coding, coding, memory.calibration)
    assert loaded.calibration.names == memory.calibration.names == ("0", "3")
    loaded.observe(convolution(), 9 * SIGNED)
    with pytest.raises(InputError, match=r"read it with Memory\.load"):
        FeatureMemory.load(tmp_path / "memory.npz")


def test_values_outside_a_promised_range_are_told_with_their_place(tmp_path: Path) -> None:
    for coding, said in (
        ("rates", r"outside the range 0 to 1 of the coding 'rates', the first is -?\d.*\(0, 0, 0, .*'on-off'"),
        (
            InputCoding("shifted", (-1.0, -4.0), (1.0, 4.0)),
            r"range -1, -4 to 1, 4 of the coding 'shifted'",
        ),
        (InputCoding("on-off", high=(3.0,)), r"outside the range -3 to 3 of the coding 'on-off'"),
    ):
        memory, model = Memory(coding=coding), convolution()
        memory.observe(model, SIGNED.sigmoid())
        memory.save(tmp_path / "memory.npz")
        for one in (memory, Memory.load(tmp_path / "memory.npz")):
            with pytest.raises(InputError, match=said) as caught:
                one.observe(model, SIGNED)
            assert "\n" not in str(caught.value)
            assert one.count == 80


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("coding", "onoff", "no kind 'onoff'"),
        ("coding", "rectified", "takes only high"),
        ("coding_low", np.zeros(1), "as many low as high"),
        ("coding_high", np.full(2, np.nan), "coding_high must be from any"),
        ("coding_low", np.zeros((2, 2)), "coding_low must be any of f"),
        ("coding_given", np.array(1), "coding_given must be one of b"),
        ("names", np.array(["0"]), "names must be 2 of U"),
        ("mean_input", np.zeros(36), "mean of 36 inputs and its shape"),
    ],
)
def test_codings_that_no_memory_has(tmp_path: Path, name: str, value: object, says: str) -> None:
    path = tmp_path / "memory.npz"
    memory = Memory(coding="shifted")
    memory.observe(convolution(), SIGNED)
    memory.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, name: value})
    with pytest.raises(InputError, match=f"memory.npz is not a memory written by Memory.save.*{says}"):
        Memory.load(path)
    with pytest.raises(InputError, match="coding must be one of rates, rectified, shifted, on-off"):
        Memory(coding="signed")
