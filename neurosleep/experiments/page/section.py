"""What an experiment adds to its page: sections with a table and figures of its own."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurosleep.sims.errors import InputError


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Parameters
    ----------
    title
        Its heading; none if empty, to go on with the section before.
    caption
        What is shown, in words: what error bars mean (the 95 % interval of the mean, unless it says otherwise), units,
        and how many seeds.
    rows
        Of a table, all with the same keys, which head its columns; the first names the row. Numbers with a fraction are
        written with one decimal, below 1 with three digits; None and nan as a dash.
    figures
        PNG files, which become part of the page.
    """

    title: str
    caption: str
    rows: Sequence[Mapping[str, Any]] = ()
    figures: Sequence[Path] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if list(row) != list(self.rows[0]):
                raise InputError(
                    f"all rows of a table need the same columns, {', '.join(self.rows[0])}; got {', '.join(row)}"
                )

    @property
    def images(self) -> list[str]:
        """The figures as base64.

        Raises
        ------
        InputError
            If one cannot be read, or is no PNG.
        """
        return [_image(Path(figure)) for figure in self.figures]


def _image(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not data.startswith(b"\x89PNG"):
        raise InputError(f"{path} is no PNG file: figures of a page must be")
    return base64.b64encode(data).decode()
