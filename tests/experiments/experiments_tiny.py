"""An experiment whose runs take a fifth of a second each, for tests in several processes."""

from dataclasses import replace

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Experiment, ReluNetwork
from neurosleep.training import Trainer

NIGHT = ns.SpontaneousReplay(
    300, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)
TINY = Experiment(
    "Does <sleep> help & how?",
    {"awake": Condition(), "src/1": Condition([NIGHT]), "joint": Condition(method="joint")},
    seeds=4,
    stream=DataStream(images_per_task=60, classes_per_task=5),
    network=ReluNetwork((40,), init=0.05),
    training=Trainer(epochs=1, batch_size=20),
)
FAILING = replace(TINY, conditions={**TINY.conditions, "bad": Condition([replace(NIGHT, thresholds=(1.0,))])})
