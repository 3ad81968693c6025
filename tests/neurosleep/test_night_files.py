"""A night with log and checkpoint goes on or begins again, to the same end, and touches no files but its own."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import neurosleep as ns
from neurosleep.networks import relu_network
from neurosleep.sims import checkpoint
from neurosleep.sims.checkpoint import Resumable, digest
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import Member
from neurosleep.sims.lock import beside
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.spikes.lock import checksum, is_marked

STAGE = ns.SpontaneousReplay(300, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.004), 1.0, gain_scale=2.0)


def model_and_memory(width: int = 12, init: float = 0.5) -> tuple[torch.nn.Module, ns.Memory]:
    model = relu_network((16, width, 5), init=init, generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, np.random.default_rng(1).random((60, 16), dtype=np.float32))
    return model, memory


def call(folder: Path, **changed: object) -> list[torch.Tensor]:
    """Sleep, and return the weights."""
    model, memory = model_and_memory(changed.pop("width", 12), changed.pop("init", 0.5))
    stage = changed.pop("stage", STAGE)
    files = {"log": folder / "night.h5", "checkpoint": folder / "night.npz"}
    ns.sleep(model, memory, stage, **{"seed": 3, **files, **changed})
    return [p.detach() for p in model.parameters()]


class StopError(Exception):
    pass


def stop(error: type[BaseException], at: int = 1) -> Callable[[int], None]:
    calls: list[int] = []

    def on_progress(steps: int) -> None:
        calls.append(steps)
        if len(calls) == at:
            raise error

    return on_progress


def content(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    with h5py.File(path) as file:
        found.update({name: np.array(value).tolist() for name, value in file.attrs.items()})
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[torch.Tensor], Path]:
    """A night that nothing stopped, without a checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    return call(folder, checkpoint=None), folder / "night.h5"


def assert_ended_as(whole: tuple[list[torch.Tensor], Path], weights: list[torch.Tensor], folder: Path) -> None:
    assert all(torch.equal(a, b) for a, b in zip(weights, whole[0], strict=True))
    assert content(folder / "night.h5") == content(whole[1])
    assert {path.name for path in folder.iterdir()} == {"night.h5", "night.npz"}


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
@pytest.mark.parametrize("piece", [1000, 100])
def test_stopped_before_and_after_the_first_checkpoint(
    whole: tuple[list[torch.Tensor], Path],
    error: type[BaseException],
    piece: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "FIRST_PIECE", piece)
    with pytest.raises(error):
        call(tmp_path, on_progress=stop(error, at=1 if piece == 1000 else 2))
    assert (tmp_path / "night.npz").exists() is (piece == 100)
    assert_ended_as(whole, call(tmp_path), tmp_path)
    before = files(tmp_path)
    call(tmp_path)  # once more, when all is over
    assert files(tmp_path) == before


