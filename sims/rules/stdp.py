"""Spike-timing dependent plasticity: of pairs of spikes, and of triplets."""

from dataclasses import dataclass
from typing import ClassVar

from ..fields import check_ranges
from .rule import Rule, Trace


@dataclass(frozen=True)
class PairSTDP(Rule):
    """Pair-based STDP, additive, all spikes with all spikes.

    ``w += a_plus * exp(-(t_post - t_pre) / tau_plus)`` for each presynaptic spike before a postsynaptic one, and ``w -=
    a_minus * exp(-(t_pre - t_post) / tau_minus)`` for each postsynaptic spike before a presynaptic one. Spikes of the
    same step count as pre before post. Song, Miller & Abbott 2000 (Nat Neurosci 3:919); Morrison, Diesmann & Gerstner
    2008 (Biol Cybern 98:459).

    Parameters
    ----------
    a_plus, a_minus
        Potentiation and depression by a pair without delay, in units of the network's weights, at least 0.
    tau_plus, tau_minus
        Time constants in seconds.
    """

    a_plus: float
    a_minus: float
    tau_plus: float = 0.02
    tau_minus: float = 0.02

    traces: ClassVar = {"x": Trace("pre", tau="tau_plus"), "y": Trace("post", tau="tau_minus")}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, a_plus="[0, inf)", a_minus="[0, inf)")

    def on_post(self, w: float, x: float) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        return w + self.a_plus * x

    def on_pre(self, w: float, y: float) -> float:
        """Return a weight after its presynaptic neuron fired."""
        return w - self.a_minus * y


@dataclass(frozen=True)
class TripletSTDP(Rule):
    """STDP of pairs and triplets, all spikes with all spikes: potentiation grows with the postsynaptic rate.

    ``w += r1 * (a2_plus + a3_plus * o2)`` where post fires, ``w -= o1 * (a2_minus + a3_minus * r2)`` where pre fires;
    r1 and r2 are presynaptic traces (time constants tau_plus and tau_x), o1 and o2 postsynaptic ones (tau_minus and
    tau_y); r2 and o2 are taken as they were before the spike. Pfister & Gerstner 2006 (J Neurosci 26:9673), equations 3
    and 4; a2_plus = a3_minus = 0 is their minimal model of visual cortex. The time constants are theirs for visual
    cortex, as in NESTML (stdp_triplet_synapse), which has with them, for weights of up to 100, a2_plus = 7.5e-10,
    a3_plus = 9.3e-3, a2_minus = 7e-3 and a3_minus = 2.3e-4. Amplitudes depend on the weights, and have no defaults.

    Parameters
    ----------
    a2_plus, a2_minus
        Potentiation and depression by a pair without delay, in units of the network's weights, at least 0.
    a3_plus, a3_minus
        The same by a triplet.
    tau_plus, tau_minus, tau_x, tau_y
        Time constants in seconds.
    """

    a2_plus: float
    a3_plus: float
    a2_minus: float
    a3_minus: float = 0.0
    tau_plus: float = 0.0168
    tau_minus: float = 0.0337
    tau_x: float = 0.101
    tau_y: float = 0.125

    traces: ClassVar = {
        "r1": Trace("pre", tau="tau_plus"),
        "r2": Trace("pre", tau="tau_x"),
        "o1": Trace("post", tau="tau_minus"),
        "o2": Trace("post", tau="tau_y"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, a2_plus="[0, inf)", a3_plus="[0, inf)", a2_minus="[0, inf)", a3_minus="[0, inf)")

    def on_post(self, w: float, r1: float, o2: float) -> float:
        """Return a weight after its postsynaptic neuron fired."""
        return w + r1 * (self.a2_plus + self.a3_plus * o2)

    def on_pre(self, w: float, o1: float, r2: float) -> float:
        """Return a weight after its presynaptic neuron fired."""
        return w - o1 * (self.a2_minus + self.a3_minus * r2)
