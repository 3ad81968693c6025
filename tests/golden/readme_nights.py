"""The README's nights in Python, in short: `sleep` and `simulate_ensemble`; writes the plain form of what came out."""

import json
import sys
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from plain import digest
from torch import nn

import neurosleep as ns
from neurosleep.data import load
from neurosleep.networks import relu_network
from neurosleep.training import Trainer, predict

THRESHOLDS, GAIN = (5.0, 10.0, 8.0), 55.9
DRIVE = ns.MaskedMeanRate(max_rate=239.5, window=11)
STAGES = (
    ns.SpontaneousReplay(400, DRIVE, ns.GatedHebbian(0.032, 0.0033), THRESHOLDS, GAIN),
    ns.SpontaneousReplay(
        400, DRIVE, ns.Hebbian(0.01, 0.001), THRESHOLDS, GAIN, downscaling=ns.GradedDownscaling(), downscale_every=100
    ),
    ns.MagnitudePruning(0.5),
)


def weights(model: nn.Module) -> str:
    """Return a digest of all weights."""
    values = b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())
    return blake2b(values, digest_size=16).hexdigest()


def main(out: Path) -> None:
    """Learn two tasks, sleep after each, then sleep many nights at once."""
    out.mkdir(parents=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits, test = load("mnist-small", "train"), load("mnist-small", "test")
    x, y = torch.from_numpy(digits.vectors()), torch.from_numpy(digits.labels)
    model = relu_network((784, 60, 40, 10), init=0.05, generator=torch.Generator().manual_seed(0))
    memory, trainer = ns.Memory(), Trainer(epochs=1)
    optimizer = trainer.optimizer(model)
    nights: list[Any] = []
    accuracies, spikes = [], {}
    for pair in ((0, 1), (2, 3)):
        own = (y == pair[0]) | (y == pair[1])
        trainer.train(model, x[own], y[own], optimizer=optimizer, generator=torch.Generator().manual_seed(pair[0]))
        memory.observe(model, x[own])
        for number, stage in enumerate(STAGES):
            log = None if isinstance(stage, ns.MagnitudePruning) else out / f"{pair[1]}-{number}.h5"
            nights.append({**asdict(ns.sleep(model, memory, stage, seed=pair[0], log=log)), "model": weights(model)})
            del nights[-1]["seconds"]
            if log is not None:
                spikes[log.stem] = digest(log)
        right = predict(model, torch.from_numpy(test.vectors())) == torch.from_numpy(test.labels)
        accuracies.append(float(right.float().mean()))
    network = ns.to_spiking(
        model, memory.calibration, thresholds=THRESHOLDS, gain_scale=GAIN, normalization="max", decay=1.0
    )
    members = [
        ns.Member(network, DRIVE, ns.GatedHebbian(inc, 0.0033), memory.mean_input, seed=seed)
        for inc in (0.01, 0.03)
        for seed in range(2)
    ]
    ensemble = [
        {
            "counts": [counts.tolist() for counts in result.spike_counts],
            "weights": [
                blake2b(layer.weights.tobytes(), digest_size=16).hexdigest() for layer in result.network.layers
            ],
        }
        for result in ns.simulate_ensemble(members, steps=300)
    ]
    found = {"nights": nights, "accuracies": accuracies, "ensemble": ensemble}
    plain = {"conditions": {"python": {"0": found}}, "spikes": spikes}
    (out / "plain.json").write_text(json.dumps(plain), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
