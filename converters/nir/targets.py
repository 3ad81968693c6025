"""What importers of NIR make of a graph, as data: one profile for each simulator that networks are exported to.

NIR (Pedersen et al. 2024, Nature Communications 15:8122) defines neurons by differential equations; each importer
makes time steps of them in its own way. Every entry was read off the importer's source and, but for "generic", off
running it. (tests/converters/test_nir_parity.py runs all but rockpool, which starts pip when it is imported.)
"""

from dataclasses import dataclass
from typing import Literal, get_args

from ...sims.awake.graph import Reset, Tie
from ..errors import ConversionError

Target = Literal["generic", "snntorch", "norse", "sinabs", "spikingjelly", "rockpool"]
SYNAPSE_BITS = 20  # rockpool: what a synapse keeps from one step to the next is 2**-20 of its current


@dataclass(frozen=True)
class Profile:
    """What one importer does.

    Attributes
    ----------
    checked
        Versions with which this was read and run.
    reset, tie
        What its neurons do where they spike, and at their threshold. Where the reset is to 0, a tie is moved to the
        other side by a threshold that is one float32 lower or higher, so that it is not a change.
    several_spikes
        Whether a neuron whose potential is k thresholds sends k spikes in one step.
    if_floor
        Whether potentials of nir.IF, unlike those of nir.LIF, have a floor at minus the threshold.
    old_nir
        Whether the importer requires a nir that does not know ``v_reset`` and refuses files that have it.
    subtracts
        How to import so that nir.CubaLIF subtracts its threshold, where that is not what the importer does by default.
    dt
        Step in seconds that the importer assumes; None if it is told, or counts in steps.
    leak
        How it turns a time constant into what is left after a step: "euler", 1 - dt / tau, or "exact", exp(-dt / tau).
    uniform_threshold
        Whether all neurons of a population must have one threshold.
    pooling
        Average pooling is written as such, as sums with smaller weights behind them, or as a convolution.
    conv1d, conv2d
        Whether convolutions over one and two axes are imported. Groups of channels are written as one with zeros
        between: most importers, and nir's own check of shapes, count channels wrongly.
    integrator
        Whether an output that adds up its input is imported. Otherwise the output is the input of each step, to be
        added up by whoever runs the network.
    depth_first
        Whether nodes are run in the order of a depth-first walk (``nirtorch.load``), which is wrong for some shortcuts.
    importer
        How to import, with `dt` and such filled in.
    notes
        What a user should know besides.
    """

    checked: str
    reset: Reset
    tie: Tie
    importer: str
    several_spikes: bool = False
    if_floor: bool = False
    old_nir: bool = False
    subtracts: str = ""
    dt: float | None = None
    leak: Literal["euler", "exact"] = "euler"
    uniform_threshold: bool = False
    pooling: Literal["average", "sum", "convolution"] = "average"
    conv1d: bool = True
    conv2d: bool = True
    integrator: bool = False
    depth_first: bool = False
    notes: tuple[str, ...] = ()


