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


def feels_input(rule):
    """Whether a layer has something to learn when only its presynaptic neurons fire, a constant."""
    raise NotImplementedError


def prepare(rule, layer, step, layers, night, backlog):
    """Bring the rows that are about to be read up to date."""
    raise NotImplementedError


def forgive(rule, layer, impulse, first, n_pre, backlog):
    """Take what the columns owe from the impulse of `n_pre` rows; the layer's neurons begin at unit `first`."""
    raise NotImplementedError


def learn(rule, layer, step, layers, night, backlog):
    """Change the weights of a layer after a step in which its neurons fired."""
    raise NotImplementedError


def write_out(rule, layer, layers, night, backlog):
    """Make all changes of a layer that are put off."""
    raise NotImplementedError


@for_kind(feels_input, layout.Frozen, layout.Constant, layout.Gated)
def _feels_no_input(rule):
    return False


@for_kind(prepare, layout.Frozen, layout.Constant)
def _prepare_nothing(rule, layer, step, layers, night, backlog):
    pass


@for_kind(forgive, layout.Frozen, layout.Gated, layout.Own)
def _forgive_nothing(rule, layer, impulse, first, n_pre, backlog):
    pass


@for_kind(learn, layout.Frozen)
def _learn_nothing(rule, layer, step, layers, night, backlog):
    pass


@for_kind(write_out, layout.Frozen)
def _write_out_nothing(rule, layer, layers, night, backlog):
    pass
