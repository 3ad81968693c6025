"""Colours of the segments of a night, the same in all figures."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes

from neurosleep.sims.spikes.reader import Segment

_COLOURS = {"wake": "#E69F00", "N1": "#56B4E9", "N2": "#0072B2", "N3": "#332288", "NREM": "#332288", "REM": "#CC79A7"}
_OTHERS = ("#009E73", "#D55E00", "#999999", "#882255")


def segment_colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name, in the order in which they first come."""
    different = list(dict.fromkeys(names))
    others = [name for name in different if name not in _COLOURS]
    return {name: _COLOURS.get(name) or _OTHERS[others.index(name) % len(_OTHERS)] for name in different}


def shade_segments(panels: Iterable[Axes], segments: Iterable[Segment], begin: int, first: int, last: int) -> None:
    """Shade segments from one step to another, on axes that count from `begin`, with their names in the first panel."""
    shown = [x for x in segments if x.start < last and x.stop > first]
    colours = segment_colours(x.name for x in shown)
    for row, axes in enumerate(panels):
        for segment in shown:
            left, right = max(segment.start, first) - begin, min(segment.stop, last) - begin
            axes.axvspan(left, right, color=colours[segment.name], alpha=0.15, linewidth=0, zorder=0)
            if row == 0 and right - left > 0.03 * (last - first):
                where: dict[str, Any] = {
                    "xycoords": ("data", "axes fraction"),
                    "ha": "center",
                    "va": "top",
                    "fontsize": 7,
                }
                axes.annotate(segment.name, ((left + right) / 2, 0.98), color=colours[segment.name], **where)
