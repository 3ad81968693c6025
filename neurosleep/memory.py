"""What a network may keep of its past: the mean input and the calibration maxima, never an input itself."""

import math
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, cast, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from neurosleep.converters import Calibration
from neurosleep.converters.front import as_inputs, as_network
from neurosleep.converters.normalization import OutputActivation, check_percentile
from neurosleep.converters.reading import read
from neurosleep.ownership import Ownership
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import plain
from neurosleep.sims.packed import cause, checked, read_npz
from neurosleep.sims.whole import whole

_FORMAT = 1


class Memory:
    """Mean input and activation scales of everything seen: a fixed number of values however much was seen.

    This is all that Sleep Replay Consolidation keeps of old tasks (Tadros et al. 2022, Results and Algorithm 1).

    Parameters
    ----------
    percentile
        Which percentile of the activations to keep as their scale, 100 for the maximum; must be what the sleep stage's
        normalisation needs.
    output
        What the last layer's values pass through before they are measured, "relu" or "softmax".
    scales
        "all": the largest scale ever observed, layer by layer (maxima of the network as it was then stay in). "last":
        only those of the last `observe`, as the paper's text has it.
    each_task
        Whether to remember the mean of each `observe`, too, which `CuedReplay` needs: 8 bytes for every input of the
        network and every task, 6 kB a task for the digits of MNIST. Never an input itself.

    Attributes
    ----------
    count
        Number of inputs seen.
    mean_input
        (n_inputs,) float64, channel by channel, row by row; or None before anything was seen.
    calibration
        Scales per layer, and the shape of an input for convolutions; or None before anything was seen.
    task_means
        With `each_task`, the mean of each `observe`, in order, (n_inputs,) each.
    """

    _numbers: ClassVar[tuple[str, ...]] = ()  # that a kind of memory saves beside

    def __init__(
        self,
        *,
        percentile: float = 100.0,
        output: OutputActivation = "relu",
        scales: Literal["all", "last"] = "all",
        each_task: bool = False,
    ) -> None:
        for what, name, known in (("scales", scales, ("all", "last")), ("output", output, get_args(OutputActivation))):
            if name not in known:
                raise InputError(unknown(what, name, known))
        self.percentile: float = plain(percentile, float, "percentile")
        check_percentile(self.percentile)
        self.output: OutputActivation = output
        self.scales = scales
        self.each_task: bool = plain(each_task, bool, "each_task")
        self.task_means: list[NDArray[np.float64]] = []
        self.count = 0
        self.mean_input: NDArray[np.float64] | None = None
        self.calibration: Calibration | None = None
        self._owner = Ownership()

    def observe(self, model: nn.Module, inputs: torch.Tensor | ArrayLike) -> None:
        """Take in what was just learned: update the mean input, and measure the model's activations on it.

        Parameters
        ----------
        model
            The network as it is after training on `inputs`.
        inputs
            (n, ...) with as many values each as the network has inputs; (n, channels, *space) for convolutions.

        Raises
        ------
        InputError
            If inputs do not fit, or the memory holds what another network has seen. The memory is then as it was.
        """
        model = as_network(model)
        self.belong_to(model)
        reading = read(model, tuple(np.shape(inputs)[1:]))
        x = reading.inputs(inputs)
        reading.check_own_answer()
        n_inputs = x[0].numel()
        if self.mean_input is not None and n_inputs != len(self.mean_input):
            raise InputError(f"this memory holds a mean of {len(self.mean_input)} inputs, but got inputs of {n_inputs}")
        measured = reading.scales(torch.split(x, 1000), self.percentile, self.output)
        if self.calibration is not None and self.scales == "all":
            measured = self.calibration.merged(measured)
        total = self.count + len(x)
        mean = self._rates(x.flatten(1).to(torch.float64)).mean(0).cpu().numpy()
        before = np.zeros_like(mean) if self.mean_input is None else self.mean_input
        self.mean_input = before + (mean - before) * (len(x) / total)
        self.count, self.calibration = total, measured
        if self.each_task:
            self.task_means.append(mean)
        self._owner.claim(model, "this memory")

    def _rates(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the mean is taken of, of inputs (n, n_inputs) float64."""
        return inputs

    def belong_to(self, model: nn.Module) -> None:
        """Raise `InputError` if another network has filled it."""
        self._owner.check(model, "this memory")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the memory to a ``.npz`` file, whole or not at all."""
        if self.mean_input is None or self.calibration is None:
            raise InputError("this memory has seen nothing yet, so there is nothing to save")
        means: dict[str, Any] = {"task_means": np.array(self.task_means)} if self.task_means else {}
        with whole(path) as half, half.open("wb") as file:
            np.savez(
                file,
                format=_FORMAT,
                percentile=self.percentile,
                output=self.output,
                scales=self.scales,
                count=self.count,
                mean_input=self.mean_input,
                calibration=np.array(self.calibration.scales),
                input_shape=np.array(self.calibration.input_shape or (), dtype=np.int64),
                **{name: getattr(self, name) for name in self._numbers},
                **means,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a memory that `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, damaged or not a memory.
        """
        try:
            values = read_npz(path)
            checked(values, "format", "iu", (), _FORMAT, _FORMAT)
            return cls._of(values)
        except (OSError, InputError) as error:
            raise InputError(f"{path} is not a memory written by Memory.save: {cause(error)}") from error

    @classmethod
    def _of(cls, values: Mapping[str, NDArray[Any]]) -> Self:
        """Return the memory that arrays say, if they are what `save` writes."""
        output, scales = str(checked(values, "output", "U")), str(checked(values, "scales", "U"))
        if output not in get_args(OutputActivation):
            raise InputError(f"its output must be among {', '.join(get_args(OutputActivation))}, got {output!r}")
        percentile = checked(values, "percentile", "iuf", (), 0, 100).item()
        memory = cls(percentile=percentile, output=cast("OutputActivation", output), scales=cast("Any", scales))
        memory.count = int(checked(values, "count", "iu", (), 1))
        memory.mean_input = checked(values, "mean_input", np.dtype(np.float64), (None,))
        shape = checked(values, "input_shape", "iu", (None,), 1).tolist() if "input_shape" in values else ()
        calibration = checked(values, "calibration", "f", (None,), 0).tolist()
        if not calibration or math.prod(shape or memory.mean_input.shape) != memory.mean_input.size:
            raise InputError(f"its mean of {memory.mean_input.size} inputs and its shape {shape} of an input differ")
        memory.calibration = Calibration(tuple(calibration), percentile, tuple(shape) or None)
        if "task_means" in values:
            means = checked(values, "task_means", np.dtype(np.float64), (None, memory.mean_input.size))
            memory.each_task, memory.task_means = True, list(means)
        for name in set(cls._numbers) & set(values):  # files of earlier versions have none
            setattr(memory, name, float(checked(values, name, "f", (), 0)))
        return memory


class FeatureMemory(Memory):
    """A `Memory` of inputs that may be negative, such as features before a rectification.

    A neuron cannot fire at a negative rate: the mean input, from which drives take their rates, is that of
    ``max(h, 0) / largest``, at most 1, where `largest` is the largest value of the first inputs observed. Activation
    scales are those of the network on the features as they are. So a feature that is mostly negative is mostly silent
    at night, and what the network makes of its negative values is not replayed.

    Attributes
    ----------
    largest
        The value that is given the full rate; 0 before anything was seen.
    """

    largest: float = 0.0
    _numbers = ("largest",)

    def _rates(self, inputs: torch.Tensor) -> torch.Tensor:
        largest = self.largest or float(inputs.max())
        if not largest > 0:
            raise InputError("no feature is above 0, so that no input neuron could fire: look at how they were scaled")
        self.largest = largest
        return (inputs / largest).clamp(0, 1)


class ImageKeepingMemory(Memory):
    """Measures the present network on all images seen so far (released MNIST and Fashion-MNIST scripts).

    With `first_only`, on those of the first task (released CIFAR-10 and cross-modal scripts): only the first inputs
    that are shown to it count.
    """

    def __init__(self, *, first_only: bool = False) -> None:
        super().__init__(scales="last")
        self.first_only = first_only
        self._kept: list[torch.Tensor] = []

    def observe(self, model: nn.Module, inputs: torch.Tensor | ArrayLike) -> None:
        """Keep the images, and measure the present network on all that are kept."""
        x = as_inputs(inputs, next(iter(as_network(model).parameters())).dtype)
        if self._kept and x.shape[1:] != self._kept[0].shape[1:]:
            raise InputError(
                f"this memory keeps inputs of shape {tuple(self._kept[0].shape[1:])}, got {tuple(x.shape[1:])}"
            )
        kept = self._kept if self.first_only and self._kept else [*self._kept, x]
        before = self.count, self.mean_input
        self.count, self.mean_input = 0, None
        try:
            super().observe(model, torch.cat(kept))
        except BaseException:
            self.count, self.mean_input = before
            raise
        self._kept = kept

    def save(self, path: str | os.PathLike[str]) -> None:
        """Raise `InputError`: what this memory is made of are the images themselves."""
        raise InputError(
            f"{path}: a memory that keeps images is not saved; keep them, and let a fresh one observe them"
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Raise `InputError`: there is no such file."""
        raise InputError(f"{path}: no memory that keeps images was ever saved; let a fresh one observe them")
