"""Rasters of logged nights for the page: every spike of a night while there is room, else a window and an overview."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.experiments.page.figures import Figure, Trace, beside, layout, of, plain, typed
from neurosleep.experiments.page.figures_night import replays
from neurosleep.experiments.record import RunId
from neurosleep.figures.segments import segment_colours
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader

if TYPE_CHECKING:
    from neurosleep.experiments.results import Results

SPIKES_AT_MOST = 3_000_000
"""So many spikes are in a page, of all its rasters together: some 20 MB."""
_LEAST = 100_000
"""So many spikes, or all that there are, a night must have room for to be in the page."""
_OVERLAP = 250_000
"""From so many spikes on, points cover each other, and an overview is shown too."""
_TIME_BINS, _NEURON_BINS = 400, 40
_COLOURS = ("#009E73", "#0072B2", "#CC79A7", "#D55E00", "#E69F00", "#56B4E9")
_GAP = 0.045


@dataclass(frozen=True, eq=False)
class RasterView:
    """A night to look at.

    Attributes
    ----------
    condition, seed, task
        Whose night, after which task.
    rule
        Which of its spikes are shown.
    raster, overview
        Its figures; no overview if all its spikes are shown and seldom cover each other.
    """

    condition: str
    seed: int
    task: int
    rule: str
    raster: Figure
    overview: Figure | None


@dataclass(frozen=True, eq=False)
class Rasters:
    """The nights of a page.

    Attributes
    ----------
    views
        Condition by condition, in the order slept.
    opened
        Place of the one shown first.
    left_out, task_left_out
        Which nights found no room, in words, empty if none; the first task before one.
    other_seeds
        So many more runs have kept their spikes.
    unread
        What could not be read, and why.
    """

    views: list[RasterView]
    opened: int
    left_out: str
    task_left_out: int
    other_seeds: int
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Night:
    condition: str
    seed: int
    task: int
    begin: int
    stop: int
    spikes: int


def raster_views(results: "Results", night: int | None = None, spikes_at_most: int = SPIKES_AT_MOST) -> Rasters:
    """Return the rasters of the logged nights of the first logged seed of each condition, as far as there is room.

    First nights come first, then second ones; every night has as much room as the others, or all that it needs.

    Parameters
    ----------
    results
        Of the experiment.
    night
        Nights after this task come first, and one of them is opened; the first if None.
    spikes_at_most
        So many spikes are kept, of all rasters together.

    Raises
    ------
    InputError
        If spikes of some nights are kept, but none of the night asked for.
    """
    logged = [record for record in results.records.values() if record["log"] and replays(record)]
    of_condition = [_nights(results, name) for name in results.experiment.conditions]
    if night is not None and logged and not any(n.task == night for own in of_condition for n in own):
        raise InputError(f"no spikes are kept of a night after task {night}: give the number of another task")
    places = {n: place for own in of_condition for place, n in enumerate(own)}
    ranked = sorted(places, key=lambda n: (night not in (None, n.task), places[n]))
    chosen, needed = list[_Night](), 0
    for n in ranked:
        needed += min(n.spikes, _LEAST)
        if needed <= spikes_at_most or not chosen:
            chosen.append(n)
    rooms = dict(zip(chosen, _shares([n.spikes for n in chosen], spikes_at_most), strict=True))
    views, unread = list[RasterView](), list[str]()
    for (name, seed), own in groupby((n for n in places if n in rooms), lambda n: (n.condition, n.seed)):
        try:
            with results.spikes(name, seed) as reader:
                views += [_view(n, reader, rooms[n], len(views) + i) for i, n in enumerate(own)]
        except InputError as error:
            unread.append(f"{RunId(name, seed)}: {error}")
    out = sorted((n.task, n.condition) for n in ranked if n not in rooms)
    opened = min(range(len(views)), key=lambda i: (night not in (None, views[i].task), views[i].task), default=0)
    first_task = out[0][0] if out else 0
    others = len(logged) - sum(map(bool, of_condition))
    return Rasters(views, opened, _listed(out), first_task, others, unread)


def _listed(nights: Sequence[tuple[int, str]]) -> str:
    """Return tasks and the conditions with a night after them, as "after tasks 4 to 10 of 18 conditions"."""
    tasks: dict[tuple[str, ...], list[int]] = {}
    for task, own in groupby(nights, lambda night: night[0]):
        tasks.setdefault(tuple(name for _, name in own), []).append(task)
    return "; ".join(
        f"after task{f's {of_these[0]} to {of_these[-1]}' if len(of_these) > 1 else f' {of_these[0]}'} of "
        + (f"{len(names)} conditions" if len(names) > 3 else ", ".join(f"“{name}”" for name in names))
        for names, of_these in tasks.items()
    )


def _nights(results: "Results", condition: str) -> list[_Night]:
    """Return the logged nights of the first logged seed of a condition."""
    for record in of(results.records, condition):
        if record["log"] and replays(record):
            nights = []
            for task, stages in groupby(replays(record), lambda stage: stage["task"]):
                own = list(stages)
                spikes = sum(sum(stage["spikes"].values()) for stage in own)
                stop = own[-1]["begin"] + own[-1]["steps"]
                nights.append(_Night(condition, record["seed"], task, own[0]["begin"], stop, spikes))
            return nights
    return []


def _shares(wanted: Sequence[int], total: int) -> list[int]:
    """Divide a total so that all get the same, but none more than it wants."""
    shares, left = [0] * len(wanted), total
    for done, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[index] = min(wanted[index], left // (len(wanted) - done))
        left -= shares[index]
    return shares


def _view(night: _Night, reader: SpikeReader, room: int, number: int) -> RasterView:
    there = sum(reader.events_before(x, night.stop) - reader.events_before(x, night.begin) for x in reader.layers)
    if there > night.spikes or not any(epoch.start == night.begin for epoch in reader.epochs):
        raise InputError(
            f"{reader.path} is not of this run, whose record tells of other nights; restore it from a copy"
        )
    stop = night.stop if night.spikes <= room else _stop(night, reader, room)
    milliseconds = f"{1000 * reader.dt:g} ms"
    traces: list[Trace] = []
    axes, shown = _axes(reader), 0
    for i, name in enumerate(reader.layers):
        step, neuron = reader.events(name, night.begin, stop)
        shown += len(step)
        colour = _COLOURS[i % len(_COLOURS)]
        traces.append(
            {"type": "scattergl", "mode": "markers", "name": plain(name), "x": typed(_small(step - night.begin)),
             "y": typed(_small(neuron)), "yaxis": f"y{i + 1 if i else ''}", "hoverinfo": "skip",
             "marker": {"color": colour, "size": 3 if len(step) < 50_000 else 2, "opacity": 0.8}}
        )  # fmt: skip
    margin = {"l": 52, "r": 12, "t": 56, "b": 44}
    window = {"range": [-0.5, max(1, stop - night.begin) - 0.5], "anchor": "free", "position": 0}
    figure = Figure(
        f"raster-{number}",
        f"Spikes of every neuron in the night of condition {night.condition} after task {night.task}",
        traces,
        layout(
            620,
            f"step of the night ({milliseconds} each)",
            "",
            dragmode="zoom",
            xaxis=window,
            margin=margin,
            shapes=_segments(night, reader, stop, shaded=True),
            **axes,
        ),
    )
    whole = stop == night.stop
    covered = " Where points cover each other, the overview below has the mean rates." if shown > _OVERLAP else ""
    rule = f"All {shown:,} spikes of its {night.stop - night.begin:,} steps are shown.{covered}" if whole else (
        f"The night has {night.spikes:,} spikes in {night.stop - night.begin:,} steps, and this page has room for "
        f"{room:,}: the raster shows every spike of the first {stop - night.begin:,} steps ({shown:,} spikes), and the "
        "overview below it the mean rates of the whole night."
    )  # fmt: skip
    overview = None if whole and not covered else _overview(night, reader, number)
    return RasterView(night.condition, night.seed, night.task, rule, figure, overview)


def _stop(night: _Night, reader: SpikeReader, room: int) -> int:
    """Return the last step up to which there is room for all spikes."""
    before = sum(reader.events_before(name, night.begin) for name in reader.layers)
    low, high = night.begin, night.stop
    while low < high:
        middle = (low + high + 1) // 2
        if sum(reader.events_before(name, middle) for name in reader.layers) - before <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _axes(reader: SpikeReader) -> dict[str, Any]:
    """Return an axis of neurons for each population with its name, the first at the bottom, large ones taller."""
    sizes = [reader.populations[name] for name in reader.layers]
    heights = np.sqrt(np.maximum(sizes, 60))
    heights = heights / heights.sum() * (1 - _GAP * (len(sizes) - 1))
    axes, names, bottom = dict[str, Any](), list[dict[str, Any]](), 0.0
    for i, (name, size, height) in enumerate(zip(reader.layers, sizes, heights, strict=True)):
        axes[f"yaxis{i + 1 if i else ''}"] = {
            "domain": [bottom, min(1.0, bottom + float(height))],
            "range": [-0.5, size - 0.5],
            "title": {"text": ""},
            "zeroline": False,
            "nticks": 5,
            "tickformat": "d",
        }
        names.append(
            {"text": f"{plain(name)}, {size:,} neurons", "x": 0, "y": min(1.0, bottom + float(height)), "xref": "paper",
             "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
        )  # fmt: skip
        bottom += float(height) + _GAP
    return {**axes, "annotations": names}


def _segments(night: _Night, reader: SpikeReader, stop: int, *, shaded: bool = False) -> list[dict[str, Any]]:
    """Draw a strip of the segments of a night above its axes, with their names, and shade what is below if asked."""
    own = [x for x in reader.segments() if x.start < stop and x.stop > night.begin]
    colours, shapes = segment_colours(x.name for x in own), list[dict[str, Any]]()
    for segment in own:
        begin, end = segment.start - night.begin - 0.5, min(segment.stop, stop) - night.begin - 0.5
        rect = {"type": "rect", "xref": "x", "yref": "paper", "x0": begin, "x1": end, "line": {"width": 0},
                "fillcolor": colours[segment.name]}  # fmt: skip
        share = (end - begin) / (stop - night.begin)
        if shaded:
            shapes.append({**rect, "y0": 0, "y1": 1, "opacity": 0.12, "layer": "below"})
        across = share > 0.012 * len(segment.name)  # whether there is room for the name, upright or turned
        text = plain(segment.name, 12) if across or (share > 0.008 and len(segment.name) <= 2) else ""
        label = {"text": text, "textangle": 0 if across else -90, "font": {"color": "white", "size": 10}}
        shapes.append({**rect, "y0": 1.045, "y1": 1.085 if shaded else 1.13, "label": label})
    return shapes


def _small(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.uint16 if not len(values) or values.max() < 2**16 else np.uint32)


def _overview(night: _Night, reader: SpikeReader, number: int) -> Figure:
    """Draw the mean rate of a few neurons at a time, over the whole night."""
    steps = night.stop - night.begin
    edges = np.unique(np.linspace(0, steps, min(steps, _TIME_BINS) + 1).astype(np.int64))
    parts, ticks, row = [], [], 0
    for name in reader.layers:
        size = reader.populations[name]
        groups = min(size, _NEURON_BINS)
        of_neuron = np.arange(size) * groups // size
        counts = np.zeros(groups * (len(edges) - 1))
        for step, neuron in reader.iter_events(name, night.begin, night.stop):
            at = np.searchsorted(edges, step.astype(np.int64) - night.begin, side="right") - 1
            counts += np.bincount(of_neuron[neuron] * (len(edges) - 1) + at, minlength=len(counts))
        seconds = np.bincount(of_neuron)[:, None] * np.diff(edges)[None, :] * reader.dt
        parts.append(counts.reshape(groups, -1) / seconds)
        ticks.append((row + groups / 2, plain(name)))
        row += groups
    rates = np.concatenate(parts).astype(np.float32)
    z = {**typed(rates), "shape": f"{rates.shape[0]}, {rates.shape[1]}"}
    heat = {
        "type": "heatmap",
        "x": typed(((edges[:-1] + edges[1:]) / 2).astype(np.float32)),
        "z": z,
        "colorscale": "Cividis",
        "zmin": 0,
        "zmax": float(np.quantile(rates, 0.995)) or 1.0,
        "hovertemplate": "step %{x:.0f}: %{z:.3~g} Hz<extra></extra>",
        "colorbar": {"title": {"text": "Hz"}, "thickness": 10, "outlinewidth": 0},
    }
    names = {"tickvals": [at for at, _ in ticks], "ticktext": [name for _, name in ticks], "showgrid": False}
    return Figure(
        f"overview-{number}",
        f"Mean rates of neurons over the whole night of condition {night.condition}",
        [heat],
        layout(
            320,
            "step of the night",
            "",
            margin=beside(reader.layers) | {"t": 44},
            xaxis={"showgrid": False},
            yaxis=names,
            shapes=_segments(night, reader, night.stop),
        ),
    )
