"""Figures of rhythms show what was found, and the same spikes give the same bytes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from neurosleep.analysis import spectrum
from neurosleep.figures.rhythms import draw_hypnogram, draw_spectrum, panel_rate, panel_spectrum, panel_stages
from neurosleep.interchange import open_spikes
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog

STAGES = {"N2": 4000, "N3": 6000, "downscaling": 0, "REM": 3000, "second N3": 2000}
DT = 0.001


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Four stages with rhythms of their own, and one that takes no time."""
    path, rng = tmp_path_factory.mktemp("rhythms") / "night.h5", np.random.default_rng(0)
    with SpikeLog(path, {"input": 50, "hidden1": 20}, dt=DT) as spikes:
        for name, steps in STAGES.items():
            spikes.begin_epoch(name.split()[-1], seed=0)
            wave = 20 * (1 + (0.9 if "N3" in name else 0.1) * np.cos(2 * np.pi * DT * np.arange(steps)))
            events = [np.nonzero(rng.random((steps, size)) < wave[:, None] * DT) for size in (50, 20)]
            spikes.append([tuple(x.astype(np.uint32) for x in event) for event in events], steps)
            spikes.end_epoch()
    return path


def test_the_spectrum_is_drawn_as_it_is(log) -> None:
    found, axes = spectrum(log, night=1, resolution=0.5), Figure().subplots()
    panel_spectrum(axes, found, 100)
    line = axes.get_lines()[0]
    assert line.get_label() == "input"
    assert line.get_xdata()[0] == 0.5
    assert line.get_xdata()[-1] == 100
    np.testing.assert_array_equal(line.get_ydata(), found.power["input"][1:201])
    assert line.get_xdata()[line.get_ydata().argmax()] == 1.0


def test_stages_and_rates_are_drawn_over_the_same_time(log) -> None:
    figure = Figure()
    above, below = figure.subplots(2)
    with open_spikes(log) as spikes:
        panel_stages(above, spikes)
        panel_rate(below, spikes, "input", 30, "k")
        counts = spikes.trace("input").reshape(30, 500).sum(1)
    levels, edges, _ = above.patches[0].get_data()
    assert [label.get_text() for label in above.get_yticklabels()] == ["N2", "N3", "REM"]
    assert levels.tolist() == [0, 1, 2, 1]
    np.testing.assert_allclose(edges, [0, 4, 10, 13, 15])
    rates, edges, _ = below.patches[0].get_data()
    np.testing.assert_allclose(rates, counts / (50 * 0.5))
    np.testing.assert_allclose(edges, np.arange(31) * 0.5)


def test_the_same_spikes_give_the_same_files(log, tmp_path) -> None:
    found = spectrum(log, night=1, resolution=0.5)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw_spectrum(found, tmp_path / name / "spectrum.png")
        draw_hypnogram(log, tmp_path / name / "hypnogram.png")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["hypnogram.png", "hypnogram.svg", "spectrum.png", "spectrum.svg"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nothing_is_drawn_of_no_steps(log, tmp_path) -> None:
    with open_spikes(log, start=10, stop=10) as spikes, pytest.raises(InputError, match="no steps to draw"):
        draw_hypnogram(spikes, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
