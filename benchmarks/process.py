"""What a fresh process needs: time until a network sleeps, and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import neurosleep

from .harness import spread


def start_and_memory(widths: list[int], rounds: int) -> list[dict[str, Any]]:
    """Measure fresh processes of several widths; see `neurosleep.benchmarks.fresh`."""
    rows = []
    for width in widths:
        runs = [_fresh(width) for _ in range(rounds + 1)][1:]  # the first may compile
        rows.append(
            {
                "width": width,
                "import_seconds": spread(run["import_seconds"] for run in runs),
                "asleep_seconds": spread(run["asleep_seconds"] for run in runs),
                **{key: max(run[key] for run in runs) for key in ("weights_bytes", "before_bytes", "peak_bytes")},
            }
        )
    return rows


def _fresh(width: int) -> dict[str, Any]:
    root = str(Path(neurosleep.__file__).parent.parent)  # the very neurosleep that is measured here
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "neurosleep.benchmarks.fresh", str(width)]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"a network {width} wide could not sleep in a process of its own:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
