"""Rules for kernels: a tag by which kernels are compiled, numbers, and compiled functions of one weight.

A kernel takes a rule's *tag* as an argument. The tag's Numba type stands for what the rule does (`RuleType.digest`) and
not for its numbers, so a kernel is compiled once for each kind of rule, and its machine code is kept on disk by it::

    @compiled()
    def depress(tag, numbers, weights, modulator):
        p = parameters(tag, numbers, 0)
        for j in range(weights.size):
            weights[j] = on_post(tag, p, weights[j], False, (), (), modulator)

    rule = program(SoftBounds(0.1, 0.1, 0.0, 1.0), [True], np.dtype(np.float32))
    depress(rule.tag, rule.numbers, weights, 1.0)

Functions of one's own are evaluated in float64 and return float64. `Hebbian` and `GatedHebbian` as they ship work in
the weights' precision, as their kernels always did; wrapped in other rules they are as rules of one's own.

What is known when a kernel is compiled stands in its `RuleType`: an `overload` on the tag's type can choose by it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import types
from numba.extending import NativeValue, models, overload, register_model, unbox
from numpy.typing import NDArray

from ..compiled import compiled
from ..errors import InputError
from ..kernels.gate import gate
from .code import rule_digest
from .composing import NOT_COMPILED, composed, reason, written
from .hebbian import GatedHebbian, Hebbian, is_shipped
from .per_layer import Plasticity, by_layer
from .rule import Rule, arguments, traces_of, unwrapped, uses_modulator
from .rule import numbers as own_numbers

Kind = Literal["none", "constant", "gated", "own"]


class RuleType(types.Type):
    """Numba's type of a tag; equal to another one if both rules do the same, but for their numbers.

    Attributes
    ----------
    kind
        "none": weights stay. "constant" and "gated": `Hebbian` and `GatedHebbian` as they ship. "own": all others.
    n_numbers, n_pre, n_post
        How many numbers and traces of presynaptic and postsynaptic neurons there are.
    has_on_pre, uses_modulator, reads_post
        Whether the rule changes weights when their presynaptic neuron fires, whether it takes the modulator, and
        whether `on_post` takes a postsynaptic trace.
    """

    def __init__(
        self,
        digest: str,
        kind: Kind,
        n_numbers: int,
        n_pre: int = 0,
        n_post: int = 0,
        has_on_pre: bool = False,
        uses_modulator: bool = False,
        reads_post: bool = False,
    ) -> None:
        self.digest, self.kind, self.n_numbers = digest, kind, n_numbers
        self.n_pre, self.n_post = n_pre, n_post
        self.has_on_pre, self.uses_modulator, self.reads_post = has_on_pre, uses_modulator, reads_post
        super().__init__(name=f"Rule({kind}, {digest})")

    @property
    def key(self) -> str:
        """What decides whether two are equal."""
        return self.digest


class Tag:
    """Stands for a rule in a call of a kernel; holds nothing."""

    def __init__(self, kind: RuleType) -> None:
        self._numba_type_ = kind


class Program(NamedTuple):
    """A rule for kernels.

    Attributes
    ----------
    tag
        What kernels are compiled by.
    numbers
        (L, P) numbers of each layer's rule: float64 for rules of one's own, in the weights' precision for kind
        "constant" (inc, dec) and "gated" (inc, dec, -1 / gate_width).
    plastic
        (L,) whether a layer's weights change at all.
    """

    tag: Tag
    numbers: NDArray[np.floating]
    plastic: NDArray[np.bool_]


def program(plasticity: Plasticity | None, plastic: Sequence[bool], real: np.dtype[Any]) -> Program:
    """Return a checked rule for kernels: for layers that are plastic or not, and weights of this precision.

    Raises
    ------
    InputError
        If a function of the rule cannot be compiled.
    """
    rules = by_layer(plasticity, len(plastic))
    changing = np.array([rule is not None and may for rule, may in zip(rules, plastic, strict=True)])
    rule = next((rule for rule in rules if rule is not None), None)
    kind = _kind(rule)
    table = np.zeros((len(rules), _n_numbers(rule)), dtype=np.float64 if kind == "own" else real)
    for layer, one in enumerate(rules):
        if one is not None:
            table[layer] = _numbers(one)
    return Program(_tag(rule, kind), table, changing)


def _kind(rule: Rule | None) -> Kind:
    if rule is None:
        return "none"
    if not is_shipped(rule):
        return "own"
    return "constant" if isinstance(rule, Hebbian) else "gated"


def _numbers(rule: Rule) -> tuple[float, ...]:
    kind = _kind(rule)
    if isinstance(rule, GatedHebbian) and kind == "gated":
        return rule.inc, rule.dec, -1 / rule.gate_width
    return own_numbers(rule)


def _n_numbers(rule: Rule | None) -> int:
    return 0 if rule is None else len(_numbers(rule))


def _tag(rule: Rule | None, kind: Kind) -> Tag:
    if rule is None:
        return Tag(RuleType("none", "none", 0))
    if kind != "own":
        return Tag(RuleType(kind, kind, _n_numbers(rule)))
    digest = rule_digest(rule)
    pre, post = traces_of(rule, "pre"), traces_of(rule, "post")
    inside = unwrapped(rule)[0]
    has = inside.on_pre is not None, uses_modulator(rule), not post.keys().isdisjoint(arguments(type(inside).on_post))
    tag = Tag(RuleType(digest, kind, _n_numbers(rule), len(pre), len(post), *has))
    if digest not in _OWN:
        _OWN.setdefault(digest, {name: composed(rule, name, digest) for name in ("on_post", "on_pre")})
    if digest not in _COMPILES:  # other threads may be about to find out, too
        _check_compiles(rule, tag)
        _COMPILES.add(digest)
    return tag


_OWN: dict[str, dict[str, Callable[..., Any]]] = {}
"""What overloads give for tags of rules of one's own, by digest."""
_COMPILES: set[str] = set()
"""Digests of rules that were compiled."""


