"""A rule's functions for the device: with all that they call, every product rounded on its own.

They are written from their source (`arithmetic.unfused`), so that they must lie in a file. Functions of `math` and of
NumPy are the device's own, which may round the last digit otherwise than the CPU does; the package's `exp` does not.
"""

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from ..errors import BackendError
from ..rules.code import python_function, references
from ..rules.compiling import RuleType
from ..rules.composing import NOT_COMPILED, composed, own_fields, said, written
from ..rules.rule import Rule, arguments, functions, number_names, unwrapped
from .arithmetic import gate, plain, times, unfused
from .layout import SIMULATED

_ELSEWHERE = ("numpy", "numba", "math")


class Code(NamedTuple):
    """A rule as kernels call it; a constant of the kernel, so what it does not have is not compiled."""

    parameters: Any  # (numbers, m, layer) -> tuple
    on_post: Any  # as in `neurosleep.sims.rules.compiling`, tag None
    on_pre: Any
    pre_at: Any  # (now, m, i) -> tuple of traces
    post_at: Any
    has_on_pre: bool
    uses_modulator: bool
    n_pre: int
    n_post: int


_CODES: dict[str, Code] = {}


def code_of(rule: Rule | None, kind: RuleType) -> Code:
    """Return the code of a checked rule.

    Raises
    ------
    BackendError
        If a function that it calls has no source, or cannot be compiled for a GPU.
    """
    if kind.digest not in _CODES:
        _CODES[kind.digest] = Code(
            parameters=_tuple("numbers, m, layer", "numbers[m, layer, {}]", kind.n_numbers),
            on_post=_function("on_post", rule, kind),
            on_pre=_function("on_pre", rule, kind),
            pre_at=_tuple("now, m, i", "now[m, {}, i]", kind.n_pre),
            post_at=_tuple("now, m, i", "now[m, {}, i]", kind.n_post),
            has_on_pre=kind.has_on_pre,
            uses_modulator=kind.uses_modulator,
            n_pre=kind.n_pre,
            n_post=kind.n_post,
        )
    return _CODES[kind.digest]


def _tuple(head: str, entry: str, n: int) -> Any:
    return plain(written("entries", head, f"return ({''.join(entry.format(k) + ', ' for k in range(n))})", {}))


_PAPERS = {
    "constant": "return w + (p[0] if fired else -p[1])",
    "gated": "return w + times(p[0] if fired else -p[1], gate(w, p[2]))",
}


def _function(name: str, rule: Rule | None, kind: RuleType) -> Any:
    if kind.kind == "own" and rule is not None:
        if not SIMULATED:
            _check_compiles(rule)
        return plain(composed(rule, name, kind.digest, translated))
    body = _PAPERS.get(kind.kind, "return w") if name == "on_post" else "return w"
    return plain(written(name, "tag, p, w, fired, pre, post, modulator", body, {"times": times, "gate": gate}))


def translated(function: Any, suffix: str, memo: dict[int, Any]) -> Any:
    """Return a function for the device, together with the plain functions that it refers to."""
    function = python_function(function)
    if id(function) not in memo:
        memo[id(function)] = None
        space, renamed = {"__builtins__": __builtins__, "__name__": __name__}, {}
        for name, value in references(function).items():
            space[name] = translated(value, suffix, memo) if _is_ours(value) else value
            if isinstance(value, ModuleType):
                for attribute in function.__code__.co_names:
                    if _is_ours(called := getattr(value, attribute, None)):
                        renamed[name, attribute] = f"{name}__{attribute}"
                        space[f"{name}__{attribute}"] = translated(called, suffix, memo)
        memo[id(function)] = plain(_from_source(function, space, renamed))
    if memo[id(function)] is None:
        raise BackendError(
            f"backend 'cuda' does not run {function.__qualname__}, which calls itself: use backend='cpu'"
        )
    return memo[id(function)]


def _is_ours(value: Any) -> bool:
    """Whether it is a function in Python, and not one that Numba knows."""
    function = python_function(value)
    return isinstance(function, FunctionType) and (function.__module__ or "").split(".")[0] not in _ELSEWHERE


def _from_source(function: Any, space: dict[str, Any], renamed: dict[tuple[str, str], str]) -> Callable[..., Any]:
    try:
        return unfused(function, space, renamed)
    except (OSError, TypeError, SyntaxError) as error:
        raise BackendError(
            f"backend 'cuda' needs the source of {function.__qualname__}, and finds none: write it with def in a file, "
            "or use backend='cpu'"
        ) from error


def _check_compiles(rule: Rule) -> None:
    """Compile each function of a rule alone, or say in one line which one cannot be compiled for a GPU."""
    from numba.cuda import types
    from numba.cuda.core.errors import NumbaError as CudaNumbaError
    from numba.cuda.typing.typeof import typeof

    inside, wrappers = unwrapped(rule)
    for part in (inside, *wrappers):
        names = number_names(type(part))
        itself = typeof(own_fields(type(part))(*[0.0] * len(names))) if names else types.none
        for name, function in functions(type(part)).items():
            given = [types.boolean if argument == "fired" else types.float64 for argument in arguments(function)]
            try:
                translated(function, "alone", {}).compile_device((itself, *given))
            except (*NOT_COMPILED, CudaNumbaError) as error:
                raise BackendError(
                    f"{type(part).__name__}.{name} cannot be compiled for a GPU: {said(error)}; use backend='cpu'"
                ) from error
