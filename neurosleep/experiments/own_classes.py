"""Classes of one's own in an experiment: ``kind = "my_module:MyRule"`` in its file, if its reader allows the module.

A file may come from anywhere, and importing a module runs it. So no module is imported for a file unless whoever reads
the file has named that module: ``--allow-imports my_module``, or `allow_imports`.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from neurosleep.sims.errors import InputError

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_PACKAGE = __name__.partition(".")[0]
_allowed: ContextVar[tuple[str, ...]] = ContextVar("allowed", default=())
_trusted: ContextVar[Mapping[str, type]] = ContextVar("trusted", default=MappingProxyType({}))


@contextmanager
def allow_imports(*modules: str) -> Iterator[None]:
    """Let descriptions name classes of these modules, and of modules within them; importing a module runs it.

    >>> with allow_imports("my_module"):  # doctest: +SKIP
    ...     results = Results.open("runs/mine")

    Raises
    ------
    InputError
        If one is no name of a module.
    """
    for module in modules:
        if not isinstance(module, str) or not _NAME.fullmatch(module):
            raise InputError(
                f"allow_imports takes names of modules, such as my_module or package.module, got {module!r}"
            )
    token = _allowed.set((*_allowed.get(), *modules))
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed_modules() -> tuple[str, ...]:
    """Return the modules that are allowed now; worker processes that read descriptions need them, too."""
    return _allowed.get()


@contextmanager
def classes_known(value: Any) -> Iterator[None]:
    """Let descriptions name the classes of one's own that objects are of: they are imported already."""
    token = _trusted.set({**_trusted.get(), **{kind_of(cls): cls for cls in classes_in(value)}})
    try:
        yield
    finally:
        _trusted.reset(token)


def is_own(value: Any) -> bool:
    """Whether this is an object of a dataclass that is not of this package."""
    return is_dataclass(value) and not isinstance(value, type) and type(value).__module__.split(".")[0] != _PACKAGE


def classes_in(value: Any) -> list[type]:
    """Return the classes of one's own among the objects that an object is made of."""
    found = [type(value)] if is_own(value) else []
    if is_dataclass(value) and not isinstance(value, type):
        parts: Sequence[Any] = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        parts = list(value.values())
    else:
        parts = value if isinstance(value, list | tuple) else ()
    return list(dict.fromkeys([*found, *(cls for part in parts for cls in classes_in(part))]))


def kind_of(cls: type) -> str:
    """Return what a description calls a class.

    Raises
    ------
    InputError
        If a description cannot, since the class is not at the top of a module.
    """
    if not cls.__qualname__.isidentifier():
        raise InputError(f"{cls.__qualname__} cannot be kept as text: put the class at the top level of a module")
    return f"{cls.__module__}:{cls.__qualname__}"


def class_of(kind: str, where: str) -> type:
    """Return the class that ``module:Class`` names; the module is imported only if it is allowed.

    Raises
    ------
    InputError
        If it is not, or there is no such class; `where` says where it is named.
    """
    if kind in _trusted.get():
        return _trusted.get()[kind]
    module, _, name = kind.partition(":")
    if not _NAME.fullmatch(module) or not name.isidentifier():
        raise InputError(f"{where}: kind {kind!r} must be module:Class, as my_module:MyRule")
    if not _is_allowed(module):
        raise InputError(
            f"{where}: kind {kind!r} is a class of a module, and importing that runs its code: if you trust it, "
            f'give --allow-imports {module} (in Python: with allow_imports("{module}"))'
        )
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # whatever the module does
        told = " ".join(str(error).split())
        raise InputError(f"{where}: {module} cannot be imported: {type(error).__name__}: {told}") from error
    if not isinstance(found, type) or not is_dataclass(found) or not _is_allowed(found.__module__):
        raise InputError(f"{where}: {module} has no dataclass {name!r} of its own")
    return found


def _is_allowed(module: str) -> bool:
    return any(f"{module}.".startswith(f"{allowed}.") for allowed in _allowed.get())


def not_importable(value: Any) -> list[str]:
    """Return which classes of one's own other processes cannot import: those of scripts and notebooks."""
    return [kind_of(cls) for cls in classes_in(value) if cls.__module__ == "__main__"]


def code_of(value: Any) -> str:
    """Return a digest of the code of all classes of one's own in an object; nothing if there are none.

    It is that of their modules, comments aside; of a script or notebook only that of the classes. What they import
    from elsewhere is not looked at.
    """
    classes = classes_in(value)
    texts = {
        _text(part) for cls in classes for part in cls.__mro__ if part.__module__ in {c.__module__ for c in classes}
    }
    return blake2b("\0".join(sorted(texts)).encode(), digest_size=16).hexdigest() if classes else ""


def _text(cls: type) -> str:
    of: Any = cls if cls.__module__ == "__main__" else sys.modules[cls.__module__]
    try:
        return ast.unparse(ast.parse(inspect.cleandoc(inspect.getsource(of))))
    except (OSError, TypeError, SyntaxError):  # no source is kept
        return kind_of(cls)