def test_stopped_while_its_files_are_made(
    whole: tuple[list[torch.Tensor], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_it(*_: object, **__: object) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(ns.SpikeLog, "begin_epoch", stop_it)
        with pytest.raises(StopError):
            call(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"night.h5"}
    with monkeypatch.context() as patch:
        patch.setattr(ns.SpikeLog, "end_epoch", stop_it)  # all is saved, but the log is not complete
        with pytest.raises(StopError):
            call(tmp_path)
    with ns.SpikeReader(tmp_path / "night.h5") as reader:
        assert (reader.n_steps, reader.complete) == (300, False)
    assert_ended_as(whole, call(tmp_path), tmp_path)


def test_killed_just_before_the_log_was_closed(whole: tuple[list[torch.Tensor], Path], tmp_path: Path) -> None:
    """All is said in it, complete, too, but HDF5's mark of a writer is left."""
    call(tmp_path)
    log = tmp_path / "night.h5"
    data = bytearray(log.read_bytes())
    data[11] = 5
    data[44:48] = checksum(bytes(data[:44])).to_bytes(4, "little")
    log.write_bytes(data)
    assert is_marked(log)
    assert_ended_as(whole, call(tmp_path), tmp_path)
    assert not is_marked(log)
    beside(log).touch()  # killed just after it
    assert_ended_as(whole, call(tmp_path), tmp_path)


def test_a_night_without_steps_can_be_called_again(tmp_path: Path) -> None:
    stage = ns.SpontaneousReplay(0, ns.MeanRate(60.0), None)
    call(tmp_path, stage=stage)
    before = files(tmp_path)
    call(tmp_path, stage=stage)
    assert files(tmp_path) == before
    assert set(before) == {"night.h5", "night.npz"}


OTHERS = {
    "seed": {"seed": 4},
    "network": {"width": 13},
    "weights": {"init": 0.6},
    "length": {
        "stage": ns.SpontaneousReplay(400, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.004), 1.0, gain_scale=2.0)
    },
    "rule": {"stage": ns.SpontaneousReplay(300, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.005), 1.0, gain_scale=2.0)},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("stopped", [True, False])
def test_files_of_another_night_stay_as_they_are(other: str, stopped: bool, tmp_path: Path) -> None:
    for folder, changed in (("mine", {}), ("theirs", OTHERS[other])):
        (tmp_path / folder).mkdir()
        if stopped:
            with pytest.raises(StopError):
                call(tmp_path / folder, on_progress=stop(StopError), **changed)
        else:
            call(tmp_path / folder, **changed)
    before = {folder: files(tmp_path / folder) for folder in ("mine", "theirs")}
    theirs = tmp_path / "theirs"
    wrong = [{"log": theirs / "night.h5"}, {"log": theirs / "night.h5", "checkpoint": theirs / "night.npz"}]
    wrong += [{"log": theirs / "night.h5", "checkpoint": theirs / "new.npz"}]
    if not stopped:
        wrong += [{"checkpoint": theirs / "night.npz"}, {"checkpoint": theirs / "night.npz", "log": theirs / "new.h5"}]
    for paths in wrong:
        with pytest.raises(ns.InputError) as told:
            call(tmp_path / "mine", **paths)
        assert "\n" not in str(told.value)
    assert {folder: files(tmp_path / folder) for folder in ("mine", "theirs")} == before


def test_a_log_of_many_nights_is_not_cut_to_the_first(tmp_path: Path) -> None:
    call(tmp_path)
    with ns.SpikeLog.resume(tmp_path / "night.h5", 300) as log:
        log.end_epoch()
        model, memory = model_and_memory()
        ns.sleep(model, memory, STAGE, seed=5, log=log)
    before = files(tmp_path)
    with pytest.raises(ns.InputError, match="is complete and holds 2 epochs"):
        call(tmp_path)
    assert files(tmp_path) == before


def test_a_log_without_identity_goes_on_if_the_rest_is_as_expected(
    whole: tuple[list[torch.Tensor], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As version 1.9 and before wrote them."""
    monkeypatch.setattr(checkpoint, "FIRST_PIECE", 100)
    with pytest.raises(StopError):
        call(tmp_path, on_progress=stop(StopError, at=2))
    with h5py.File(tmp_path / "night.h5", "r+", libver=("v110", "v110")) as file:
        identity = file.attrs["identity"]
        del file.attrs["identity"]
    for changed in ({"log": tmp_path / "none.h5"}, {"seed": 4}):
        with pytest.raises(ns.InputError):
            call(tmp_path, **changed)
    weights = call(tmp_path)
    with h5py.File(tmp_path / "night.h5", "r+") as file:
        assert "identity" not in file.attrs
        file.attrs["identity"] = identity
    assert_ended_as(whole, weights, tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"checkpoint": "none/night.npz"}, "there is no folder"),
        ({"log": "none/night.h5"}, "folder"),
        ({"checkpoint": "."}, "is a folder"),
        ({"log": "."}, "is a folder"),
        ({"log": "night.npz"}, "give each a path of its own"),
        ({"log": "sub/../night.npz"}, "give each a path of its own"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(changed: dict[str, str], told: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(ns.InputError, match=told):
        call(tmp_path, **{name: tmp_path / path for name, path in changed.items()})
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_a_log_that_is_missing_is_told_of(tmp_path: Path) -> None:
    call(tmp_path)
    (tmp_path / "night.h5").unlink()
    before = files(tmp_path)
    with pytest.raises(ns.InputError, match=r"300 steps are saved in .*night.npz, but their log .* is not there"):
        call(tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("with_log", [True, False])
def test_the_same_night_twice_at_a_time(with_log: bool, tmp_path: Path) -> None:
    asleep, go_on = threading.Event(), threading.Event()

    def wait(_: int) -> None:
        asleep.set()
        go_on.wait(60)

    how = {} if with_log else {"log": None}
    first = threading.Thread(target=call, args=(tmp_path,), kwargs={"on_progress": wait, **how})
    first.start()
    asleep.wait(60)
    with pytest.raises(ns.InputError, match="that another process is simulating"):
        call(tmp_path, **how)
    with pytest.raises(ns.InputError, match="that another process is simulating"):
        call(tmp_path, log=tmp_path / "other.h5")
    go_on.set()
    first.join()
    assert {path.name for path in tmp_path.iterdir()} == ({"night.h5", "night.npz"} if with_log else {"night.npz"})


def test_steps_that_a_log_has_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FIRST_PIECE", 100)
    with pytest.raises(StopError):
        call(tmp_path, on_progress=stop(StopError, at=2))
    shutil.copy(tmp_path / "night.h5", tmp_path / "behind.h5")
    with ns.SpikeLog.resume(tmp_path / "behind.h5", 40):
        pass
    before = files(tmp_path)
    with pytest.raises(ns.InputError, match=r"after 100 steps: it holds 40"):
        call(tmp_path, log=tmp_path / "behind.h5")
    assert files(tmp_path) == before


@dataclass(frozen=True, repr=False)
class Slow(ns.Rule):
    """A rule that Python tells by its place in memory alone."""

    bound: float

    __repr__ = object.__repr__

    def on_post(self, w: float, fired: bool) -> float:
        return w + (0.01 if fired else -0.005) * max(0.0, 1 - abs(w) / self.bound)


def test_the_identity_of_a_rule_is_its_values(tmp_path: Path) -> None:
    def member(rule: Slow) -> Member:
        layers = [SpikingLayer(np.eye(4, 3, dtype=np.float32), threshold=0.5)]
        return Member(SpikingNetwork(layers), UniformNoise(50.0), rule)

    assert digest(member(Slow(1.0)), 10) == digest(member(Slow(1.0)), 10) != digest(member(Slow(2.0)), 10)
    with Resumable(member(Slow(1.0)), 10, tmp_path / "night.npz") as night:
        night.simulate(backend="reference")
    with Resumable(member(Slow(1.0)), 10, tmp_path / "night.npz") as night:
        assert night.done == 10
    with pytest.raises(ns.InputError, match=r"plasticity must be a rule, .* got 3"):
        Resumable(member(3), 10, tmp_path / "other.npz")
