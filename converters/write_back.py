"""The weights of a spiking network go back into the torch module it came from."""

from torch import nn

from ..sims.errors import InputError
from ..sims.plastic_graph import PlasticGraph
from ..sims.sleeping import SleepingNetwork
from .chain import weight_stages
from .errors import ConversionError
from .reading_graph import Graph
from .writing import write_parameters


def write_back(network: SleepingNetwork, model: nn.Module) -> None:
    """Put the weights of a spiking network into a torch module, in place and all or nothing (Algorithm 1, line 5).

    Everything is checked before the first weight is written; should writing itself fail, the old weights are put back.
    Biases are not touched: sleep does not change them. Device and precision of the module stay as they are.

    Parameters
    ----------
    network
        A chain as `to_spiking` made it from `model` or from a module of the same shape; or the graph that the model
        fell asleep as, as in `neurosleep.Member.of`.
    model
        The module to change.

    Raises
    ------
    ConversionError
        If number or shapes of the layers differ, or a weight is not finite in the module's precision. Nothing is
        changed then.
    """
    if isinstance(network, PlasticGraph):
        _read_alike(network, model).write(dict(zip(network.weight_names, network.weights, strict=True)))
        return
    stages, names = weight_stages(model), network.weight_names
    if len(stages) != len(names):
        raise ConversionError(
            f"the network has {len(names)} layers of weights, but the model has {len(stages)} linear layers"
        )
    given = zip(stages, network.weights, names, strict=True)
    write_parameters([(stage.name, stage.module.weight, values, name) for stage, values, name in given])


def _read_alike(network: PlasticGraph, model: nn.Module) -> Graph:
    """Return what is read of a model of inputs as a network has them; coded "on-off", it has two neurons for each."""
    channels, *space = network.input_shape
    wrong: Exception | None = None
    for n in (channels, channels // 2):
        try:
            reading = Graph(model, (n, *space))
        except (ConversionError, InputError) as error:
            wrong = wrong or error
            continue
        return reading
    raise ConversionError(f"the network does not fit the model: {wrong}") from wrong
