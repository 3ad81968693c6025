"""A night that is stopped goes on from its checkpoint to the identical end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosleep as ns
from neurosleep.networks import relu_network
from neurosleep.sims import checkpoint as module
from neurosleep.sims.checkpoint import load, simulate_resumable
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import Member, simulate_ensemble
from neurosleep.sims.network import SpikingLayer, SpikingNetwork
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian

STEPS = 5000
NAN = float("nan")


def member(rule: object = GatedHebbian(0.003, 0.0003), **how: object) -> Member:
    rng = np.random.default_rng(7)
    layers = (
        SpikingLayer(rng.normal(0.01, 0.02, (30, 40)).astype(np.float32), gain=9.0),
        SpikingLayer(rng.normal(0.01, 0.02, (40, 5)).astype(np.float32), gain=9.0),
    )
    return Member(SpikingNetwork(layers), UniformNoise(50.0), rule, **how)


class StoppedError(Exception):
    pass


def stop_after(calls: int) -> object:
    seen: list[int] = []

    def on_progress(steps: int) -> None:
        seen.append(steps)
        if len(seen) == calls:
            raise StoppedError

    return on_progress


@pytest.mark.parametrize("rule", [GatedHebbian(0.003, 0.0003), Hebbian(0.003, 0.0003), None])
def test_stopped_again_and_again(rule: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PIECE", 170)
    path = tmp_path / "night.npz"
    whole = simulate_ensemble([member(rule)], STEPS)[0]
    for calls in (2, 9, 31, 3):
        with pytest.raises(StoppedError):
            simulate_resumable(member(rule), STEPS, path, seconds=0, chunk=50, on_progress=stop_after(calls))
    assert 0 < load(path, whole.network).state.step < STEPS
    result = simulate_resumable(member(rule), STEPS, path, seconds=0)
    for x, y in zip(whole.network.layers, result.network.layers, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    for v, w in zip(whole.state.membranes, result.state.membranes, strict=True):
        np.testing.assert_array_equal(v, w)
    for m, n in zip(whole.spike_counts, result.spike_counts, strict=True):
        np.testing.assert_array_equal(m, n)
    assert whole.spike_counts[1].sum() > 100
    done: list[int] = []
    again = simulate_resumable(member(rule), STEPS, path, on_progress=done.append)
    assert done == [STEPS]
    np.testing.assert_array_equal(again.network.layers[0].weights, whole.network.layers[0].weights)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"rule": GatedHebbian(0.003, 0.0004)},
        {"rule": None},
        {"downscale_every": None, "downscaling": ns.MagnitudePruning(0.1)},
    ],
)
def test_another_night_is_refused(other: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "night.npz"
    simulate_resumable(member(), 10, path)
    with pytest.raises(ns.InputError, match="checkpoint of another night"):
        simulate_resumable(member(**other), 10, path)
    with pytest.raises(ns.InputError, match="checkpoint of another night"):
        simulate_resumable(member(), 11, path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "night.npz"
    simulate_resumable(member(), 10, path)
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2], whole[:200] + bytes(100) + whole[300:]):
        path.write_bytes(content)
        with pytest.raises(ns.InputError, match="is not a checkpoint of a night of this network, or it is damaged"):
            simulate_resumable(member(), 10, path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ns.InputError, match="is not a checkpoint"):
        simulate_resumable(member(), 10, path)
    np.savez(path, weights0=np.array([{}], dtype=object))
    with pytest.raises(ns.InputError, match="is not a checkpoint"):
        simulate_resumable(member(), 10, path)


def test_a_failed_save_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "night.npz"
    simulate_resumable(member(), 10, path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        module.save(load(path, member().network), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["night.npz"]


def model_and_memory() -> tuple[torch.nn.Module, ns.Memory]:
    model = relu_network((16, 12, 5), init=0.5, generator=torch.Generator().manual_seed(0))
    memory = ns.Memory()
    memory.observe(model, np.random.default_rng(1).random((60, 16), dtype=np.float32))
    return model, memory


STAGE = ns.SpontaneousReplay(3000, ns.MeanRate(60.0), ns.GatedHebbian(0.02, 0.004), 1.0, gain_scale=2.0)


def test_sleep_goes_on_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PIECE", 1000)
    expected, memory = model_and_memory()
    record = ns.sleep(expected, memory, STAGE, seed=3, log=tmp_path / "whole.h5")
    model, memory = model_and_memory()
    before = [p.detach().clone() for p in model.parameters()]
    files = {"log": tmp_path / "night.h5", "checkpoint": tmp_path / "night.npz"}
    with pytest.raises(StoppedError):
        ns.sleep(model, memory, STAGE, seed=3, **files, on_progress=stop_after(2))
    for p, q in zip(before, model.parameters(), strict=True):
        assert torch.equal(p, q)
    again = ns.sleep(model, memory, STAGE, seed=3, **files)
    assert again.spikes == record.spikes
    for p, q in zip(expected.parameters(), model.parameters(), strict=True):
        assert torch.equal(p, q)
    with ns.SpikeReader(tmp_path / "whole.h5") as a, ns.SpikeReader(files["log"]) as b:
        assert b.complete
        assert a.epochs == b.epochs
        for population in a.populations:
            np.testing.assert_array_equal(a.events(population), b.events(population))


def test_a_checkpoint_needs_its_log_as_a_path(tmp_path: Path) -> None:
    model, memory = model_and_memory()
    with (
        ns.SpikeLog(tmp_path / "n.h5", {"input": 16, "hidden1": 12, "output": 5}, dt=0.001) as log,
        pytest.raises(ns.InputError, match="needs its log as a path"),
    ):
        ns.sleep(model, memory, STAGE, log=log, checkpoint=tmp_path / "night.npz")


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import test_checkpoint as t
import neurosleep as ns
from neurosleep.sims import checkpoint
checkpoint.FIRST_PIECE = 500
model, memory = t.model_and_memory()
print("begin", flush=True)
ns.sleep(model, memory, t.STAGE, seed=3, log={log!r}, checkpoint={path!r}, on_progress=lambda _: time.sleep(0.2))
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    expected, memory = model_and_memory()
    ns.sleep(expected, memory, STAGE, seed=3)
    log, path = tmp_path / "night.h5", tmp_path / "night.npz"
    code = KILLED.format(tests=str(Path(__file__).parent), log=str(log), path=str(path))
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        deadline = time.monotonic() + 60
        seen = path.stat().st_mtime_ns if path.exists() else 0
        while (not path.exists() or path.stat().st_mtime_ns == seen) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    model, memory = model_and_memory()
    ns.sleep(model, memory, STAGE, seed=3, log=log, checkpoint=path)
    for p, q in zip(expected.parameters(), model.parameters(), strict=True):
        assert torch.equal(p, q)
    with ns.SpikeReader(log) as reader:
        assert reader.n_steps == STAGE.steps
        assert reader.complete


HELD = {
    "steps beyond the end": ("step", lambda x: x + 11, "step must be from 0 to 10"),
    "steps before the beginning": ("step", lambda x: x - 11, "step must be from 0 to 10"),
    "no whole step": ("step", lambda x: x + 0.5, "step must be one of int64"),
    "membranes that are no numbers": ("membranes0", lambda x: x * np.nan, "membranes0 must be from -inf"),
    "membranes without end": ("membranes1", lambda x: x + np.inf, "membranes1 must be from -inf"),
    "too few membranes": ("membranes0", lambda x: x[:-1], "membranes0 must be 40 of float32"),
    "membranes of more streams": ("membranes0", lambda x: np.stack([x, x]), "membranes0 must be 40 of float32"),
    "membranes in another precision": (
        "membranes0",
        lambda x: x.astype(np.float64),
        "membranes0 must be 40 of float32",
    ),
    "a membrane of the future": ("membrane_steps", lambda x: x + 11, "membrane_steps must be from 0 to 10"),
    "too few membrane steps": ("membrane_steps", lambda x: x[:1], "membrane_steps must be 2 of int64"),
    "weights that are no numbers": ("weights0", lambda x: x * np.nan, "weights0 must be from any to any finite"),
    "too few weights": ("weights0", lambda x: x[:-1], "weights0 must be 30 x 40 of float32"),
    "less than no spikes": ("counts1", lambda x: x - 11, "counts1 must be from 0 to 10"),
    "more spikes than steps": ("counts0", lambda x: x + 11, "counts0 must be from 0 to 10"),
    "too few counts": ("counts2", lambda x: x[1:], "counts2 must be 5 of int64"),
    "too few debts": ("owed0", lambda x: x[1:], "owed0 must be 40 of int32"),
    "debts below none": ("owed1", lambda x: x - 11, "owed1 must be from 0 to 10"),
    "debts without weights": ("stored0", lambda x: None, "it has no stored0"),
    "two nights": ("night", lambda x: np.array([str(x)] * 2), "night must be one of U"),
    "no membranes": ("membranes0", lambda x: None, "membranes0"),
}


@pytest.mark.parametrize("case", HELD)
def test_a_checkpoint_that_no_night_leaves_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "night.npz"
    simulate_resumable(member(Hebbian(0.003, 0.0003)), 10, path)
    with np.load(path) as file:
        arrays = dict(file)
    name, change, says = HELD[case]
    wrong = {**arrays, name: change(arrays[name])}
    np.savez(path, **{key: value for key, value in wrong.items() if value is not None})
    with pytest.raises(ns.InputError, match=rf"night.npz is not a checkpoint of a night.*{says}") as refused:
        simulate_resumable(member(Hebbian(0.003, 0.0003)), 10, path)
    assert "\n" not in str(refused.value)
    np.savez(path, **arrays)
    assert simulate_resumable(member(Hebbian(0.003, 0.0003)), 10, path).state.step == 10


@pytest.mark.parametrize(
    "wrong", [{"steps": NAN}, {"steps": -1}, {"steps": 10**30}, {"seconds": NAN}, {"seconds": "long"}]
)
def test_lengths_that_are_none(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ns.InputError, match=f"{next(iter(wrong))} must be"):
        simulate_resumable(member(), path=tmp_path / "night.npz", **{"steps": 10} | wrong)
    assert list(tmp_path.iterdir()) == []
