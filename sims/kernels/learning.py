"""What a night does for its rule, by kind of rule; see `kinds`. Each is written where the rule is.

Rules that read a weight put its changes off by row (`putoff`); the constant rule owes by column (`separable`).
"""

from ..compiled import inner
from . import layout
from .kinds import for_kind


@inner(inline="always")
def weights_of(layer, layers, night):
    """Return the weights of a layer, (n_pre, n_post)."""
    n_pre = layers.unit[layer + 1] - layers.unit[layer]
    n_post = layers.unit[layer + 2] - layers.unit[layer + 1]
    return night.weights[layers.weight[layer] : layers.weight[layer + 1]].reshape(n_pre, n_post)


def may_be_quiet(rule, backlog):
    """Whether steps in which only the input fires leave plasticity nothing to do."""
    raise NotImplementedError


def prepare(rule, layer, step, layers, night, backlog):
    """Bring the rows that are about to be read up to date."""
    raise NotImplementedError


def forgive(rule, impulse, first, n_pre, backlog):
    """Take what the columns owe from the impulse of `n_pre` rows; the layer's neurons begin at unit `first`."""
    raise NotImplementedError


def learn(rule, layer, step, layers, night, backlog):
    """Change the weights of a layer after a step in which its neurons fired."""
    raise NotImplementedError


def write_out(rule, layer, layers, night, backlog):
    """Make all changes of a layer that are put off."""
    raise NotImplementedError


@for_kind(may_be_quiet, layout.Frozen)
def _frozen_may_be_quiet(rule, backlog):
    return True


@for_kind(prepare, layout.Frozen, layout.Constant)
def _prepare_nothing(rule, layer, step, layers, night, backlog):
    pass


@for_kind(forgive, layout.Frozen, layout.Gated)
def _forgive_nothing(rule, impulse, first, n_pre, backlog):
    pass


@for_kind(learn, layout.Frozen)
def _learn_nothing(rule, layer, step, layers, night, backlog):
    pass


@for_kind(write_out, layout.Frozen)
def _write_out_nothing(rule, layer, layers, night, backlog):
    pass
