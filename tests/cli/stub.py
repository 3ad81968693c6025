"""A study that does next to nothing, and goes wrong on demand; worker processes import it as `stub`.

Environment: STUB_PACE, seconds per step of a run; STUB_RAISE and STUB_KILL, the seed whose run fails, or whose process
dies at once.
"""

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from neurosleep.experiments import description, settings, study
from neurosleep.experiments.studies.base import Study, mean_and_sd
from neurosleep.sims.spikes.log import SpikeLog

STEPS = 10


class StubbornError(Exception):
    """Cannot cross from one process to another: it is not made from its message alone."""

    def __init__(self, first, second):
        super().__init__(f"{first}\n{second}")


@dataclass(frozen=True)
class Stub(Study):
    scale: float = 1.0

    captions: ClassVar = MappingProxyType({})

    def amount(self):
        return STEPS

    def check(self, data_dir=None):
        pass

    def run(self, seed, *, device="cpu", data_dir=None, log=None, on_progress=lambda amount: None):
        if os.environ.get("STUB_RAISE") == str(seed):
            raise StubbornError("a <b>bad</b>", "night")
        if os.environ.get("STUB_KILL") == str(seed):
            os.kill(os.getpid(), signal.SIGKILL)
        one = np.zeros(1, dtype=np.uint32)
        opened = nullcontext() if log is None else SpikeLog(log, {"input": 1}, dt=0.001, flush_seconds=0.0)
        with opened as spikes:
            if spikes is not None:
                spikes.begin_epoch("night")
            for step in range(STEPS):
                if spikes is not None:
                    spikes.append([(one + np.uint32(step), one)], step + 1)
                time.sleep(float(os.environ.get("STUB_PACE", "0")))
                on_progress(1)
        return {"value": self.scale * seed, "seconds": {"sleep": 0.0}}

    def rows(self, records):
        mean, sd = mean_and_sd([record["value"] for record in records])
        return [{"mean": mean, "s.d.": sd, "seeds": len(records)}]

    def draw(self, records, folder, log=None):
        return []


def register(put=setattr):
    """Let descriptions have this study, too."""
    for module in (description, settings, study):
        put(module, "STUDIES", (*module.STUDIES, Stub))
    put(description, "_EVERY", description._EVERY | {Stub})
    put(study.StudyExperiment, "TABLES", {"study": study.STUDIES})


def main():
    """Run the command line with this study."""
    from neurosleep.cli import main

    register()
    main()
