"""A digest of a drive of one's own: its class, the values of its fields, its code, and some of what it says.

A night that goes on from a checkpoint must be driven as before. Probabilities are looked at in a few blocks of steps,
spread over the night; class, values and code tell drives apart that differ elsewhere.
"""

import hashlib
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

import numpy as np

from ..random import firing_thresholds
from .spans import BLOCK, Spans

_BLOCKS = 8
_PACKAGE = __name__.partition(".")[0] + "."


def fingerprint(spans: Spans, steps: int) -> str:
    """Return a digest of what drives a population for so many steps."""
    digest = hashlib.sha256(repr(list(told(spans.drive, ()))).encode())
    last = max(0, steps - 1) // BLOCK
    for block in sorted({round(k * last / (_BLOCKS - 1)) for k in range(_BLOCKS)}):
        by_step, by_neuron = spans.factors(block)
        digest.update(firing_thresholds(by_step[:, np.newaxis] * by_neuron).tobytes())
    return digest.hexdigest()


def told(value: Any, within: tuple[int, ...] = ()) -> Iterator[object]:
    """Tell a value by what is the same in every process."""
    if id(value) in within:
        return
    within = (*within, id(value))
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        yield repr(value)
    elif isinstance(value, np.ndarray):
        yield value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    elif isinstance(value, CodeType):
        yield value.co_code, value.co_names, [list(told(item, within)) for item in value.co_consts]
    elif isinstance(value, set | frozenset):
        yield sorted(map(repr, value))
    elif isinstance(value, Mapping):
        yield [(repr(key), list(told(item, within))) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        yield [list(told(item, within)) for item in value]
    elif hasattr(value, "__code__"):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        yield [list(told(part, within)) for part in (value.__code__, value.__defaults__, cells)]
    else:
        yield type(value).__qualname__
        if not type(value).__module__.startswith(_PACKAGE):
            yield from _code(type(value), within)
        yield from told(dict(getattr(value, "__dict__", {})), within)


def _code(cls: type, within: tuple[int, ...]) -> Iterator[object]:
    """Tell the code of a class, and of those that it derives from."""
    for base in cls.__mro__[:-1]:
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if hasattr(function, "__code__"):
                yield name, list(told(function, within))
