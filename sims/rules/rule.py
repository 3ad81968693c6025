"""`Rule`: what a plasticity rule is, those that ship and those of one's own.

A rule is a frozen dataclass with numbers as fields and one or two functions of one weight: `on_post` says what becomes
of the weight when its postsynaptic neuron fires, `on_pre`, if there is one, when its presynaptic neuron fires::

    @dataclass(frozen=True)
    class SoftCoincidence(Rule):
        inc: float
        dec: float

        def on_post(self, w, fired):
            return w + self.inc * (1 - w) if fired else w - self.dec * w

Further arguments are taken by name:

* ``fired``: whether the neuron at the other end of the synapse fires in this step, too.
* the name of a trace that the class declares, ``traces = {"x": Trace("pre", tau="tau_plus")}``.
* ``modulator``: the value of the night's modulator in this step, 1 without one.

In a step every layer first asks `on_pre` for all weights from presynaptic neurons that fire, with traces as they were
before the step; then presynaptic traces rise; then `on_post` is asked for all weights into postsynaptic neurons that
fire, and postsynaptic traces rise.

The functions are evaluated in float64 on every backend, and their result is rounded once to the weights' precision.
With M streams a weight changes by ``sum((f(w) - w) / M)`` over the copies in which its neuron fires, in their order.
They may use numbers, `math`, NumPy's functions of numbers, `neurosleep.sims.rules.exponential.exp`, and functions of
such. Nothing is remembered but traces.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_type_hints

from ..errors import InputError, nearest
from ..fields import settle


@dataclass(frozen=True)
class Trace:
    """A trace of a neuron's spikes: it rises with each spike and decays exponentially in between.

    Parameters
    ----------
    where
        "pre" for a trace of presynaptic neurons, "post" for one of postsynaptic neurons.
    tau
        Time constant in seconds, or the name of the rule's field that holds it.
    kind
        "all": a spike adds 1, so that all spikes count. "nearest": a spike sets it to 1, so that the last one counts.
    """

    where: Literal["pre", "post"]
    tau: float | str
    kind: Literal["all", "nearest"] = "all"

    def __post_init__(self) -> None:
        settle(self)
        if not isinstance(self.tau, str):
            _check_tau("tau", self.tau)

    def seconds(self, rule: "Rule") -> float:
        """Return the time constant of this trace of a rule, wrapped or not."""
        rule = unwrapped(rule)[0]
        return float(getattr(rule, self.tau) if isinstance(self.tau, str) else self.tau)


def _check_tau(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a positive, finite number of seconds, got {value!r}")


@dataclass(frozen=True)
class Rule:
    """Base of all plasticity rules; see the module's text for what a subclass has.

    Raises
    ------
    InputError
        When a rule is made whose functions take an argument that there is not, or whose fields are no numbers.
    """

    traces: ClassVar[Mapping[str, Trace]] = {}
    on_pre: ClassVar[Callable[..., float] | None] = None
    if TYPE_CHECKING:  # an annotation alone would be listed among the fields of a dataclass
        on_post: ClassVar[Callable[..., float]]

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make a rule of a class that was checked."""
        made: Any = cls  # mypy takes no class with __hash__ of its own for a key
        check_class(made)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Check the fields; a function of one's own of this name calls ``super().__post_init__()`` first."""
        settle(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, field.name, float(value))
        for name, trace in self.traces.items():
            _check_tau(
                str(trace.tau) if isinstance(trace.tau, str) else f"tau of the trace {name}", trace.seconds(self)
            )


@dataclass(frozen=True)
class Wrapper(Rule):
    """A rule that changes what another rule asks for.

    A subclass has one function, ``change(self, w, new)`` or ``change(self, w, new, modulator)``: the weight as it was,
    what the other rule makes of it, and what then becomes of it.
    """

    rule: Rule
    if TYPE_CHECKING:
        change: ClassVar[Callable[..., float]]


def unwrapped(rule: Rule) -> tuple[Rule, list[Wrapper]]:
    """Return the rule inside, and what it is wrapped in, innermost first."""
    wrappers: list[Wrapper] = []
    while isinstance(rule, Wrapper):
        wrappers.insert(0, rule)
        rule = rule.rule
    return rule, wrappers


