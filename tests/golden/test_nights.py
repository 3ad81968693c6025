"""Nights of small networks with shipped weights: their spikes and weights are, to the bit, what is stored.

Nothing is trained here, so this holds on any machine. After a change that is meant to change a night:
`python tests/golden/test_nights.py --write`. (`--train` makes the networks anew first.)
"""

import argparse
import itertools
import json
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import neurosleep as ns

HERE = Path(__file__).parent
NETWORKS, STORED = HERE / "networks.npz", HERE / "nights.json"

MASKED, MEAN, NOISE = ns.MaskedMeanRate(239.5, 11), ns.MeanRate(60.0), ns.UniformNoise(20.0)
GATED, HEBBIAN = ns.GatedHebbian(0.032, 0.0033), ns.Hebbian(0.003, 0.0003)


class Night(NamedTuple):
    stage: ns.SpontaneousReplay
    network: str = "dense"
    backend: str = "cpu"
    precision: str = "float32"


def dense(drive, rule, steps=300, **options):
    return ns.SpontaneousReplay(steps, drive, rule, thresholds=(5.0, 10.0, 8.0), gain_scale=55.9, **options)


def convolutional(plastic, steps=200, **options):
    return ns.SpontaneousReplay(
        steps, MEAN, ns.GatedHebbian(0.01, 0.001), (0.5, 0.3), normalization="max", plastic=plastic, **options
    )


NIGHTS = {
    "gated, masked": Night(dense(MASKED, GATED)),
    "gated, mean rate, float64": Night(dense(MEAN, GATED), precision="float64"),
    "gated, noise, inhibition": Night(dense(NOISE, GATED, inhibition=0.2, decay=0.99)),
    "hebbian, masked": Night(dense(MASKED, HEBBIAN)),
    "streams": Night(dense(MASKED, GATED, streams=3)),
    "downscaling": Night(dense(MASKED, GATED, downscaling=ns.GradedDownscaling(), downscale_every=50)),
    "pruning": Night(dense(MEAN, HEBBIAN, downscaling=ns.MagnitudePruning(0.05), downscale_every=100)),
    "silenced": Night(dense(MASKED, GATED, silenced={"hidden1": tuple(range(0, 60, 3)), "input": (400, 401)})),
    "frozen": Night(dense(MASKED, GATED, plastic=("2",))),
    "convolution, frozen": Night(convolutional(("3",)), "convolutional"),
    "convolution, plastic": Night(convolutional(None, sharing="positions"), "convolutional"),
    "reference, gated": Night(dense(MASKED, GATED, steps=60), backend="reference"),
    "reference, hebbian, float64": Night(dense(NOISE, HEBBIAN, steps=60), backend="reference", precision="float64"),
    "reference, convolution": Night(convolutional(None, steps=30), "convolutional", backend="reference"),
}


def model_of(name):
    if name == "dense":
        widths = (784, 60, 40, 10)
        layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)]
        return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    first = nn.Conv2d(1, 4, 5, stride=3, bias=False)
    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 10, bias=False))


def asleep(name, folder):
    """Sleep one night; return digests of every event and of the weights, and how much there was of both."""
    night = NIGHTS[name]
    model = model_of(night.network)
    with np.load(NETWORKS) as file:
        for number, weight in enumerate(model.parameters()):
            weight.data = torch.from_numpy(file[f"{night.network} {number}"])
        (folder / "memory.npz").write_bytes(file[f"{night.network} memory"].tobytes())
    memory = ns.Memory.load(folder / "memory.npz")
    log = folder / "night.h5"
    record = ns.sleep(model, memory, night.stage, seed=3, log=log, backend=night.backend, precision=night.precision)
    digest = blake2b(digest_size=16)
    with ns.SpikeReader(log) as spikes:
        for population in spikes.layers:
            for events in spikes.events(population):
                digest.update(events.astype("<u4").tobytes())
    log.unlink()
    weights = b"".join(weight.detach().numpy().astype("<f4").tobytes() for weight in model.parameters())
    return {
        "fired": record.spikes,
        "changed": [change.potentiated + change.depressed for change in record.weight_changes],
        "spikes": digest.hexdigest(),
        "weights": blake2b(weights, digest_size=16).hexdigest(),
    }


@pytest.mark.parametrize("name", NIGHTS)
def test_a_night_is_the_stored_one(name, tmp_path):
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    assert asleep(name, tmp_path) == stored


def test_every_stored_night_has_spikes_and_changes_weights():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert list(stored) == list(NIGHTS)
    for night in stored.values():
        assert all(night["fired"].values())
        assert sum(night["changed"])


def train():
    """Make the networks and their memories; not the same to the bit on another machine."""
    from neurosleep.data import load
    from neurosleep.training import Trainer

    digits = load("mnist-small", "train")
    x, y = torch.from_numpy(digits.vectors())[:4000], torch.from_numpy(digits.labels)[:4000]
    arrays = {}
    torch.manual_seed(0)
    for name, inputs in (("dense", x), ("convolutional", x.reshape(-1, 1, 28, 28))):
        model, memory = model_of(name), ns.Memory()
        Trainer(epochs=4).train(model, inputs, y, generator=torch.Generator().manual_seed(0))
        memory.observe(model, inputs)
        arrays |= {f"{name} {number}": weight.detach().numpy() for number, weight in enumerate(model.parameters())}
        with TemporaryDirectory() as folder:
            memory.save(Path(folder) / "memory.npz")
            arrays[f"{name} memory"] = np.frombuffer((Path(folder) / "memory.npz").read_bytes(), dtype=np.uint8)
    np.savez_compressed(NETWORKS, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store what the nights are now")
    parser.add_argument("--train", action="store_true", help="make the networks anew before")
    asked = parser.parse_args()
    if asked.train:
        train()
    if asked.write:
        with TemporaryDirectory() as folder:
            nights = {name: asleep(name, Path(folder)) for name in NIGHTS}
        STORED.write_text(json.dumps(nights, indent=1) + "\n", encoding="utf-8")
