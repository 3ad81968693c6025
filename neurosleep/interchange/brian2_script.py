"""The text of a Brian2 script: a group of neurons and one of synapses for each layer, and the order of a step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

from neurosleep.interchange.brian2_rules import Brian2Rule, Trace
from neurosleep.sims.network import SpikingLayer, SpikingNetwork

_HEAD = Template('''"""A night in Brian2; its weights and input spikes are in the .npz of the same name.

python $script               runs it, and tells how often each population fires
python $script result.npz    saves every spike, and the weights as they are at the end
"""

import sys
from pathlib import Path

import numpy as np
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, Synapses, defaultclock, linked_var, prefs
from brian2 import second

prefs.codegen.target = "numpy"  # "cython" is faster; its rounding may differ in the last digit
prefs.core.default_float_dtype = np.$dtype
data = np.load(Path(__file__).with_suffix(".npz"))
dt, steps = $dt * second, $steps
defaultclock.dt = dt

# A step: traces decay; then input spikes pass through all layers, each of which sums up, fires and learns in its turn.
schedule = ["start", "groups", "source", "relay", "input_fires"]

# input: fires as recorded
source = SpikeGeneratorGroup($n, data["input_neurons"], data["input_steps"] * dt, when="source")
$input
input.run_regularly("fired = 0", when="start")
input.thresholder["spike"].when = "input_fires"
relay = Synapses(source, input, on_pre="fired_post = 1")
relay.connect(j="i")
relay.pre.when = "relay"
objects = [source, input, relay]
''')

_LAYER = Template("""
# $name: sums up the spikes of $below, fires, learns
schedule += ["${name}_sums", "${name}_integrates", "${name}_fires", "${name}_resets", "${name}_learns"]
$group
$name.thresholder["spike"].when = "${name}_fires"
$name.resetter["spike"].when = "${name}_resets"
into_$name = Synapses(
    $below,
    $name,
    "w : 1",
    on_pre=$on_pre,
    on_post=$on_post,
    namespace=$parameters,
)
into_$name.connect()
into_$name.w = data["${name}_weights"].ravel()
into_$name.propagate.when = "${name}_sums"
objects += [$name, into_$name]
""")

_POOL = Template("""${name}_pool = NeuronGroup(1, "total : 1")
${name}_pooled = Synapses($name, ${name}_pool, "total_post = impulse_pre : 1 (summed)")
${name}_pooled.connect()
${name}_pooled.summed_updaters["total_post"].when = "${name}_integrates"
${name}_pooled.summed_updaters["total_post"].order = -1
$name.total = linked_var(${name}_pool, "total")
objects += [${name}_pool, ${name}_pooled]
""")

_TAIL = Template("""
schedule += ["thresholds", "synapses", "resets", "end"]
synapses = {$synapses}
populations = {$populations}
monitors = {name: SpikeMonitor(group, when="end") for name, group in populations.items()}
network = Network(objects, *monitors.values())
network.schedule = schedule

if __name__ == "__main__":
    network.run(steps * dt)
    for name, monitor in monitors.items():
        print(f"{name}: {monitor.num_spikes} spikes")
    if len(sys.argv) > 1:
        result = {f"{name}_neurons": np.asarray(monitor.i) for name, monitor in monitors.items()}
        result |= {f"{name}_steps": np.round(monitor.t / dt).astype(int) for name, monitor in monitors.items()}
        for name, into in synapses.items():
            result[f"{name}_weights"] = np.asarray(into.w).reshape(data[f"{name}_weights"].shape)
        np.savez_compressed(sys.argv[1], **result)