PROFILES: dict[Target, Profile] = {
    "generic": Profile(
        checked="the definitions of nir 1.0.4 and 1.0.8",
        reset="zero",
        tie="above",
        importer="nir.read(path)",
        integrator=True,
        notes=(
            "neurons follow NIR's equations with Euler steps of {dt:g} s; an importer that makes steps in another way "
            "needs a target of its own",
        ),
    ),
    "snntorch": Profile(
        checked="snntorch 1.0.0 with nirtorch 2.0.2 and 2.6",
        reset="zero",
        tie="above",
        importer="snntorch.import_nir.import_from_nir(graph)",
        dt=1e-4,
        uniform_threshold=True,
        notes=(
            "neurons that do not leak are written as nir.LIF with a huge time constant: nir.IF is imported as a leaky "
            "neuron (beta 0.9)",
            "shortcuts run with nirtorch 2.6; nirtorch 2.0.2 passes several inputs as several arguments, which fails",
        ),
    ),
    "norse": Profile(
        checked="norse 1.1.0 with nir 1.0.4, nirtorch 2.0.2 and with nir 1.0.8, nirtorch 2.6",
        reset="zero",
        tie="above",
        importer="norse.torch.from_nir(graph, dt={dt:g})",
        subtracts="norse.torch.from_nir(graph, dt={dt:g}, reset_method=norse.torch.reset_subtract)",
        pooling="convolution",
        conv1d=False,
        depth_first=True,
        notes=("leaky neurons are written with r = 1 and thresholds times 1 - decay: input is scaled by dt / tau",),
    ),
    "sinabs": Profile(
        checked="sinabs 3.1.3 with nir 1.0.4 and nirtorch 2.0.2",
        reset="subtract",
        tie="at",
        importer="sinabs.nir.from_nir(graph, batch_size=n); all steps at once, as (n * steps, *shape)",
        several_spikes=True,
        if_floor=True,
        old_nir=True,
        leak="exact",
        pooling="sum",
        conv1d=False,
        integrator=True,
        depth_first=True,
        notes=(
            "neurons that do not leak are written as nir.IF if they have a floor at minus the threshold, which its "
            "importer gives them, or else as nir.LIF with a huge time constant",
            "time constants are in steps, as the importer takes them",
            "populations with axes of space have parameters of shape (1,); nir 1.0.8 reads such files with "
            "type_check=False alone, and sinabs requires nir <= 1.0.4",
        ),
    ),
    "spikingjelly": Profile(
        checked="spikingjelly 2.0.0 with nir 1.0.8 and nirtorch 2.6",
        reset="zero",
        tie="at",
        importer="spikingjelly.activation_based.nir_exchange.import_from_nir(graph, dt={dt:g})",
        uniform_threshold=True,
        notes=("the importer needs nir >= 1.0.7 and nirtorch 2.6; the file may be written with any nir",),
    ),
    "rockpool": Profile(
        checked="rockpool 3.1.0 with nir 1.0.4 and nirtorch 2.0.2",
        reset="subtract",
        tie="at",
        old_nir=True,
        importer="rockpool.nn.modules.torch.nir.from_nir(graph); all steps at once, as (n, steps, size)",
        several_spikes=True,
        leak="exact",
        pooling="convolution",
        conv1d=False,
        conv2d=False,
        depth_first=True,
        notes=(
            "of all neurons only nir.CubaLIF is imported (nir.LIF fails on an attribute that NIR does not have)",
            "importing rockpool tries to install samna by pip",
        ),
    ),
}


def profile_of(target: str) -> Profile:
    """Return the profile of a target, or raise `ConversionError` naming those there are."""
    for name, profile in PROFILES.items():
        if name == target:
            return profile
    raise ConversionError(f"no NIR target {target!r}; there are: {', '.join(get_args(Target))}")


@dataclass(frozen=True)
class Change:
    """One thing that a target does otherwise.

    Attributes
    ----------
    where
        Name of the population.
    what
        "reset", "tie", "spikes per step", "floor", "initial", "leak", "current" or "file".
    ours, theirs
        What our simulation does, and what the target will do.
    """

    where: str
    what: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}: {self.ours} here, {self.theirs} there"


@dataclass(frozen=True)
class ExportReport:
    """What a target will change of a network, and how to import it.

    Attributes
    ----------
    target, checked
        Name, and with which versions its profile was checked.
    changes
        Differences of meaning; none means that spikes are the same, step by step.
    notes
        How to import and run, and what was rewritten without a change of meaning.
    """

    target: Target
    checked: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        head = f"NIR for {self.target} (checked with {self.checked}): {len(self.changes)} changes"
        return "\n".join([head, *(f"  {change}" for change in self.changes), *(f"  note: {n}" for n in self.notes)])
