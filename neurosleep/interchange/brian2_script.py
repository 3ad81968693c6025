"""The text of a Brian2 script: a group of neurons and one of synapses for each layer, and the order of a step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template

from neurosleep.interchange.brian2_neurons import Population, group, listed, regularly
from neurosleep.interchange.brian2_rules import Brian2Rule, Trace
from neurosleep.sims.network import SpikingNetwork

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

_PROJECTION = Template("""
# the projection from $source to $target
projection$number = Synapses($source, $target, "w : 1", on_pre="sum${number}_post += w", delay=$delay * dt)
projection$number.connect()
projection$number.w = data["projection${number}_weights"].ravel()
projection$number.pre.when = "${target}_sums"
objects += [projection$number]
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
    population: Population
    rule: Brian2Rule | None

    def traces(self, end: str) -> dict[str, Trace]:
        """Return the traces of the neurons at one end of its synapses, "pre" or "post"."""
        return (
            {} if self.rule is None else {name: trace for name, trace in self.rule.traces.items() if trace.end == end}
        )


def written(parts: Sequence[Part], network: SpikingNetwork, steps: int, script: str) -> str:
    """Return the text of a script whose file is called `script`."""
    exact, names = network.dtype == "float64", list(network.populations)
    own: dict[str, dict[str, Trace]] = {name: {} for name in names}
    for part in parts:  # a population has the traces of the layer that it is the end of, and of that above it
        own[part.below] |= part.traces("pre")
        own[part.population.name] |= part.traces("post")
    n = network.sizes[0]
    head = _HEAD.substitute(
        script=script,
        dtype=network.dtype.name,
        dt=repr(network.dt),
        steps=steps,
        n=n,
        input=group("input", n, ["fired : 1"], {}, "fired > 0", "", own["input"], exact),
    )
    layers = [_layer(part, own[part.population.name], exact) for part in parts]
    for number, projection in enumerate(network.projections):
        later = names.index(projection.source) >= names.index(projection.target)  # its spikes are those of last step
        layers.append(
            _PROJECTION.substitute(
                number=number, source=projection.source, target=projection.target, delay=projection.delay - later
            )
        )
    tail = _TAIL.substitute(
        synapses=listed({name: f"into_{name}" for name in names[1:]}),
        populations=listed({name: name for name in names}),
    )
    return head + "".join(layers) + tail


def _layer(part: Part, traces: Mapping[str, Trace], exact: bool) -> str:
    rule, its = part.rule, part.population
    paths = {"propagate": "impulse += w"} | ({"depart": rule.on_pre} if rule and rule.on_pre else {})
    text = _LAYER.substitute(
        name=its.name,
        below=part.below,
        group=group(its.name, its.layer.n_post, its.variables, its.numbers, its.threshold, its.reset, traces, exact),
        on_pre=_code(paths),
        on_post=_code({"arrive": rule.on_post}) if rule else "{}",
        parameters="{" + listed({key: repr(value) for key, value in rule.parameters.items()} if rule else {}) + "}",
    )
    return text + "".join([*its.code(), *_learning(part)])


def _code(paths: Mapping[str, str]) -> str:
    """Return code by the names of its paths, as it is written in the script."""
    indented = {name: '"""' + code.replace("\n", "\n        ") + '"""' for name, code in paths.items()}
    return "{" + listed(indented) + "}"


def _learning(part: Part) -> Iterator[str]:
    """Yield the order of learning: weights from neurons that fired, their traces, weights into such, their traces."""
    if part.rule is None:
        return
    name = part.population.name
    for number, (end, path) in enumerate((("pre", "depart"), ("post", "arrive"))):
        if path == "arrive" or part.rule.on_pre:
            what = f"into_{name}.{path}"
            yield f'{what}.when, {what}.order = "{name}_learns", {2 * number}\n'
        rises = [
            f"{trace} = {'fired + (1 - fired) * ' if its.nearest else 'fired + '}{trace}"
            for trace, its in part.traces(end).items()
        ]
        if rises:
            yield regularly(part.below if end == "pre" else name, f"{name}_learns", 2 * number + 1, *rises)
