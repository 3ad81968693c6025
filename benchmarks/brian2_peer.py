"""The same night in Brian2's C++ standalone mode, with a schedule of its own: spikes pass all layers within a step.

Brian2 compiles one program per workload, which is not timed; each round is a run of that program, with the time that
Brian2 itself reports for the loop over steps.
"""

import shutil
import subprocess
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from ..sims.errors import InputError
from ..sims.rules.hebbian import GatedHebbian
from .peers import Outcome
from .workloads import Workload

INSTALL = "Brian2 is left out; for it, install a C++ compiler and: pip install 'neurosleep[bench]'"
WIDEST = 4800
"""Brian2 keeps some 20 bytes a synapse: a network 12000 neurons wide would need 3 GB and more."""


class Equations(NamedTuple):
    """A rule as Brian2 is told it; statements by the name of the slot of a step that they run in.

    `on_spike` is what a spike does to its own neuron, after weights into it have changed and before those from it do.
    """

    on_pre: dict[str, str]
    on_post: dict[str, str]
    on_spike: str = ""
    variables: str = ""
    each_step: str = ""


LEARN = "w += (fired_pre * (inc + dec) - dec) * 2 * (1 - 1 / (1 + exp(-w / gate_width)))"
GATED = Equations(on_pre={}, on_post={"learn": LEARN})
"""One pathway for up and down: each neuron keeps a flag of having fired in this step."""
STDP = Equations(
    on_pre={"depress": "w -= a_minus * y_post"},
    on_post={"potentiate": "w += a_plus * x_pre"},
    on_spike="\nx += 1\ny += 1",
    variables="\nx : 1\ny : 1",
    each_step="\nx *= left_tau_plus\ny *= left_tau_minus",
)
"""Pair STDP of all spikes, with traces of neurons."""
BEFORE, AFTER = ["start", "groups", "input"], ["thresholds", "synapses", "resets", "end"]


def available() -> bool:
    """Whether Brian2 and a C++ compiler are there."""
    return find_spec("brian2") is not None and shutil.which("g++") is not None


class Brian2Peer:
    """One workload as a compiled Brian2 program; a context manager, since the program lies in a temporary folder."""

    def __init__(self, workload: Workload) -> None:
        b2: Any = import_module("brian2")
        self._workload = workload
        self._device = b2.device
        self._folder = tempfile.TemporaryDirectory(prefix="neurosleep-brian2-")
        b2.BrianLogger.log_level_error()
        b2.prefs.core.default_float_dtype = np.float32
        b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O3", "-march=native", "-ffast-math", "-std=c++17"]
        b2.set_device("cpp_standalone", directory=self._folder.name, build_on_run=False)
        b2.device.reinit()
        b2.device.activate(directory=self._folder.name, build_on_run=False)
        self._monitors, self._synapses = _describe(b2, workload)
        self._program = Path(self._folder.name) / "main"
        self._device.build(directory=self._folder.name, compile=True, run=False, with_output=False)

    def again(self) -> float:
        """Run the program once more, whatever else Brian2 has been told since; returns the seconds of its steps."""
        subprocess.run([self._program], cwd=self._folder.name, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
        return float((Path(self._folder.name) / "results" / "last_run_info.txt").read_text().split()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import_module("brian2").device.reinit()
        import_module("brian2").set_device("runtime")
        self._folder.cleanup()

    def __call__(self, workload: Workload, steps: int) -> Outcome:
        """Run the program; `steps` must be the whole window."""
        if steps != workload.steps:
            raise InputError(f"this program was compiled for {workload.steps} steps, not {steps}")
        self._device.run(self._folder.name, with_output=False, run_args=[])
        counts = [np.array(monitor.count, dtype=np.int64) for monitor in self._monitors]
        shapes = [layer.weights.shape for layer in workload.network.layers]
        weights = [np.array(s.w, dtype=np.float32).reshape(n) for s, n in zip(self._synapses, shapes, strict=True)]
        return Outcome(counts, weights, float(self._device._last_run_time))


def _describe(b2: Any, workload: Workload) -> tuple[list[Any], list[Any]]:
    """Tell Brian2 the network; returns the spike monitor of each population and the synapses of each layer."""
    layers, dt = workload.network.layers, workload.network.dt * b2.second
    rule = GATED if isinstance(workload.rule, GatedHebbian) else STDP
    numbers = {**vars(workload.rule), **_left(vars(workload.rule), workload.network.dt)}
    b2.defaultclock.dt = dt
    schedule = [*BEFORE, "threshold0", "reset0"]
    raster = b2.TimedArray(workload.raster.astype(np.float32), dt=dt)
    below = b2.NeuronGroup(
        workload.network.sizes[0],
        f"fired : 1{rule.variables}",
        threshold="fired > 0.5",
        reset=f"fired = 1{rule.on_spike}",
        namespace={"raster": raster, **numbers},
    )
    below.run_regularly(f"fired = raster(t, i){rule.each_step}", when="input")
    below.thresholder["spike"].when = "threshold0"
    below.resetter["spike"].when = "reset0"
    groups, synapses = [below], []
    for k, layer in enumerate(layers):
        learning = [f"{name}{k}" for name in (*rule.on_pre, *rule.on_post)]
        schedule += [f"propagate{k}", f"threshold{k + 1}", *learning, f"reset{k + 1}"]
        group = b2.NeuronGroup(
            layer.n_post,
            f"v : 1\nfired : 1{rule.variables}",
            threshold="v >= theta",
            reset=f"v = 0\nfired = 1{rule.on_spike}",
            namespace={"theta": layer.threshold, "decay": layer.decay, **numbers},
        )
        group.run_regularly(f"v *= decay\nfired = 0{rule.each_step}", when="input")
        group.thresholder["spike"].when = f"threshold{k + 1}"
        group.resetter["spike"].when = f"reset{k + 1}"
        group.v = workload.membranes[k]
        synapse = b2.Synapses(
            groups[-1],
            group,
            "w : 1",
            on_pre={"propagate": "v_post += gain * w", **rule.on_pre},
            on_post=rule.on_post,
            namespace={"gain": layer.gain, **numbers},
        )
        synapse.connect()
        for name in ("propagate", *rule.on_pre, *rule.on_post):
            getattr(synapse, name).when = f"{name}{k}"
        synapse.w = layer.weights.ravel()
        groups.append(group)
        synapses.append(synapse)
    monitors = [b2.SpikeMonitor(group, record=False, when="end") for group in groups]
    network = b2.Network(groups, synapses, monitors)
    network.schedule = [*schedule, *AFTER]
    network.run(workload.steps * dt)
    return monitors, synapses


def _left(numbers: dict[str, float], dt: float) -> dict[str, float]:
    """Return how much is left of each trace after a step, by the name of its time constant."""
    return {f"left_{name}": float(np.exp(-dt / value)) for name, value in numbers.items() if name.startswith("tau")}
