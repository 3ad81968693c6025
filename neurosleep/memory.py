"""What a network may keep of its past: the mean input and the calibration maxima, never an input itself."""

import math
import os
from collections.abc import Mapping
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurosleep.converters import Calibration
from neurosleep.converters.batches import Batches, Inputs
from neurosleep.converters.front import as_inputs, as_network
from neurosleep.converters.input_coding import CodingName, InputCoding, as_coding
from neurosleep.converters.normalization import OutputActivation, check_percentile
from neurosleep.converters.reading import read
from neurosleep.moments import Moments, channel_range
from neurosleep.ownership import Ownership
from neurosleep.seen import Seen
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.fields import plain
from neurosleep.sims.packed import cause, checked, read_npz
from neurosleep.sims.whole import whole

_FORMAT = 2  # 1 where there is no coding, as earlier versions read it


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
    moments
        Whether to keep the mean and the variance of every input value as it came, too, from which `sample` draws: 16
        bytes for each value of an input.
    coding
        How inputs become rates of input neurons, a name or an `InputCoding` ("rates", "rectified", "shifted",
        "on-off"); the mean is then that of the rates. A range that it lacks is measured from the first inputs
        observed, and later values beyond it count as its ends; those beyond a given one are refused. None: the mean
        is that of the inputs as they are, which most drives need in [0, 1].

    Attributes
    ----------
    count
        Number of inputs seen.
    mean_input
        (n_inputs,) float64, one for each input neuron, channel by channel, row by row; or None before anything was
        seen.
    calibration
        Scales per layer, and the shape of an input for convolutions; or None before anything was seen.
    task_means
        With `each_task`, the mean of each `observe`, in order, (n_inputs,) each.
    moments
        With `moments`, those of everything seen (`neurosleep.moments.Moments`); None without, and before.
    coding
        The `InputCoding`, with its range once that is known; or None.
    """

    def __init__(
        self,
        *,
        percentile: float = 100.0,
        output: OutputActivation = "relu",
        scales: Literal["all", "last"] = "all",
        each_task: bool = False,
        moments: bool = False,
        coding: InputCoding | CodingName | None = None,
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
        self.keeps_moments: bool = plain(moments, bool, "moments")
        self.moments: Moments | None = None
        self.count = 0
        self.mean_input: NDArray[np.float64] | None = None
        self.calibration: Calibration | None = None
        self.coding: InputCoding | None = None if coding is None else as_coding(coding)
        self._promised = self.coding is not None and self.coding.complete
        self._owner = Ownership()

    def observe(self, model: nn.Module, inputs: Inputs) -> None:
        """Take in what was just learned: update the mean input, and measure the model's activations on it.

        Parameters
        ----------
        model
            The network as it is after training on `inputs`.
        inputs
            (n, ...) with as many values each as the network has inputs; (n, channels, *space) for convolutions. Or a
            Dataset, a DataLoader or another iterable of such batches, alone or with labels, of which one is held at a
            time; it is gone through once more each to count inputs (for a percentile) and to measure a range.

        Raises
        ------
        InputError
            If inputs do not fit, or the memory holds what another network has seen. The memory is then as it was.
        """
        model = as_network(model)
        self.belong_to(model)
        passes = 1 + (self.percentile < 100) + (self.coding is not None and not self.coding.complete)
        raw = Batches(inputs, passes=passes)
        reading = read(model, raw.shape, self.network_coding)
        batches = raw.through(reading.inputs)
        reading.check_own_answer()
        shape = reading.input_shape or raw.shape
        coding = self.coding and self._measured(self.coding, batches)
        n_inputs = math.prod(shape if coding is None else coding.population(shape))
        if self.mean_input is not None and n_inputs != len(self.mean_input):
            raise InputError(f"this memory holds a mean of {len(self.mean_input)} inputs, but got inputs of {n_inputs}")
        seen = Seen(coding, self._promised, self.keeps_moments)
        measured = reading.scales(batches.through(seen.add), self.percentile, self.output)
        if self.calibration is not None and self.scales == "all":
            measured = self.calibration.merged(measured)
        moments = seen.moments
        if moments is not None and self.moments is not None:
            moments = self.moments.merged(moments)
        total = self.count + seen.count
        before = np.zeros_like(seen.mean) if self.mean_input is None else self.mean_input
        self.mean_input = before + (seen.mean - before) * (seen.count / total)
        self.count, self.calibration, self.moments, self.coding = total, measured, moments, coding
        if self.each_task:
            self.task_means.append(seen.mean)
        self._owner.claim(model, "this memory")

    @staticmethod
    def _measured(coding: InputCoding, batches: Batches) -> InputCoding:
        """Return a coding with the range of inputs, if it has none yet."""
        if coding.complete:
            return coding
        low, high = channel_range(batches.first)
        for x in batches:  # one after the other: small arrays that are kept break up the memory between batches
            lowest, highest = channel_range(x)
            low, high = np.minimum(low, lowest), np.maximum(high, highest)
        return coding.measured(low, high)

    @property
    def network_coding(self) -> InputCoding:
        """How the network that sleeps takes the rates of its input neurons."""
        return self.coding or InputCoding()

    def belong_to(self, model: nn.Module) -> None:
        """Raise `InputError` if another network has filled it."""
        self._owner.check(model, "this memory")

    def sample(self, n: int, seed: int = 0) -> torch.Tensor:
        """Return n inputs (n, *shape) float32 that were drawn from the moments, see `Moments.sample`.

        Raises
        ------
        InputError
            If it keeps no moments, or has seen nothing.
        """
        if self.moments is None:
            why = (
                "has seen nothing yet: let it observe data"
                if self.keeps_moments
                else "keeps none: Memory(moments=True)"
            )
            raise InputError(f"inputs are drawn from a memory's moments, and this one {why}")
        if plain(n, int, "n") < 1:
            raise InputError(f"n must be at least 1, got {n!r}")
        return self.moments.sample(int(n), plain(seed, int, "seed"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the memory to a ``.npz`` file, whole or not at all."""
        if self.mean_input is None or self.calibration is None:
            raise InputError("this memory has seen nothing yet, so there is nothing to save")
        coded = self._coded()
        also: dict[str, Any] = {"task_means": np.array(self.task_means)} if self.task_means else {}
        also |= {} if self.moments is None else self.moments.numbers()
        also |= {"names": np.array(self.calibration.names)} if self.calibration.names else {}
        with whole(path) as half, half.open("wb") as file:
            np.savez(
                file,
                format=_FORMAT if "coding" in coded else 1,
                percentile=self.percentile,
                output=self.output,
                scales=self.scales,
                count=self.count,
                mean_input=self.mean_input,
                calibration=np.array(self.calibration.scales),
                input_shape=np.array(self.calibration.input_shape or (), dtype=np.int64),
                **coded,
                **also,
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
            checked(values, "format", "iu", (), 1, _FORMAT)
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
        memory._take_coding(values)
        shape = checked(values, "input_shape", "iu", (None,), 1).tolist() if "input_shape" in values else ()
        calibration = checked(values, "calibration", "f", (None,), 0).tolist()
        neurons = math.prod(memory.network_coding.population(shape)) if shape else memory.mean_input.size
        if not calibration or neurons != memory.mean_input.size:
            raise InputError(f"its mean of {memory.mean_input.size} inputs and its shape {shape} of an input differ")
        names = tuple(checked(values, "names", "U", (len(calibration),)).tolist()) if "names" in values else None
        memory.calibration = Calibration(tuple(calibration), percentile, tuple(shape) or None, names)
        if "task_means" in values:
            means = checked(values, "task_means", np.dtype(np.float64), (None, memory.mean_input.size))
            memory.each_task, memory.task_means = True, list(means)
        if "moments_mean" in values:
            memory.keeps_moments, memory.moments = True, Moments.from_numbers(values, memory.count)
            shape = memory.moments.mean.shape
            if math.prod(memory.network_coding.population(shape)) != memory.mean_input.size:
                raise InputError(f"its moments are of inputs of shape {shape}, its mean of {memory.mean_input.size}")
        return memory

    def _coded(self) -> dict[str, Any]:
        """Return the coding as a file has it."""
        return {} if self.coding is None else {**self.coding.numbers(), "coding_given": self._promised}

    def _take_coding(self, values: Mapping[str, NDArray[Any]]) -> None:
        if "coding" in values:
            self.coding, self._promised = InputCoding.from_numbers(values), bool(checked(values, "coding_given", "b"))
            if not self.coding.complete:
                raise InputError(f"its coding {self.coding.kind!r} has no range, which one that has seen inputs has")


class FeatureMemory(Memory):
    """A `Memory` of inputs that may be negative, such as features before a rectification.

    A neuron cannot fire at a negative rate: the mean input, from which drives take their rates, is that of
    ``max(h, 0) / largest``, at most 1, where `largest` is the largest value of the first inputs observed. Activation
    scales are those of the network on the features as they are, and the network takes rates for features, as if
    `largest` were 1. So a feature that is mostly negative is mostly silent at night, and what the network makes of its
    negative values is not replayed.

    Attributes
    ----------
    largest
        The value that is given the full rate; 0 before anything was seen.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(coding="rectified", **settings)

    @property
    def largest(self) -> float:
        """The value that is given the full rate; 0 before anything was seen."""
        return self.coding.high[0] if self.coding is not None and self.coding.high else 0.0

    @largest.setter
    def largest(self, value: float) -> None:
        self.coding = InputCoding("rectified", high=(value,) if value else ())

    @property
    def network_coding(self) -> InputCoding:
        """How the network takes rates: as they are."""
        return InputCoding()

    def _coded(self) -> dict[str, Any]:
        return {"largest": self.largest}

    def _take_coding(self, values: Mapping[str, NDArray[Any]]) -> None:
        if "coding" in values:
            raise InputError("it is one of Memory(coding=...): read it with Memory.load")
        if "largest" in values:  # files of early versions have none
            self.largest = float(checked(values, "largest", "f", (), 0))


class ImageKeepingMemory(Memory):
    """Measures the present network on all images seen so far (released MNIST and Fashion-MNIST scripts).

    With `first_only`, on those of the first task (released CIFAR-10 and cross-modal scripts): only the first inputs
    that are shown to it count.
    """

    def __init__(self, *, first_only: bool = False) -> None:
        super().__init__(scales="last")
        self.first_only = first_only
        self._kept: list[torch.Tensor] = []

    def observe(self, model: nn.Module, inputs: Inputs) -> None:
        """Keep the images, all of them, and measure the present network on all that are kept."""
        dtype = next(iter(as_network(model).parameters())).dtype
        x = torch.cat([as_inputs(batch, dtype) for batch in Batches(inputs)])
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