@register_model(RuleType)
class _NoData(models.OpaqueModel):
    pass


@unbox(RuleType)  # type: ignore[untyped-decorator, no-untyped-call]
def _unbox(kind: Any, value: Any, c: Any) -> Any:
    return NativeValue(c.context.get_dummy_value())  # type: ignore[no-untyped-call]


_HOW: dict[str, Any] = {"strict": False, "jit_options": {"error_model": "numpy", "forceinline": True}}


def parameters(tag: Any, numbers: Any, layer: Any) -> Any:
    """Return a layer's numbers as a tuple, to be taken out of loops; this and the following for compiled code only."""
    raise NotImplementedError


@overload(parameters, **_HOW)
def _parameters(tag: Any, numbers: Any, layer: Any) -> Any:
    entries = "".join(f"numbers[layer, {k}], " for k in range(tag.n_numbers))
    return written("parameters", "tag, numbers, layer", f"return ({entries})", {})


def on_post(tag: Any, p: Any, w: Any, fired: Any, pre: Any, post: Any, modulator: Any) -> Any:
    """Return a weight after its postsynaptic neuron fired.

    `p` are `parameters`, `fired` whether the presynaptic neuron fired, too, `pre` and `post` tuples of all traces, in
    the order in which they are declared.
    """
    raise NotImplementedError


@overload(on_post, **_HOW)
def _on_post(tag: Any, p: Any, w: Any, fired: Any, pre: Any, post: Any, modulator: Any) -> Any:
    if tag.kind == "none":
        return lambda tag, p, w, fired, pre, post, modulator: w
    if tag.kind == "constant":
        return lambda tag, p, w, fired, pre, post, modulator: w + p[0] if fired else w - p[1]
    if tag.kind == "gated":
        return lambda tag, p, w, fired, pre, post, modulator: w + (p[0] if fired else -p[1]) * gate(w, p[2])
    return _OWN[tag.digest]["on_post"]


def on_pre(tag: Any, p: Any, w: Any, fired: Any, pre: Any, post: Any, modulator: Any) -> Any:
    """Return a weight after its presynaptic neuron fired; `fired` says whether the postsynaptic one did, too."""
    raise NotImplementedError


@overload(on_pre, **_HOW)
def _on_pre(tag: Any, p: Any, w: Any, fired: Any, pre: Any, post: Any, modulator: Any) -> Any:
    if tag.kind != "own":
        return lambda tag, p, w, fired, pre, post, modulator: w
    return _OWN[tag.digest]["on_pre"]


def pre_at(tag: Any, traces: Any, i: Any) -> Any:
    """Return the traces of presynaptic neuron i as a tuple, from an array (traces, n_pre)."""
    raise NotImplementedError


@overload(pre_at, **_HOW)
def _pre_at(tag: Any, traces: Any, i: Any) -> Any:
    return written("pre_at", "tag, traces, i", f"return ({_column(tag.n_pre)})", {})


def post_at(tag: Any, traces: Any, j: Any) -> Any:
    """Return the traces of postsynaptic neuron j as a tuple, from an array (traces, n_post)."""
    raise NotImplementedError


@overload(post_at, **_HOW)
def _post_at(tag: Any, traces: Any, j: Any) -> Any:
    return written("post_at", "tag, traces, i", f"return ({_column(tag.n_post)})", {})


def _column(n: int) -> str:
    return "".join(f"traces[{k}, i], " for k in range(n))


@compiled()
def evaluate(
    tag: Any, numbers: Any, layer: Any, w: Any, fired: Any, pre: Any, post: Any, modulator: Any
) -> Any:  # pragma: no cover
    """Return what `on_post` and `on_pre` make of one weight, for checks."""
    p = parameters(tag, numbers, layer)
    after_post = on_post(tag, p, w, fired, pre_at(tag, pre, 0), post_at(tag, post, 0), modulator)
    return after_post, on_pre(tag, p, w, fired, pre_at(tag, pre, 0), post_at(tag, post, 0), modulator)


def _check_compiles(rule: Rule, tag: Tag) -> None:
    """Compile the functions of a rule once for all processes, or say in one line why this cannot be."""
    kind = tag._numba_type_
    traces = np.ones((kind.n_pre, 1)), np.ones((kind.n_post, 1))
    try:
        evaluate(tag, np.array([own_numbers(rule)]), 0, 0.25, True, *traces, 1.0)
    except NOT_COMPILED as error:
        raise InputError(
            f"{reason(rule) or str(error).splitlines()[0]}; functions of a rule must be arithmetic on numbers, and "
            "return a number at every end"
        ) from error
