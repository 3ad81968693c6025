"""What is raised when a module cannot be converted."""

from ..sims.errors import InputError


class ConversionError(InputError):
    """A module contains something that cannot be converted; the message names it by its path and type."""
