"""Rasters of logged nights for the page: every spike of a night while there is room, else a window and an overview."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurosleep.experiments.page.figures import Figure, Trace, beside, layout, of, plain, typed
from neurosleep.experiments.page.figures_night import replays
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.reader import SpikeReader

if TYPE_CHECKING:
    from neurosleep.experiments.results import Results

SPIKES_AT_MOST = 3_000_000
"""So many spikes are in a page, of all its rasters together: some 20 MB."""
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
    title
        Its condition, seed and task.
    rule
        Which of its spikes are shown.
    raster, overview
        Its figures; no overview if all its spikes are shown and seldom cover each other.
    """

    title: str
    rule: str
    raster: Figure
    overview: Figure | None


@dataclass(frozen=True)
class _Night:
    condition: str
    seed: int
    task: int
    begin: int
    stop: int
    spikes: int


def raster_views(
    results: "Results", night: int | None = None, spikes_at_most: int = SPIKES_AT_MOST
) -> tuple[list[RasterView], list[str]]:
    """Return the raster of one logged night of each condition, and what could not be read.

    Parameters
    ----------
    results
        Of the experiment.
    night
        The night after this task; that after the last if None.
    spikes_at_most
        So many spikes are kept, of all rasters together, divided so that nights that need less leave it to the others.

    Raises
    ------
    InputError
        If spikes of some nights are kept, but none of the night asked for.
    """
    nights = [found for name in results.experiment.conditions if (found := _night(results, name, night))]
    if night is not None and not nights and any(record["log"] for record in results.records.values()):
        raise InputError(f"no spikes are kept of a night after task {night}: give the number of another task")
    views, unread = list[RasterView](), list[str]()
    for chosen, room in zip(nights, _shares([n.spikes for n in nights], spikes_at_most), strict=True):
        try:
            with results.spikes(chosen.condition, chosen.seed) as reader:
                views.append(_view(chosen, reader, room, len(views)))
        except InputError as error:
            unread.append(str(error))
    return views, unread


def _night(results: "Results", condition: str, task: int | None) -> _Night | None:
    for record in of(results.records, condition):
        stages = replays(record) if record["log"] else []
        last = stages[-1]["task"] if task is None and stages else task
        if chosen := [stage for stage in stages if stage["task"] == last]:
            spikes = sum(sum(stage["spikes"].values()) for stage in chosen)
            stop = chosen[-1]["begin"] + chosen[-1]["steps"]
            return _Night(condition, record["seed"], chosen[0]["task"], chosen[0]["begin"], stop, spikes)
    return None


def _shares(wanted: Sequence[int], total: int) -> list[int]:
    """Divide a total so that all get the same, but none more than it wants."""
    shares, left = [0] * len(wanted), total
    for done, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[index] = min(wanted[index], left // (len(wanted) - done))
        left -= shares[index]
    return shares


def _view(night: _Night, reader: SpikeReader, room: int, number: int) -> RasterView:
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
            620, f"step of the night ({milliseconds} each)", "", dragmode="zoom", xaxis=window, margin=margin, **axes
        ),
    )
    whole = stop == night.stop
    covered = " Where points cover each other, the overview below has the mean rates." if shown > _OVERLAP else ""
    rule = f"All {shown:,} spikes of its {night.stop - night.begin:,} steps are shown.{covered}" if whole else (
        f"The night has {night.spikes:,} spikes in {night.stop - night.begin:,} steps, and this page has room for "
        f"{room:,}: the raster shows every spike of the first {stop - night.begin:,} steps ({shown:,} spikes), and the "
        "overview below it the mean rates of the whole night."
    )  # fmt: skip
    title = f"{night.condition}: seed {night.seed}, night after task {night.task}"
    return RasterView(title, rule, figure, None if whole and not covered else _overview(night, reader, number))


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
        layout(320, "step of the night", "", margin=beside(reader.layers), xaxis={"showgrid": False}, yaxis=names),
    )
