"""An snnTorch network as a chain that sleeps, and its weights back into it.

What a chain of layers and `snntorch.Leaky` does in each step is what `SpikingLayer` does, if neurons are reset to 0:

* ``beta`` is the decay, and what is above 1 counts as 1, as in snnTorch;
* ``reset_delay=True`` sets the membrane to 0 at the begin of the next step instead of at the end of this one, which
  changes when the reset is seen but no spike;
* snnTorch's own surrogates fire above the threshold only. The threshold is then the next larger number of the weights'
  precision, which is the same, since `SpikingLayer` fires at its threshold.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import snntorch
import torch
from torch import nn

from ...sims.network import SpikingNetwork
from ...sims.operators import Shape
from ..errors import ConversionError, submodule
from ..normalization import Calibration
from ..to_spiking import to_spiking
from ..torch_layers import Average, Weighted
from ..write_back import write_back
from .writing import SnnTorchNetwork, SnnTorchPopulation

_Passed = nn.Flatten | nn.Dropout | nn.Identity | Average


class _Neurons(NamedTuple):
    """What a layer's `snntorch.Leaky` does."""

    threshold: float
    decay: float


class SleepingChain(nn.Module):
    """An snnTorch network that can fall asleep: its own layers of weights, with ReLU where its neurons are.

    Its weights are the module's own, not copies. `neurosleep.sleep` takes it with a stage that has ``normalization=
    "none"`` and the neurons' thresholds and decay; `from_snntorch` takes these from the neurons.

    Attributes
    ----------
    module
        The network itself.
    """

    def __init__(self, module: nn.Module, path: Sequence[str]) -> None:
        super().__init__()
        self.module, self._path = module, tuple(path)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Return what the network itself returns."""
        return self.module(*inputs, **options)

    def spiking_chain(self) -> nn.Sequential:
        """Return the layers that fall asleep."""
        chain: list[nn.Module] = []
        for name in self._path:
            layer = self.module.get_submodule(name)
            if not chain and isinstance(layer, nn.Linear):
                chain.append(nn.Flatten())
            chain.append(nn.ReLU() if isinstance(layer, snntorch.Leaky) else layer)
        if isinstance(chain[-1], nn.ReLU):
            chain.pop()
        return nn.Sequential(*chain)


def sleeping_chain(module: nn.Module, path: Sequence[str] | None = None) -> SleepingChain:
    """Return an snnTorch network as a module that `sleep`, `to_spiking` and `write_back` take.

    Parameters
    ----------
    module, path
        See `from_snntorch`.

    Raises
    ------
    ConversionError
        If the path is not known or has something else than layers of weights, `snntorch.Leaky`, Flatten, Dropout and
        average pooling.
    """
    names = tuple(path) if path is not None else _path(module)
    if not names:
        raise ConversionError(f"the path through {type(module).__name__} is empty")
    for name in names:
        layer = _submodule(module, name)
        if not isinstance(layer, Weighted | _Passed) and type(layer) is not snntorch.Leaky:
            raise ConversionError(
                f"{submodule(name, layer)} cannot sleep; supported: Linear, Conv1d, Conv2d, "
                "snntorch.Leaky, AvgPool, Flatten, Dropout and Identity"
            )
        around = module.get_submodule(name.rpartition(".")[0])
        if isinstance(around, SnnTorchPopulation) and (around.floor is not None or around.several_spikes):
            what = "a floor" if around.floor is not None else "several spikes in a step"
            raise ConversionError(f"{submodule(name, layer)} has {what}, which neurons that sleep have not")
    return SleepingChain(module, names)


def from_snntorch(
    module: nn.Module,
    path: Sequence[str] | None = None,
    *,
    output: snntorch.Leaky | None = None,
    input_shape: Shape | None = None,
    dt: float = 0.001,
) -> SpikingNetwork:
    """Return an snnTorch network as one that sleeps, with its own weights, thresholds and decays.

    Membranes begin at 0. Put the weights back with `write_back_snntorch`::

        network = from_snntorch(net, ("fc1", "lif1", "fc2", "lif2"))
        night = simulate(network, MeanRate(100), GatedHebbian(inc=1e-3, dec=1e-4), 1000, mean_input=x.mean(0))
        write_back_snntorch(night.network, net, ("fc1", "lif1", "fc2", "lif2"))

    Parameters
    ----------
    module
        A network of layers of weights, each followed by a `snntorch.Leaky` that resets to 0.
    path
        Names of its submodules in the order in which a spike passes through them, as in ``module.get_submodule``.
        Not needed for a Sequential, nor for what `to_snntorch` returned. Others step through time in a forward of their
        own, from which no order can be read.
    output
        Neurons for a last layer of weights that has none, or has some that never fire.
    input_shape
        (channels, *space) of an input, if the first layer is a convolution.
    dt
        Length of a step in seconds.

    Raises
    ------
    ConversionError
        If something cannot be expressed, named by its path: any reset but "zero", neurons of one layer that differ,
        inhibition, graded spikes, quantised states, random spikes.
    """
    chain = sleeping_chain(module, path)
    neurons: list[_Neurons] = []
    weights: tuple[str, nn.Module] | None = None
    for name in chain._path:
        layer = module.get_submodule(name)
        if isinstance(layer, Weighted):
            if weights is not None:
                raise ConversionError(f"submodule {weights[0]!r} has no neurons: {name!r} follows it on the path")
            weights = name, layer
        elif isinstance(layer, snntorch.Leaky):
            if weights is None:
                raise ConversionError(f"submodule {name!r} (Leaky) has no layer of weights before it on the path")
            last = name == chain._path[-1] and output is not None and layer.reset_mechanism == "none"
            neurons.append(_read(output if last else layer, "output" if last else name, weights[1]))
            weights = None
    if weights is not None:
        if output is None:
            raise ConversionError(
                f"submodule {weights[0]!r} has no neurons behind it, but sleeps as a layer that fires: give them as "
                'output=snntorch.Leaky(beta, threshold, reset_mechanism="zero", reset_delay=False)'
            )
        neurons.append(_read(output, "output", weights[1]))
    scales = Calibration((1.0,) * len(neurons), input_shape=input_shape)
    beta = [n.threshold for n in neurons]
    network = to_spiking(chain, scales, normalization="none", decay=1.0, thresholds=beta, dt=dt)
    layers = (
        replace(layer, decay=n.decay, name=layer.name.removeprefix("module."))
        for layer, n in zip(network.layers, neurons, strict=True)
    )
    return replace(network, layers=tuple(layers))


def write_back_snntorch(network: SpikingNetwork, module: nn.Module, path: Sequence[str] | None = None) -> None:
    """Put the weights of a network that slept into an snnTorch network, in place and all or nothing.

    Parameters
    ----------
    network
        As `from_snntorch` made it from `module`.
    module, path
        As for `from_snntorch`.

    Raises
    ------
    ConversionError
        If number or shapes of the layers differ, or a weight is not finite. Nothing is changed then.
    """
    write_back(network, sleeping_chain(module, path))


def _path(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, SnnTorchNetwork):
        return tuple(_own_path(module))
    if type(module) is nn.Sequential:
        return tuple(_leaves(module, ""))
    found = [f"{name} ({type(m).__name__})" for name, m in module.named_modules() if isinstance(m, Weighted)]
    found += [f"{name} (Leaky)" for name, m in module.named_modules() if isinstance(m, snntorch.Leaky)]
    raise ConversionError(
        f"no order can be read from {type(module).__name__}.forward, which steps through time: give path=, the names "
        f"of its layers and neurons in the order in which spikes pass; it has {', '.join(found) or 'none'}"
    )


def _leaves(module: nn.Sequential, prefix: str) -> list[str]:
    names: list[str] = []
    for name, child in module.named_children():
        names += _leaves(child, f"{prefix}{name}.") if type(child) is nn.Sequential else [prefix + name]
    return names


def _own_path(module: SnnTorchNetwork) -> list[str]:
    names: list[str] = []
    source = "input"
    for name, (key, population) in zip(module.names, module.populations.named_children(), strict=True):
        if population.sources != [source] or population.bias is not None:
            what = "a bias that differs over space" if population.bias is not None else "no chain below it"
            raise ConversionError(f"population {name!r} has {what}; only chains of layers sleep")
        layers = population.projections[0]
        names += [f"populations.{key}.projections.0.{index}" for index in range(len(layers))]
        names.append(f"populations.{key}.neurons")
        source = name
    return names


def _submodule(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        raise ConversionError(f"{type(module).__name__} has no submodule {name!r}, which is on the path") from error


def _read(neuron: snntorch.Leaky, name: str, weights: nn.Module) -> _Neurons:
    """Return a layer's threshold and decay, or raise `ConversionError` if its neurons are of another kind."""
    where = f"submodule {name!r} (Leaky)"
    if type(neuron) is not snntorch.Leaky:
        raise ConversionError(f"{name} must be a snntorch.Leaky, got {type(neuron).__name__}")
    if neuron.reset_mechanism != "zero":
        raise ConversionError(
            f"{where} has reset_mechanism={neuron.reset_mechanism!r}, but neurons that sleep are reset to 0: train "
            'with reset_mechanism="zero"'
        )
    for what, differs in (
        ("inhibition", neuron.inhibition),
        ("state_quant", neuron.state_quant),
        ("graded_spikes_factor", (neuron.graded_spikes_factor != 1).any()),
    ):
        if differs:
            raise ConversionError(f"{where} has {what}, which neurons that sleep have not: leave it at its default")
    dtype = weights.weight.dtype if isinstance(weights.weight, torch.Tensor) else torch.float32
    beta, threshold = _one(neuron.beta, where, "beta"), _one(neuron.threshold, where, "threshold")
    beta = min(beta, 1.0)
    if not beta > 0 or not threshold > 0:
        raise ConversionError(f"{where} needs beta and threshold above 0, got {beta:g} and {threshold:g}")
    with torch.no_grad():
        probes = torch.tensor([-0.5, 0.0, 0.5, 9 * threshold], dtype=dtype)
        below, at, above, far = neuron.spike_grad(probes).tolist()
    if (below, above, far) != (0, 1, 1) or at not in (0, 1):
        raise ConversionError(f"{where} has a spike_grad that does not give 0 below and 1 above the threshold")
    if at == 0:
        real = np.float32 if dtype == torch.float32 else np.float64
        threshold = float(np.nextafter(real(threshold), real(np.inf)))
    return _Neurons(threshold, beta)


def _one(value: torch.Tensor, where: str, what: str) -> float:
    numbers = value.detach().cpu().numpy()
    if not numbers.size or (numbers != numbers.flat[0]).any():
        raise ConversionError(f"{where} has {what} that differs among neurons; a layer that sleeps has one")
    return float(numbers.flat[0])