""")


@dataclass(frozen=True)
class Part:
    """A layer: its population, the one below, and the rule by which its weights change, or None."""

    below: str
    name: str
    layer: SpikingLayer
    rule: Brian2Rule | None

    def traces(self, end: str) -> dict[str, Trace]:
        """Return the traces of the neurons at one end of its synapses, "pre" or "post"."""
        return (
            {} if self.rule is None else {name: trace for name, trace in self.rule.traces.items() if trace.end == end}
        )


def written(parts: Sequence[Part], network: SpikingNetwork, steps: int, script: str) -> str:
    """Return the text of a script whose file is called `script`."""
    exact = network.dtype == "float64"
    own: dict[str, dict[str, Trace]] = {name: {} for name in network.populations}
    for part in parts:  # a population has the traces of the layer that it is the end of, and of that above it
        own[part.below] |= part.traces("pre")
        own[part.name] |= part.traces("post")
    names = {name: name for name in network.populations}
    head = _HEAD.substitute(
        script=script,
        dtype=network.dtype.name,
        dt=repr(network.dt),
        steps=steps,
        n=network.sizes[0],
        input=_group("input", network.sizes[0], ["fired : 1"], own["input"], {}, "fired > 0", "", exact),
    )
    tail = _TAIL.substitute(
        synapses=_dict({part.name: f"into_{part.name}" for part in parts}), populations=_dict(names)
    )
    return head + "".join(_layer(part, own[part.name], exact) for part in parts) + tail


def _layer(part: Part, traces: Mapping[str, Trace], exact: bool) -> str:
    layer, rule, name = part.layer, part.rule, part.name
    biased, pooled = layer.bias is not None, layer.inhibition > 0
    variables = ["v : 1", "impulse : 1", "fired : 1", *["bias : 1"] * biased, *["total : 1 (linked)"] * pooled]
    numbers = {"gain": layer.gain, "decay": layer.decay, "threshold": layer.threshold}
    numbers |= {"inhibition": layer.inhibition} if pooled else {}
    on_pre = {"propagate": "impulse += w"} | ({"depart": rule.on_pre} if rule and rule.on_pre else {})
    text = _LAYER.substitute(
        name=name,
        below=part.below,
        group=_group(name, layer.n_post, variables, traces, numbers, "v >= threshold", "v = 0; fired = 1", exact),
        on_pre=on_pre,
        on_post={"arrive": rule.on_post} if rule else None,
        parameters=rule.parameters if rule else {},
    )
    if biased:
        text += f'{name}.bias = data["{name}_bias"]\n'
    if pooled:
        text += _regularly(name, f"{name}_integrates", -2, "impulse *= gain") + _POOL.substitute(name=name)
    integration = ["impulse -= inhibition * (total / N)", "v = decay * v + impulse"]
    text += _regularly(
        name,
        f"{name}_integrates",
        0,
        *(integration if pooled else ["v = decay * v + gain * impulse"]),
        *["v += bias"] * biased,
        "impulse = 0",
        "fired = 0",
    )
    return text + "".join(_learning(part))


def _learning(part: Part) -> Iterator[str]:
    """Yield the order of learning: weights from neurons that fired, their traces, weights into such, their traces."""
    if part.rule is None:
        return
    for number, (end, path) in enumerate((("pre", "depart"), ("post", "arrive"))):
        if path == "arrive" or part.rule.on_pre:
            what = f"into_{part.name}.{path}"
            yield f'{what}.when, {what}.order = "{part.name}_learns", {2 * number}\n'
        rises = [
            f"{name} = {'fired + (1 - fired) * ' if trace.nearest else 'fired + '}{name}"
            for name, trace in part.traces(end).items()
        ]
        if rises:
            group = part.below if end == "pre" else part.name
            yield _regularly(group, f"{part.name}_learns", 2 * number + 1, *rises)


def _group(
    name: str,
    n: int,
    variables: Sequence[str],
    traces: Mapping[str, Trace],
    numbers: Mapping[str, float],
    threshold: str,
    reset: str,
    exact: bool,
) -> str:
    equations = "\n    ".join([*variables, *(f"d{trace}/dt = -{trace} / tau_{trace} : 1" for trace in traces)])
    values = {key: repr(value) for key, value in numbers.items()}
    values |= {f"tau_{key}": f"{trace.tau!r} * second" for key, trace in traces.items()}
    doubles = dict.fromkeys(traces, "np.float64")
    lines = [
        f"{name} = NeuronGroup(",
        f"    {n},",
        f'    """{equations}""",',
        f'    threshold="{threshold}",',
        f'    reset="{reset}",',
        f"    namespace={{{_dict(values)}}},",
        *[f"    dtype={{{_dict(doubles)}}},"] * (not exact and bool(traces)),
        *['    method="exact",'] * bool(traces),
        ")",
    ]
    return "\n".join(lines)


def _regularly(group: str, when: str, order: int, *code: str) -> str:
    lines = "\n    ".join(code)
    return f'{group}.run_regularly(\n    """{lines}""",\n    when="{when}",\n    order={order},\n)\n'


def _dict(items: Mapping[str, str]) -> str:
    return ", ".join(f'"{key}": {value}' for key, value in items.items())
