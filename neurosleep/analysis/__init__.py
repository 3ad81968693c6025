"""Looks inside a network before, during and after sleep: what its layers represent, who fires, which weights change.

Everything works on a model that converts (of any depth), on data of any kind, and on the spikes of a night. The
measures are those of Tadros et al. 2022, Nature Communications 13:7742, Figs 1, 4, 5 and 6.
"""

from neurosleep.analysis.activations import layer_activations, layer_inputs
from neurosleep.analysis.correlations import ClassCorrelations, class_correlations
from neurosleep.analysis.patches import PixelGroups, group_weights, output_inputs, pixel_groups
from neurosleep.analysis.replay import TTest, bonferroni, compare, night_rates, random_neurons
from neurosleep.analysis.sparseness import Overlap, Sparseness, representational_overlap, sparseness
from neurosleep.analysis.specificity import (
    ClassResponses,
    InputChange,
    class_responses,
    count_spikes,
    input_change,
    specific_neurons,
)
from neurosleep.analysis.weights import block_means, cosine_similarity, histogram, layer_weights, weight_changes

__all__ = [
    "ClassCorrelations",
    "ClassResponses",
    "InputChange",
    "Overlap",
    "PixelGroups",
    "Sparseness",
    "TTest",
    "block_means",
    "bonferroni",
    "class_correlations",
    "class_responses",
    "compare",
    "cosine_similarity",
    "count_spikes",
    "group_weights",
    "histogram",
    "input_change",
    "layer_activations",
    "layer_inputs",
    "layer_weights",
    "night_rates",
    "output_inputs",
    "pixel_groups",
    "random_neurons",
    "representational_overlap",
    "sparseness",
    "specific_neurons",
    "weight_changes",
]
