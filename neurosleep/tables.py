"""Tables of results as text and as Markdown."""

from typing import Any


def number(value: str | int | float | None) -> str:
    """Write a table's value: floats with one decimal, a missing one (None or nan) as a dash."""
    if value is None or value != value:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows with the same keys as lines of aligned text, the first column to the left."""
    lines = [list(rows[0]), *([number(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            word.rjust(width) if i else word.ljust(width)
            for i, (word, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return rows with the same keys as a table in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([number(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
