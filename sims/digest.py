"""`digest`: a night's identity, by which its checkpoint and its log are known."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .drives.fingerprint import fingerprint, told
from .drives.populations import sources
from .drives.spans import Spans
from .ensemble import check_streams
from .homeostasis.rule import several
from .member import Member
from .network import SpikingNetwork
from .plastic_graph import PlasticGraph
from .random import check_seed
from .rules.front import plasticity_digest


def digest(member: Member, steps: int) -> str:
    """Return a digest of everything a night depends on: network, input, rules, seed, length and streams."""
    network = member.network
    mean = None if member.mean_input is None else np.asarray(member.mean_input, dtype=float)
    rules = _named(member.plasticity), _named(member.downscaling)
    parts: list[Any] = [steps, member.seed, *rules, member.downscale_every, network.dt]
    parts += [] if member.streams == 1 else [member.streams]  # nights of one stream keep the digest they always had
    arrays: list[NDArray[Any]] = []
    driven: dict[int, tuple[list[Any], list[NDArray[Any]]]] = {}  # segments share drives, which take time to tell
    for drive in (member.drive, *(segment.drive for segment in member.segments)):
        if id(drive) not in driven:
            driven[id(drive)] = _told(drive, member, mean, steps)
        parts += driven[id(drive)][0]
        arrays += driven[id(drive)][1]
    if homeostasis := several(member.homeostasis):
        parts += ["homeostasis", int(member.homeostasis_every), *(list(told(rule)) for rule in homeostasis)]
    for segment in member.segments:
        parts += [segment.name, segment.stop, segment.gain, segment.threshold, _named(segment.plasticity)]
        parts += [plasticity_digest(segment.plasticity)]
    if isinstance(network, PlasticGraph):
        parts += list(told((network.input_shape, network.parameters, network.layers)))
    for layer in network.layers if isinstance(network, SpikingNetwork) else ():
        parts += [layer.gain, layer.threshold, layer.decay, layer.inhibition, layer.bias is None, layer.weights.shape]
        if layer.kernels is not None:
            operator = layer.kernels.operator(layer.weights)
            parts += [layer.input_shape, layer.kernels.pool, operator.groups, layer.sharing]
            parts += [operator.stride, operator.padding, operator.dilation]
        parts += [] if layer.plastic else ["frozen"]
        arrays += [layer.weights] if layer.bias is None else [layer.weights, layer.bias]
    if member.state is not None:
        parts += [member.state.step, member.state.membrane_steps]
        arrays += [array for each in (member.state.membranes, *member.state.kept.values()) for array in each]
        if member.state.homeostat is not None:
            parts.append(member.state.homeostat.step)
            arrays += [*member.state.homeostat.counts, *member.state.homeostat.begun]
    if not network.plain:  # nights of plain networks keep the digest they always had
        parts += [network.layer_neurons]
        for projection in network.projections:
            parts += [projection.source, projection.target, projection.delay, projection.gain, projection.plastic]
            parts += [projection.weights.shape]
            arrays += [projection.weights]
    code = plasticity_digest(member.plasticity)
    parts += [] if code is None else [code]
    if member.modulator is not None:
        parts += [_named(member.modulator)]
        held = getattr(member.modulator, "__dict__", {})
        arrays += [value for _, value in sorted(held.items()) if isinstance(value, np.ndarray)]
    state = hashlib.sha256(repr(parts).encode())
    for array in arrays:
        state.update(str(array.dtype).encode())
        state.update(array.tobytes())
    return state.hexdigest()


def _told(
    drive: Any, member: Member, mean: NDArray[np.float64] | None, steps: int
) -> tuple[list[Any], list[NDArray[Any]]]:
    """Return what a night depends on of a drive, arrays apart."""
    source, kicks = sources(drive, member.network, mean, check_seed(member.seed), check_streams(member.streams))
    arrays: list[NDArray[Any]] = []
    if isinstance(source, Spans):
        parts: list[Any] = [fingerprint(source, steps)]
    else:
        arrays = [source.thresholds, source.offsets, source.ids]
        parts = [source.window, source.height, source.width, source.recorded]
    return parts + [(number, kick.amount, fingerprint(kick.spans, steps)) for number, kick in kicks.items()], arrays


def _named(rule: object) -> object:
    """Return a rule of which Python tells no more than where it lies in memory as its type and values."""
    if type(rule).__repr__ is not object.__repr__:
        return rule
    return type(rule).__qualname__, sorted(vars(rule).items()) if hasattr(rule, "__dict__") else []
