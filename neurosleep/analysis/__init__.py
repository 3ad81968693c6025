"""Looks inside a network before, during and after sleep: what its layers represent, who fires, which weights change.

Everything works on a model that converts (of any depth), on data of any kind, and on the spikes of a night. The
measures are those of Tadros et al. 2022, Nature Communications 13:7742, Figs 1, 4, 5 and 6.

Questions about one night of a spike log (`replay_above_chance` to `synaptic_operations`) read it in slices, and answer
with an effect and its 95 % interval: ``print`` it for one line, ``table()`` for rows. So do those about rhythms
(`spectrum`, `up_states`, `phase_locking`, `coupling`, `irregularity`), which hold the rates of a stretch in memory.
Which log, night and populations they take is told by `neurosleep.interchange.open_spikes`, which opens a file once for
several questions.
"""

from neurosleep.analysis.activations import layer_activations, layer_inputs
from neurosleep.analysis.assemblies import (
    CorrelationChange,
    PairwiseCorrelation,
    correlation_change,
    pairwise_correlation,
)
from neurosleep.analysis.chance import GroupReplay, ReplayAboveChance, replay_above_chance
from neurosleep.analysis.correlations import ClassCorrelations, class_correlations
from neurosleep.analysis.coupling import Coupling, coupling
from neurosleep.analysis.energy import LayerOperations, SynapticOperations, fan_out, synaptic_operations
from neurosleep.analysis.growth import Growth, NetGrowth, WeightGrowth, weight_growth, weight_growth_in_log
from neurosleep.analysis.irregularity import Irregularity, irregularity
from neurosleep.analysis.nights import RateOverNight, SparsenessOverNight, rate_over_night, sparseness_over_night
from neurosleep.analysis.patches import PixelGroups, group_weights, output_inputs, pixel_groups
from neurosleep.analysis.phase_locking import PhaseLocking, phase_locking
from neurosleep.analysis.replay import TTest, bonferroni, compare, night_rates, random_neurons
from neurosleep.analysis.sequence import ActivationSequence, LayerLag, activation_sequence
from neurosleep.analysis.sparseness import Overlap, Sparseness, representational_overlap, sparseness
from neurosleep.analysis.specificity import (
    ClassResponses,
    InputChange,
    class_responses,
    count_spikes,
    input_change,
    specific_neurons,
)
from neurosleep.analysis.spectrum import Spectrum, spectrum
from neurosleep.analysis.up_states import UpStates, up_states
from neurosleep.analysis.weights import block_means, cosine_similarity, histogram, layer_weights, weight_changes
from neurosleep.statistics import Effect

__all__ = [
    "ActivationSequence",
    "ClassCorrelations",
    "ClassResponses",
    "CorrelationChange",
    "Coupling",
    "Effect",
    "GroupReplay",
    "Growth",
    "InputChange",
    "Irregularity",
    "LayerLag",
    "LayerOperations",
    "NetGrowth",
    "Overlap",
    "PairwiseCorrelation",
    "PhaseLocking",
    "PixelGroups",
    "RateOverNight",
    "ReplayAboveChance",
    "Sparseness",
    "SparsenessOverNight",
    "Spectrum",
    "SynapticOperations",
    "TTest",
    "UpStates",
    "WeightGrowth",
    "activation_sequence",
    "block_means",
    "bonferroni",
    "class_correlations",
    "class_responses",
    "compare",
    "correlation_change",
    "cosine_similarity",
    "count_spikes",
    "coupling",
    "fan_out",
    "group_weights",
    "histogram",
    "input_change",
    "irregularity",
    "layer_activations",
    "layer_inputs",
    "layer_weights",
    "night_rates",
    "output_inputs",
    "pairwise_correlation",
    "phase_locking",
    "pixel_groups",
    "random_neurons",
    "rate_over_night",
    "replay_above_chance",
    "representational_overlap",
    "sparseness",
    "sparseness_over_night",
    "specific_neurons",
    "spectrum",
    "synaptic_operations",
    "up_states",
    "weight_changes",
    "weight_growth",
    "weight_growth_in_log",
]
