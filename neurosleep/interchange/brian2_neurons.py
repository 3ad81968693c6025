"""What neurons do, as Brian2 writes it: their variables, and what is done to these in a step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from neurosleep.interchange.brian2_rules import Trace
from neurosleep.sims.network import SpikingLayer
from neurosleep.sims.neurons import ADAPTED, Neurons


@dataclass(frozen=True)
class Population:
    """Neurons of a layer, and what comes in beside the spikes from below.

    Attributes
    ----------
    name, layer, neurons
        Which.
    dt
        Seconds a step.
    kick
        What an event of its own drive adds to a membrane, or 0.
    projections
        By number, the gain of each projection to it.
    """

    name: str
    layer: SpikingLayer
    neurons: Neurons
    dt: float
    kick: float
    projections: Mapping[int, float]

    @property
    def variables(self) -> list[str]:
        """The variables of a neuron, as equations."""
        there = {
            "v : 1": True,
            "impulse : 1": True,
            "fired : 1": True,
            "bias : 1": self.layer.bias is not None,
            "total : 1 (linked)": self.layer.inhibition > 0,
            "fired_total : 1 (linked)": self.neurons.lateral > 0,
            "kicks : 1": self.kick != 0,
            "theta : 1": self.neurons.adaptation is not None,
            "adaptation : 1": self.neurons.adaptation is not None,
            "waiting : 1": self.neurons.refractory > 0,
        }
        return [*(text for text, has in there.items() if has), *(f"sum{k} : 1" for k in self.projections)]

    @property
    def numbers(self) -> dict[str, float]:
        """What names in its code stand for."""
        layer, neurons = self.layer, self.neurons
        numbers = {"gain": layer.gain, "decay": layer.decay, "threshold": layer.threshold}
        numbers |= {"inhibition": layer.inhibition} if layer.inhibition else {}
        numbers |= {"lateral": neurons.lateral * layer.threshold} if neurons.lateral else {}
        numbers |= {"refractory": neurons.refractory} if neurons.refractory else {}
        if neurons.adaptation:
            numbers |= {"left": neurons.adaptation.left(self.dt), "jump": neurons.adaptation.jump, "least": ADAPTED}
        return numbers | {f"gain{k}": gain for k, gain in self.projections.items()}

    @property
    def threshold(self) -> str:
        """When a neuron fires."""
        theta = "theta" if self.neurons.adaptation else "threshold"
        return f"v >= {theta}" + (" and waiting <= 0" if self.neurons.refractory else "")

    @property
    def reset(self) -> str:
        """What becomes of a neuron that fired."""
        theta = "theta" if self.neurons.adaptation else "threshold"
        code = ["v = 0" if self.neurons.reset == "zero" else f"v -= {theta}", "fired = 1"]
        code += ["adaptation += jump"] if self.neurons.adaptation else []
        code += ["waiting = refractory + 1"] if self.neurons.refractory else []
        return "; ".join(code)

    def code(self) -> Iterator[str]:
        """Yield what is done in a step beside the sums of spikes, and to neurons that fired."""
        name, integrates = self.name, f"{self.name}_integrates"
        sums = ["impulse *= gain", *(f"impulse += gain{k} * sum{k}" for k in self.projections)]
        if self.layer.bias is not None:
            yield f'{name}.bias = data["{name}_bias"]\n'
        if self.layer.inhibition:
            yield regularly(name, integrates, -2, *sums) + _pool(name, "total", "impulse")
            sums = ["impulse -= inhibition * (total / N)"]
        if self.neurons.lateral:
            yield _pool(name, "fired_total", "fired")
            sums += ["impulse -= lateral * (fired_total / N)"]
        if self.kick:
            yield _kicks(name, self.layer.n_post, self.kick)
        added = [*["bias"] * (self.layer.bias is not None), *["kicks"] * (self.kick != 0)]
        charged = " + ".join(["decay * v + impulse", *added])
        if self.neurons.refractory:
            charged = f"int(waiting > 0) * v + int(waiting <= 0) * ({charged})"
        adapting = [
            "adaptation *= left",
            "adaptation *= int(adaptation >= least)",
            "theta = threshold + threshold * adaptation",
        ]
        zero = ["impulse", "fired", *["kicks"] * (self.kick != 0), *(f"sum{k}" for k in self.projections)]
        code = [*sums, f"v = {charged}", *(adapting if self.neurons.adaptation else []), *(f"{x} = 0" for x in zero)]
        yield regularly(name, integrates, 0, *code)
        if self.neurons.refractory:
            yield regularly(name, f"{name}_resets", 1, "waiting -= int(waiting > 0)")


def group(
    name: str,
    n: int,
    variables: Sequence[str],
    numbers: Mapping[str, float],
    threshold: str,
    reset: str,
    traces: Mapping[str, Trace],
    exact: bool,
) -> str:
    """Return the text of a group of neurons; `exact` says that all numbers are in double precision anyway."""
    equations = "\n    ".join([*variables, *(f"d{trace}/dt = -{trace} / tau_{trace} : 1" for trace in traces)])
    values = {key: repr(value) for key, value in numbers.items()}
    values |= {f"tau_{key}": f"{trace.tau!r} * second" for key, trace in traces.items()}
    doubles = [*traces, *["adaptation"] * ("adaptation : 1" in variables)]
    lines = [
        f"{name} = NeuronGroup(",
        f"    {n},",
        f'    """{equations}""",',
        f'    threshold="{threshold}",',
        f'    reset="{reset}",',
        f"    namespace={{{listed(values)}}},",
        *[f"    dtype={{{listed(dict.fromkeys(doubles, 'np.float64'))}}},"] * (not exact and bool(doubles)),
        *['    method="exact",'] * bool(traces),
        ")",
    ]
    return "\n".join(lines)


def regularly(name: str, when: str, order: int, *code: str) -> str:
    """Return the text by which something is done to a group in every step."""
    lines = "\n    ".join(code)
    return f'{name}.run_regularly(\n    """{lines}""",\n    when="{when}",\n    order={order},\n)\n'


def listed(items: Mapping[str, str]) -> str:
    """Return what stands between the brackets of a dict."""
    return ", ".join(f'"{key}": {value}' for key, value in items.items())


def _pool(name: str, total: str, variable: str) -> str:
    """Return the text of the sum of a variable over a group, as it is before the group integrates."""
    pool = f"{name}_{total}"
    return (
        f'{pool} = NeuronGroup(1, "total : 1")\n'
        f'{pool}_sum = Synapses({name}, {pool}, "total_post = {variable}_pre : 1 (summed)")\n'
        f"{pool}_sum.connect()\n"
        f'{pool}_sum.summed_updaters["total_post"].when = "{name}_integrates"\n'
        f'{pool}_sum.summed_updaters["total_post"].order = -1\n'
        f'{name}.{total} = linked_var({pool}, "total")\n'
        f"objects += [{pool}, {pool}_sum]\n"
    )


def _kicks(name: str, n: int, amount: float) -> str:
    """Return the text of events that are recorded, and add to membranes."""
    times = f'data["{name}_kicked_neurons"], data["{name}_kicked_steps"] * dt'
    return (
        f'{name}_kicks = SpikeGeneratorGroup({n}, {times}, when="{name}_sums", order=-1)\n'
        f'{name}_kicked = Synapses({name}_kicks, {name}, on_pre="kicks_post += {amount!r}")\n'
        f'{name}_kicked.connect(j="i")\n'
        f'{name}_kicked.pre.when = "{name}_sums"\n'
        f"objects += [{name}_kicks, {name}_kicked]\n"
    )
