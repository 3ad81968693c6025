"""An experiment that does next to nothing, and goes wrong on demand; worker processes import it as `stub`.

Environment: STUB_PACE, seconds per step of a run; STUB_RAISE and STUB_KILL, the seed whose run fails, or whose process
dies at once.
"""

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

STEPS = 10


@dataclass(frozen=True)
class Config:
    scale: float = 1.0


class StubbornError(Exception):
    """Cannot cross from one process to another: it is not made from its message alone."""

    def __init__(self, first, second):
        super().__init__(f"{first}\n{second}")


class Stub:
    name = "stub"
    summary = "does next to nothing"
    config_type = Config
    seeds = 3
    presets = MappingProxyType({"double": {"scale": 2.0}})

    def amount(self, config):
        return STEPS

    def prepare(self, config, data_dir):
        pass

    def run(self, config, context):
        from neurosleep.sims.spikes.log import SpikeLog

        if os.environ.get("STUB_RAISE") == str(context.seed):
            raise StubbornError("a <b>bad</b>", "night")
        if os.environ.get("STUB_KILL") == str(context.seed):
            os.kill(os.getpid(), signal.SIGKILL)
        one = np.zeros(1, dtype=np.uint32)
        log = nullcontext()
        if context.spikes is not None:
            log = SpikeLog(context.spikes, {"input": 1}, dt=0.001, flush_seconds=0.0, overwrite=True)
        with log as spikes:
            if spikes is not None:
                spikes.begin_epoch("night")
            for step in range(STEPS):
                if spikes is not None:
                    spikes.append([(one + np.uint32(step), one)], step + 1)
                time.sleep(float(os.environ.get("STUB_PACE", "0")))
                context.on_progress(1)
        return {"value": config.scale * context.seed, "seconds": {"sleep": 0.0}}

    def summarize(self, config, runs):
        return [{"mean": float(np.mean([run["value"] for run in runs])), "s.d.": float("nan"), "runs": len(runs)}]

    def draw(self, config, runs, folder):
        return []


def main():
    """Run the command line with this experiment in its list."""
    from neurosleep.cli import main
    from neurosleep.papers import EXPERIMENTS

    EXPERIMENTS["stub"] = Stub()
    main()
