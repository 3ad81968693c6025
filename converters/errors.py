"""What is raised when a module cannot be converted, and how it names what is to blame."""

from ..sims.errors import InputError


class ConversionError(InputError):
    """A module contains something that cannot be converted; the message names it by its path and type."""


def submodule(path: str, module: object) -> str:
    """Return a submodule in words, by its path and type."""
    return f"submodule {path!r} ({type(module).__name__})"
