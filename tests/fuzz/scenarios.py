"""What is killed: calls that leave the same files every time, and all of what they leave that can be compared."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import neurosleep as ns
from neurosleep.cli import main
from neurosleep.experiments import Condition, DataStream, Experiment, GenerativeNetwork, ReluNetwork, learning, run
from neurosleep.experiments.loading import from_toml
from neurosleep.experiments.record import without_machine
from neurosleep.networks import relu_network
from neurosleep.sims import checkpoint
from neurosleep.training import Trainer
from neurosleep.tripartite import NREM, REM
from neurosleep.tripartite.looking import Looks

from .descriptions import TINY

REPLAY = ns.SpontaneousReplay(
    300, ns.MeanRate(200.0), ns.GatedHebbian(0.003, 0.0003), thresholds=(1.0, 1.0), gain_scale=5.0
)


@dataclass(frozen=True)
class Scenario:
    """A call that may be killed at any moment: given again, it leaves what it leaves when nobody disturbs it."""

    name: str
    call: Callable[[Path], object]
    share: int = 1


def night(folder: Path) -> None:
    """A night with log and checkpoint, of several pieces; what it makes of the weights is kept, too."""
    torch.manual_seed(0)
    model, memory = relu_network((784, 200, 10)), ns.Memory()
    memory.observe(model, torch.rand(50, 784))
    stage = ns.SpontaneousReplay(5000, ns.MeanRate(100.0), ns.GatedHebbian(0.03, 0.003), thresholds=(0.6, 0.5))
    checkpoint.FIRST_PIECE = 1000
    record = ns.sleep(model, memory, stage, log=folder / "night.h5", checkpoint=folder / "night.npz")
    kept = {"spikes": record.spikes, "steps": record.steps}
    (folder / "record.json").write_text(json.dumps(kept))
    torch.save(model.state_dict(), folder / "model.pt")


def command(folder: Path) -> None:
    """`neurosleep run`, of an experiment in a file."""
    (folder / "tiny.toml").write_text(TINY)
    sys.argv = ["neurosleep", "run", str(folder / "tiny.toml"), "--workers", "1", "--out", str(folder / "out")]
    main()


def experiment(folder: Path) -> None:
    """An experiment from Python, two runs at a time, that keeps all spikes and networks."""
    tiny = from_toml(TINY)
    assert isinstance(tiny, Experiment)
    run(replace(tiny, seeds=2, logs="all", keep_networks=True), folder / "out", workers=1, ensemble=2, progress=False)


DREAMING = Experiment(
    "Do dreams go on?",
    {"dreams": Condition([NREM(8, 16), REPLAY, REM(4, 16)], steps_more=50)},
    seeds=1,
    stream=DataStream(images_per_task=40, classes_per_task=5),
    network=GenerativeNetwork((20,), latents=4),
    looks=Looks(inputs=20, early=2, every=3, weights_at=(0, 5)),
    keep_networks=True,
)


def tripartite(folder: Path) -> None:
    """A network that learns by its nights, saved after every iteration."""
    learning.CHECKPOINT_SECONDS = 0.0
    run(DREAMING, folder / "out", workers=1, progress=False)


def seldom(folder: Path) -> None:
    """The same, saved as seldom as it usually is, so that the log is ahead of the learner."""
    run(replace(DREAMING, seeds=2, logs="all"), folder / "out", workers=1, progress=False)


def awake(folder: Path) -> None:
    """An experiment that rehearses, with a night after each task."""
    conditions = {"both": Condition([REPLAY], method="rehearsal"), "neither": Condition()}
    asked = Experiment(
        "Does it go on?",
        conditions,
        seeds=2,
        stream=DataStream(images_per_task=40, classes_per_task=5),
        network=ReluNetwork((20,)),
        training=Trainer(epochs=1),
    )
    run(asked, folder / "out", workers=1, progress=False)


SCENARIOS = (
    Scenario("night", night, 6),
    Scenario("command", command),
    Scenario("experiment", experiment),
    Scenario("awake", awake),
    Scenario("tripartite", tripartite, 2),
    Scenario("seldom", seldom),
)


def left(folder: Path) -> dict[str, Any]:
    """Return all that a call left: names of files, and of each what does not depend on the machine."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.name == ".lock":
            continue
        if path.suffix == ".json":
            found[name] = without_machine(json.loads(path.read_text()))
        elif path.suffix == ".h5":
            found[name] = _hdf5(path)
        elif path.suffix == ".pt":
            found[name] = _plain(torch.load(path, weights_only=True))
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = dict(arrays.items())
        elif path.suffix == ".csv":
            found[name] = [line for line in path.read_text().splitlines() if "seconds" not in line]
        else:
            found[name] = path.read_bytes() if path.suffix in (".toml", ".txt") else ""  # pages tell how long it took
    return found


def _plain(value: Any) -> Any:
    """Leave out of a learner's state how long it took."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "seconds"}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _hdf5(path: Path) -> dict[str, Any]:
    """Return all attributes and datasets."""
    found: dict[str, Any] = {}

    def take(name: str, thing: Any) -> None:
        found[f"{name}@"] = {key: _bytes(value) for key, value in thing.attrs.items()}
        if isinstance(thing, h5py.Dataset):
            found[name] = _bytes(thing[()])

    with h5py.File(path) as file:
        take("", file)
        file.visititems(take)
    return found


def _bytes(value: Any) -> Any:
    array = np.asarray(value)
    return array.tolist() if array.dtype == object else (str(array.dtype), array.shape, array.tobytes())
