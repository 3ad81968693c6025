"""Rules for kernels: a tag by which kernels are compiled, numbers, and compiled functions of one weight.

A kernel takes a rule's *tag* as an argument. The tag's Numba type stands for what the rule does (`RuleType.digest`) and
not for its numbers, so a kernel is compiled once for each kind of rule, and its machine code is kept on disk by it::

    @compiled()
    def depress(tag, numbers, weights, modulator):
        p = parameters(tag, numbers, 0)
        for j in range(weights.size):
            weights[j] = on_post(tag, p, weights[j], False, (), (), modulator)

    rule = program(SoftBounds(0.1, 0.1), [True], np.dtype(np.float32))
    depress(rule.tag, rule.numbers, weights, 1.0)

Functions of one's own are evaluated in float64 and return float64. `Hebbian` and `GatedHebbian` as they ship work in
the weights' precision, as their kernels always did; wrapped in other rules they are as rules of one's own.

What is known when a kernel is compiled stands in its `RuleType`: an `overload` on the tag's type can choose by it.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from types import CellType, FunctionType
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.extending import NativeValue, models, overload, register_model, unbox
from numpy.typing import NDArray

from ..compiled import compiled
from ..errors import InputError
from ..kernels.gate import gate
from .code import python_function, references, rule_digest
from .exponential import exp
from .hebbian import GatedHebbian, Hebbian
from .per_layer import Plasticity, by_layer
from .rule import Rule, arguments, functions, number_names, traces_of, unwrapped, uses_modulator
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
    has_on_pre, uses_modulator
        Whether the rule changes weights when their presynaptic neuron fires, and whether it takes the modulator.
    """

    def __init__(
        self, digest: str, kind: Kind, n_numbers: int, n_pre: int, n_post: int, has_on_pre: bool, uses_modulator: bool
    ) -> None:
        self.digest, self.kind, self.n_numbers = digest, kind, n_numbers
        self.n_pre, self.n_post = n_pre, n_post
        self.has_on_pre, self.uses_modulator = has_on_pre, uses_modulator
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
    for cls, kind in KINDS.items():
        if isinstance(rule, cls) and type(rule).on_post is cls.on_post:
            return kind
    return "own"


KINDS: dict[type[Rule], Kind] = {Hebbian: "constant", GatedHebbian: "gated"}


def _numbers(rule: Rule) -> tuple[float, ...]:
    kind = _kind(rule)
    if isinstance(rule, GatedHebbian) and kind == "gated":
        return rule.inc, rule.dec, -1 / rule.gate_width
    return own_numbers(rule)


def _n_numbers(rule: Rule | None) -> int:
    return 0 if rule is None else len(_numbers(rule))


def _tag(rule: Rule | None, kind: Kind) -> Tag:
    if rule is None:
        return Tag(RuleType("none", "none", 0, 0, 0, False, False))
    if kind != "own":
        return Tag(RuleType(kind, kind, _n_numbers(rule), 0, 0, False, False))
    digest = rule_digest(rule)
    traces = len(traces_of(rule, "pre")), len(traces_of(rule, "post"))
    has_on_pre = unwrapped(rule)[0].on_pre is not None
    tag = Tag(RuleType(digest, kind, _n_numbers(rule), *traces, has_on_pre, uses_modulator(rule)))
    if digest not in _OWN:
        _OWN[digest] = {name: _composed(rule, name, digest) for name in ("on_post", "on_pre")}
        try:
            _check_compiles(rule, tag)
        except InputError:
            del _OWN[digest]
            raise
    return tag


_OWN: dict[str, dict[str, Callable[..., Any]]] = {}
"""What overloads give for tags of rules of one's own, by digest."""


def _composed(rule: Rule, name: str, digest: str) -> Callable[..., Any]:
    """Return `on_post` or `on_pre` of a rule with its wrappers, as kernels call it."""
    inside, wrappers = unwrapped(rule)
    own = functions(type(inside)).get(name)
    if own is None:
        return _written(f"{name}_{digest}", _ARGUMENTS, "return w", {})
    space: dict[str, Any] = {"np": np}
    where = {"w": "w", "fired": "fired", "modulator": "modulator", "new": "new"}
    for side in ("pre", "post"):
        where |= {trace: f"{side}[{k}]" for k, trace in enumerate(traces_of(rule, side))}
    body, at = ["w = np.float64(w)"], 0
    memo: dict[int, Any] = {}
    for index, part in enumerate((inside, *wrappers)):
        function = own if index == 0 else functions(type(part))["change"]
        names = number_names(type(part))
        space[f"f{index}"] = _translated(function, digest, memo)
        space[f"Self{index}"] = namedtuple(type(part).__name__, names)
        fields = f"Self{index}({', '.join(f'p[{at + k}]' for k in range(len(names)))})" if names else "None"
        values = [where[argument] for argument in arguments(function)]
        body.append(f"new = np.float64(f{index}({', '.join([fields, *values])}))")
        at += len(names)
    return _written(f"{name}_{digest}", _ARGUMENTS, "\n    ".join([*body, "return new"]), space)


