"""Figures of rhythms: power spectra of rates, and stages of sleep with the rates of all populations below them."""

import os
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosleep.analysis.spectrum import Spectrum
from neurosleep.figures.panels import STYLE, TASK_COLORS, save
from neurosleep.interchange.source import Log, Spikes, open_spikes
from neurosleep.sims.errors import InputError


def draw_spectrum(found: Spectrum, path: str | os.PathLike[str], *, highest: float | None = None) -> Path:
    """Draw power spectra as a PNG, and as an SVG beside it; return where the PNG is.

    Parameters
    ----------
    found
        What `neurosleep.analysis.spectrum` found.
    path
        Of the PNG.
    highest
        Highest frequency shown, in Hz; None for all.
    """
    with rc_context(STYLE):
        figure = Figure((5.5, 3.2), layout="constrained")
        panel_spectrum(figure.subplots(), found, highest)
        return save(figure, Path(path))


def panel_spectrum(axes: Axes, found: Spectrum, highest: float | None = None) -> None:
    """Draw a line a population, both axes logarithmic."""
    shown = (found.frequencies > 0) & (found.frequencies <= (np.inf if highest is None else highest))
    for number, (name, power) in enumerate(found.power.items()):
        color = TASK_COLORS[number % len(TASK_COLORS)]
        axes.loglog(found.frequencies[shown], power[shown], color=color, linewidth=1, label=name)
    axes.set(xlabel="frequency (Hz)", ylabel="power of the rate (Hz²/Hz)")
    axes.legend(fontsize=7)
    axes.set_title(f"Rates of populations, {found.segments} segments of {1 / found.resolution:g} s")


def draw_hypnogram(log: Log, path: str | os.PathLike[str], *, bins: int = 500) -> Path:
    """Draw the stages of a log over time, and below them each population's mean rate.

    Parameters
    ----------
    log
        As of `open_spikes`.
    path
        Of the PNG; an SVG is beside it.
    bins
        Equal parts of time, whose rates are drawn; no more than there are steps.

    Raises
    ------
    InputError
        As `open_spikes`, and if there are no steps.
    """
    with open_spikes(log) as spikes, rc_context(STYLE):
        if spikes.start == spikes.stop:
            raise InputError(f"there are no steps to draw in {spikes.reader.path}")
        rows = len(spikes.populations)
        figure = Figure((7.5, 1.2 + 1.1 * rows), layout="constrained")
        above, *below = figure.subplots(rows + 1, 1, sharex=True)
        panel_stages(above, spikes)
        for number, (axes, name) in enumerate(zip(below, spikes.populations, strict=True)):
            panel_rate(axes, spikes, name, bins, TASK_COLORS[number % len(TASK_COLORS)])
        below[-1].set_xlabel("time (s)")
        figure.align_ylabels()
        return save(figure, Path(path))


def panel_stages(axes: Axes, spikes: Spikes) -> None:
    """Draw the stages as steps: one level a name, the first to appear on top."""
    stages = [stage for stage in spikes.stages if stage.start < stage.stop]
    names = list(dict.fromkeys(stage.name for stage in stages))
    edges = [stages[0].start * spikes.dt, *(stage.stop * spikes.dt for stage in stages)]
    axes.stairs([names.index(stage.name) for stage in stages], edges, baseline=None, color="#222222", linewidth=1.5)
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlim=(edges[0], edges[-1]))


def panel_rate(axes: Axes, spikes: Spikes, population: str, bins: int, color: str) -> None:
    """Draw a population's mean rate in equal parts of time; where nothing was logged there is a gap."""
    parts = spikes.equal_bins(min(bins, spikes.stop - spikes.start))
    spent = spikes.logged_seconds(parts) * spikes.size(population)
    counts = np.concatenate([piece.sum(1) for piece in spikes.binned(population, parts)])
    rates = np.divide(counts, spent, out=np.full(len(parts), np.nan), where=spent > 0)
    axes.stairs(rates, np.append(parts[:, 0], spikes.stop) * spikes.dt, baseline=None, color=color)
    axes.set(ylabel=f"{population}\n(Hz)", ylim=(0, None))
