"""Functions that do another thing for each kind of rule: which is known when they are compiled, so only that is.

A kind is a named tuple of `layout`; it is the first argument. In Python such a function cannot be called.
"""

from collections.abc import Callable
from typing import Any

from numba.extending import overload

Function = Callable[..., Any]
LEAN: Any = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}  # as of `compiled.inner`


def for_kind(function: Function, *kinds: type) -> Callable[[Function], Function]:
    """Make what is decorated be `function` for rules of these kinds."""

    def decorate(implementation: Function) -> Function:
        @overload(function, strict=False, jit_options=LEAN)
        def choose(rule: Any, *_: Any) -> Function | None:
            return implementation if getattr(rule, "instance_class", None) in kinds else None

        return implementation

    return decorate