def _fields(cls: type[Rule]) -> Any:
    """Return what stands for `self` in compiled functions: a tuple of the fields, by name."""
    return namedtuple(cls.__name__, number_names(cls))


_ARGUMENTS = "tag, p, w, fired, pre, post, modulator"


def _written(name: str, head: str, body: str, space: dict[str, Any]) -> Callable[..., Any]:
    """Return a function of this text; Numba can neither loop over the arguments nor over tuples of any length."""
    exec(f"def {name}({head}):\n    {body}", space)  # noqa: S102 - our own text
    function: Callable[..., Any] = space[name]
    return function


def _translated(function: Any, digest: str, memo: dict[int, Any]) -> Any:
    """Compile a function together with the plain functions that it refers to.

    Names carry the digest: machine code from the disk may come from several processes, and is linked by name.
    """
    function = python_function(function)
    if id(function) not in memo:
        values = references(function)
        space: dict[str, Any] = {"__builtins__": function.__globals__.get("__builtins__"), "__name__": __name__}
        cells = tuple(CellType() for _ in function.__code__.co_freevars)
        made = FunctionType(function.__code__, space, function.__name__, function.__defaults__, cells)
        made.__qualname__ = f"{function.__qualname__}_{digest}"
        memo[id(function)] = numba.njit(error_model="numpy", forceinline=True)(made)
        for name, value in values.items():
            plain = isinstance(python_function(value), FunctionType) and value is not exp
            space[name] = _translated(value, digest, memo) if plain else value
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
            cell.cell_contents = space[name]
    return memo[id(function)]


overload(exp, strict=False, jit_options={"error_model": "numpy", "forceinline": True})(lambda x: exp)


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
    return _written("parameters", "tag, numbers, layer", f"return ({entries})", {})


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


def has_on_pre(tag: Any) -> Any:
    """Return whether a rule has `on_pre`, a constant."""
    raise NotImplementedError


@overload(has_on_pre, **_HOW)
def _has_on_pre(tag: Any) -> Any:
    return (lambda tag: True) if tag.has_on_pre else (lambda tag: False)


def pre_at(tag: Any, traces: Any, i: Any) -> Any:
    """Return the traces of presynaptic neuron i as a tuple, from an array (traces, n_pre)."""
    raise NotImplementedError


@overload(pre_at, **_HOW)
def _pre_at(tag: Any, traces: Any, i: Any) -> Any:
    return _written("pre_at", "tag, traces, i", f"return ({_column(tag.n_pre)})", {})


def post_at(tag: Any, traces: Any, j: Any) -> Any:
    """Return the traces of postsynaptic neuron j as a tuple, from an array (traces, n_post)."""
    raise NotImplementedError


@overload(post_at, **_HOW)
def _post_at(tag: Any, traces: Any, j: Any) -> Any:
    return _written("post_at", "tag, traces, i", f"return ({_column(tag.n_post)})", {})


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
    except NumbaError as error:
        raise InputError(
            f"{_reason(rule) or str(error).splitlines()[0]}; functions of a rule must be arithmetic on numbers, and "
            "return a number at every end"
        ) from error


def _reason(rule: Rule) -> str | None:
    """Return which function of a rule cannot be compiled, and why."""
    inside, wrappers = unwrapped(rule)
    for part in (inside, *wrappers):
        cls, names = type(part), number_names(type(part))
        itself = _self_type(cls, names)
        for name, function in functions(cls).items():
            given = [types.boolean if argument == "fired" else types.float64 for argument in arguments(function)]
            what = f"{cls.__name__}.{name}"
            made = _translated(function, "alone", {})
            try:
                made.compile((itself, *given))
            except NumbaError as error:
                return f"{what} cannot be compiled: {_said(error)}"
            result = made.nopython_signatures[0].return_type
            if not isinstance(result, types.Number | types.Boolean):
                return f"{what} must return a number, but returns {result}"
    return None


def _self_type(cls: type[Rule], names: Sequence[str]) -> Any:
    return numba.typeof(_fields(cls)(*[0.0] * len(names)) if names else None)  # type: ignore[no-untyped-call]


def _said(error: NumbaError) -> str:
    """Return the line of Numba's message that says what it cannot do."""
    lines = [line.strip().rstrip(".:") for line in str(error).splitlines()]
    marks = (
        "Untyped global",
        "Unknown attribute",
        "Cannot unify",
        "Use of unsupported",
        "NameError",
        "No implementation",
    )
    said = [line for mark in marks for line in lines if mark in line]
    said += [line for line in lines if line and not line.startswith(("Failed in", "During", "File"))]
    return said[0]
