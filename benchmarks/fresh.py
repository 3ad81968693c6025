"""One network falls asleep in a process of its own: ``python -m neurosleep.benchmarks.fresh WIDTH`` tells what it took.

Prints JSON: ``import_seconds``; ``asleep_seconds``, imports and 100 steps; ``weights_bytes``; ``before_bytes`` and
``peak_bytes``, the most memory used until the simulation begins and in all.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

begin = time.perf_counter()

import numpy as np  # noqa: E402  (imports are what is timed)

from ..sims.drives.rates import UniformNoise  # noqa: E402
from ..sims.ensemble import simulate  # noqa: E402
from ..sims.network import SpikingLayer, SpikingNetwork  # noqa: E402
from ..sims.rules.hebbian import GatedHebbian  # noqa: E402

imported = time.perf_counter()


def main(width: int) -> None:
    """Make a network, let it sleep, and print times and memory."""
    rng = np.random.default_rng(0)
    layers = [SpikingLayer(rng.random(pair, np.float32)) for pair in pairwise((784, width, width, 10))]
    for layer in layers:  # in place, so that only one copy of the weights is ever there
        np.subtract(layer.weights, np.float32(0.5), out=layer.weights)
        np.multiply(layer.weights, np.float32(0.02), out=layer.weights)
    network = SpikingNetwork(tuple(layers))
    before, made = _most_memory(), time.perf_counter()
    simulate(network, UniformNoise(16.0), GatedHebbian(0.03, 0.003), 100)
    asleep = time.perf_counter() - made
    result = {
        "import_seconds": imported - begin,
        "asleep_seconds": imported - begin + asleep,
        "weights_bytes": sum(layer.weights.nbytes for layer in layers),
        "before_bytes": before,
        "peak_bytes": _most_memory(),
    }
    print(json.dumps(result))


def _most_memory() -> int:
    """Return the most memory this process ever held, in bytes."""
    try:  # of this program alone; what `getrusage` says includes the process that started it
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(int(sys.argv[1]))
