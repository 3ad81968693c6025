"""An experiment of a second whose network learns by its nights, for tests in several processes."""

import os
import signal
import sys
from pathlib import Path

import neurosleep as ns
from neurosleep.experiments import Condition, DataStream, Experiment, GenerativeNetwork, learning, running
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.tripartite import NREM, REM
from neurosleep.tripartite.learner import Learner
from neurosleep.tripartite.looking import Looks

REPLAY = ns.SpontaneousReplay(
    200, ns.MeanRate(200.0), ns.GatedHebbian(0.003, 0.0003), thresholds=(1.0, 1.0), gain_scale=5.0
)
DREAMING = Experiment(
    "Do dreams go on?",
    {"dreams": Condition([NREM(8, 16), REPLAY, REM(4, 16)], steps_more=50)},
    seeds=1,
    stream=DataStream(images_per_task=40, classes_per_task=5),
    network=GenerativeNetwork((20,), latents=4),
    looks=Looks(inputs=20, early=2, every=3, weights_at=(0, 5)),
    keep_networks=True,
)


def run_until_killed(out: Path, saves: int) -> None:
    """Run, and die at once after so many times that the learner was written; or just before a record is."""
    done, save = 0, Learner.save

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(self: Learner, path: Path) -> None:
        nonlocal done
        save(self, path)
        done += 1
        if done == saves:
            die()

    learning.CHECKPOINT_SECONDS = 0.0
    Learner.save = dying
    ExperimentFolder.write_run = lambda *_: die()
    running.run_all(DREAMING, out, workers=1, progress=False)


if __name__ == "__main__":
    run_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