def traces_of(rule: Rule, where: Literal["pre", "post"]) -> dict[str, Trace]:
    """Return the traces of a rule's presynaptic or postsynaptic neurons, in the order in which they are declared."""
    return {name: trace for name, trace in unwrapped(rule)[0].traces.items() if trace.where == where}


def numbers(rule: Rule) -> tuple[float, ...]:
    """Return the values of a rule's fields, those of the rule inside first, then those of its wrappers outwards."""
    inside, wrappers = unwrapped(rule)
    return tuple(float(getattr(part, name)) for part in (inside, *wrappers) for name in number_names(type(part)))


def number_names(cls: type[Rule]) -> tuple[str, ...]:
    """Return the names of the fields that are numbers."""
    hints = get_type_hints(cls)
    return tuple(field.name for field in fields(cls) if hints[field.name] is float)


def functions(cls: Any) -> dict[str, Callable[..., float]]:
    """Return the functions of a class of rules, by name: `on_post`, and `on_pre` if there is one, or `change`."""
    names = ("change",) if issubclass(cls, Wrapper) else ("on_post", "on_pre")
    return {name: getattr(cls, name) for name in names if getattr(cls, name, None) is not None}


def arguments(function: Callable[..., float]) -> list[str]:
    """Return the names of a function's arguments after `self`."""
    return list(inspect.signature(function).parameters)[1:]


def uses_modulator(rule: Rule) -> bool:
    """Whether anything of a rule takes the modulator."""
    inside, wrappers = unwrapped(rule)
    parts = [function for part in (inside, *wrappers) for function in functions(type(part)).values()]
    return any("modulator" in arguments(function) for function in parts)


@cache
def check_class(cls: Any) -> None:
    """Check fields, traces and functions of a class of rules, or raise `InputError`."""
    if "__dataclass_fields__" not in vars(cls) and vars(cls).get("__annotations__"):
        raise InputError(f"{cls.__name__} must be a dataclass: write @dataclass(frozen=True) above the class")
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise InputError(
            f"the fields of {cls.__name__} have types that cannot be found ({error}): write float"
        ) from error
    for field in fields(cls):
        if hints[field.name] is not float and not issubclass(cls, Wrapper):
            raise InputError(f"the field {field.name} of {cls.__name__} must be a number: write {field.name}: float")
    _check_traces(cls)
    own = functions(cls)
    if "on_post" not in own and "change" not in own:
        wanted = "change(self, w, new)" if issubclass(cls, Wrapper) else "on_post(self, w, fired)"
        raise InputError(f"{cls.__name__} needs a function {wanted} that returns the new weight")
    for name, function in own.items():
        _check_function(cls, name, function)


def _check_traces(cls: type[Rule]) -> None:
    if not isinstance(cls.traces, Mapping) or not all(isinstance(trace, Trace) for trace in cls.traces.values()):
        raise InputError(f'traces of {cls.__name__} must be a mapping such as {{"x": Trace("pre", tau=0.02)}}')
    for name, trace in cls.traces.items():
        if name in ("self", "w", "fired", "modulator", *number_names(cls)) or not name.isidentifier():
            raise InputError(f"{cls.__name__} has a trace {name!r}, which is no free name: choose another")
        if isinstance(trace.tau, str) and trace.tau not in number_names(cls):
            raise InputError(
                f"the trace {name} of {cls.__name__} has the time constant {trace.tau!r}, which is no field"
                f"{nearest(trace.tau, number_names(cls))}"
            )


def _check_function(cls: type[Rule], name: str, function: Any) -> None:
    what = f"{cls.__name__}.{name}"
    if not inspect.isfunction(function):
        raise InputError(f"{what} must be a plain function of the class, got {function!r}")
    begin: Sequence[str] = ("w", "new") if name == "change" else ("w",)
    known = [*begin, "modulator"] if name == "change" else [*begin, "fired", *cls.traces, "modulator"]
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if [p.name for p in parameters[: len(begin)]] != list(begin):
        raise InputError(f"{what} must begin with (self, {', '.join(begin)}), got {inspect.signature(function)}")
    for p in parameters:
        if p.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD or p.default is not inspect.Parameter.empty:
            raise InputError(f"{what} must take plain arguments without defaults, got {str(p)!r}")
        if p.name not in known:
            raise InputError(
                f"{what} has the argument {p.name!r}{nearest(p.name, known)} (known: {', '.join(known)}); a trace must "
                'be declared, as in traces = {"x": Trace("pre", tau=0.02)}'
            )
