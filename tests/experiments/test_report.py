import base64
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from markupsafe import escape

from neurosleep.cli import cli
from neurosleep.experiments import Condition, SilencedNeurons, load, run
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.page import answer, differences, figures, figures_night, raster_view, report
from neurosleep.experiments.page.raster_view import _shares, raster_views
from neurosleep.experiments.page.section import Section
from neurosleep.experiments.record import RunId
from neurosleep.experiments.results import Results
from neurosleep.figures import conditions as shown
from neurosleep.sims.errors import InputError

_spec = importlib.util.spec_from_file_location("report_pages", Path(__file__).parent.parent / "browser" / "conftest.py")
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

TWO = {"awake": Condition(), "asleep": Condition([pages.NIGHT])}


@pytest.fixture
def results(tmp_path):
    return Results.open(pages.fill(tmp_path / "two", pages.tiny(TWO, 4)))


def test_the_same_results_give_the_same_bytes_and_replace_the_page(results):
    path = report.write_report(results)
    first = path.read_bytes()
    path.write_text("old")
    assert report.write_report(results) == results.folder / "report.html"
    assert path.read_bytes() == first
    assert [file.name for file in results.folder.iterdir() if "report" in file.name] == ["report.html"]


def test_the_page_asks_for_nothing_from_elsewhere(results):
    page = report.write_report(results).read_text(encoding="utf-8")
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)\s*=(?!"data:image/png)|url\(|@import', own)
    assert "default-src 'none'" in own
    assert own.count("application/json") == 4  # the figures; what nights there are; two nights


def test_the_answer_says_effect_interval_test_and_correction(results):
    row = results.compare("accuracy", "asleep", "awake")
    said = " ".join(answer.answer(results, [row]))
    for number in (row.effect, row.low, row.high):
        assert f"{100 * number:+.1f}".replace("-", "\N{MINUS SIGN}") in said
    assert "paired t-test" in said
    assert "Holm" not in said  # one comparison
    three = {**TWO, "longer": Condition([replace(pages.NIGHT, steps=500)])}
    more = Results.open(pages.fill(results.folder.parent / "three", pages.tiny(three, 3)))
    assert "p and intervals corrected for 2 comparisons by the largest t" in " ".join(
        answer.answer(more, list(more.compare_all("accuracy")))
    )


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_answer_with_few_runs_claims_nothing(tmp_path, seeds):
    experiment = pages.tiny(TWO, seeds)
    missing = tuple(run for run in experiment.runs if run != RunId("asleep", 0))
    found = Results.open(pages.fill(tmp_path / "few", experiment, missing=missing))
    said = " ".join(answer.answer(found, report._compared(found, "accuracy")))
    assert "cannot be compared yet" in said
    assert "p =" not in said
    assert "p <" not in said
    assert report.write_report(found).exists()


def test_settings_are_those_that_differ(results):
    conditions = {
        "awake": Condition(),
        "short": Condition([pages.NIGHT]),
        "long": Condition([replace(pages.NIGHT, steps=1_000)], lesions=[SilencedNeurons("hidden1", 0.1)]),
    }
    settings = differences.settings(pages.tiny(conditions, 1))
    dash = "\N{EN DASH}"
    assert settings == {
        "night": ["none", "SpontaneousReplay", "SpontaneousReplay"],
        "SpontaneousReplay steps": [dash, "400", "1,000"],
        "lesions": ["none", "none", "SilencedNeurons (population hidden1, share 0.1)"],
    }


def test_the_interval_is_that_of_the_summary(results):
    mean, low, high = shown.interval([100 * record["accuracy"] for record in figures.of(results.records, "asleep")])
    row = results.summary().loc["asleep"]
    assert (mean, low, high) == pytest.approx((row["accuracy %"], row["low"], row["high"]))


def test_every_seed_is_a_point_and_pairs_are_joined(results):
    figure = figures.accuracy(results.records, list(TWO))
    pairs, *points = figure.data
    expected = [100 * results.records[RunId(name, 2)]["accuracy"] for name in TWO]
    assert pairs["x"][6:8] == expected
    assert points[0]["x"] == [100 * results.records[RunId("awake", seed)]["accuracy"] for seed in range(4)]


def test_a_raster_has_every_spike_of_its_night(results):
    rasters = raster_views(results, night=2)
    assert (rasters.unread, rasters.left_out, rasters.opened) == ([], "", 1)
    first, view = rasters.views
    assert [(v.task, v.overview) for v in (first, view)] == [(1, None), (2, None)]
    with results.spikes("asleep", 0) as reader:
        for trace, name in zip(view.raster.data, reader.layers, strict=True):
            step, neuron = reader.events(name, 400, 800)
            assert np.array_equal(_decoded(trace["x"]), step - 400)
            assert np.array_equal(_decoded(trace["y"]), neuron)


def test_a_night_with_too_many_spikes_is_a_window_and_an_overview(results):
    rasters = raster_views(results, spikes_at_most=300)
    (view,) = rasters.views
    assert (rasters.left_out, rasters.task_left_out) == ("after task 2 of “asleep”", 2)
    shown = sum(len(_decoded(trace["x"])) for trace in view.raster.data)
    assert 280 <= shown <= 300
    assert "840 spikes" in view.rule
    assert f"({shown:,} spikes)" in view.rule
    rates = _decoded(view.overview.data[0]["z"]).reshape(-1, 400)
    cells = np.repeat([50 / 40, 80 / 40, 1], [40, 40, 10])
    assert len(rates) == 90
    assert rates[40:80].mean() == pytest.approx(6 * 80 / 80 / 0.4, rel=1e-3)
    assert len(cells) == len(rates)


def test_points_that_cover_each_other_come_with_an_overview(results, monkeypatch):
    monkeypatch.setattr(raster_view, "_OVERLAP", 839)
    view, _ = raster_views(results).views
    assert sum(len(_decoded(trace["x"])) for trace in view.raster.data) == 840
    assert view.rule.startswith("All 840 spikes of its 400 steps are shown. Where points cover")
    assert view.overview is not None
    monkeypatch.setattr(raster_view, "_OVERLAP", 840)
    assert raster_views(results).views[0].overview is None


def test_room_that_one_night_does_not_need_goes_to_the_others():
    assert _shares([10, 1_000, 1_000], 1_010) == [10, 500, 500]
    assert _shares([10, 20], 1_000) == [10, 20]
    assert _shares([], 10) == []


def test_a_night_that_is_not_there_is_refused(results):
    with pytest.raises(InputError, match="night after task 7"):
        report.write_report(results, night=7)
    assert not (results.folder / "report.html").exists()


def test_a_damaged_log_is_told_and_the_page_is_written(results):
    path = results.spikes("asleep", 0).path
    path.write_bytes(b"nothing")
    rasters = raster_views(results)
    assert (rasters.views, len(rasters.unread)) == ([], 1)
    assert str(path) in rasters.unread[0]
    assert "seed-0.h5" in report.write_report(results).read_text(encoding="utf-8")


def flip_a_chunk(path):
    with h5py.File(path, "r+") as file:
        file["spikes/output/step"][3] = 2**31


def of_another_night(path):
    with h5py.File(path, "r+") as file:
        rows = file["epochs"][()]
        rows["start"] = 0, 399
        file["epochs"][()] = rows


def with_more_spikes(path):
    pages.write_spikes(path, per_neuron=20)


def cut(path):
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [flip_a_chunk, of_another_night, with_more_spikes, cut])
def test_no_damage_of_a_log_stops_the_page(results, damage):
    path = results.spikes_file(RunId("asleep", 0))
    damage(path)
    written = report.write_page(results)
    assert all(line.startswith(f"condition 'asleep', seed 0: {path} is ") for line in written.unread)
    assert "\n" not in written.unread[0]
    page = written.path.read_text(encoding="utf-8")
    assert escape(written.unread[0]) in page
    assert "8 of 8 runs finished" in page
    assert (results.folder / "figures" / "accuracy.png").exists()


def test_a_run_that_cannot_be_read_is_told_of_at_the_top(results):
    ExperimentFolder(results.folder).run_file(RunId("awake", 1)).write_text("{", encoding="utf-8")
    page = report.write_report(Results.open(results.folder)).read_text(encoding="utf-8")
    assert page.index("1 run cannot be read") < page.index("Conditions</h2>")
    assert "7 of 8 runs finished" in page


def _with_stages(results, *stages):
    record = json.loads(json.dumps(results.records[RunId("asleep", 0)]))
    record["stages"] = [{"task": task, "kind": kind, **length} for task, kind, length in stages]
    return {RunId("asleep", 0): record}


def test_every_night_is_in_the_hypnogram_its_stages_one_after_the_other(results):
    night = [("MagnitudePruning", {}), ("NREM", {"iterations": 20}), ("REM", {"iterations": 5})]
    records = _with_stages(results, *((task, *stage) for task in (1, 2) for stage in night))
    figure = figures_night.hypnogram(records, ["asleep"])
    drawn = {trace["name"]: trace["x"] for trace in figure.data if "name" in trace}
    after = 25 + 0.12 * 25  # the second night, after a gap
    assert drawn == {
        "magnitude pruning": [0, 0, None, after, after, None],
        "REM": [20, 25, None, after + 20, after + 25, None],
        "NREM": [0, 20, None, after, after + 20, None],
    }
    sizes = {trace["name"]: trace["marker"]["size"] for trace in figure.data if "name" in trace}
    assert sizes["magnitude pruning"][0] > 0  # takes no time, and is seen nevertheless
    assert sizes["NREM"] == [0] * 6
    assert figure.layout["xaxis"]["ticktext"] == ["1", "2"]
    assert figure.layout["yaxis"]["ticktext"] == ["asleep<br><i>2 \N{MULTIPLICATION SIGN} 25 iterations</i>"]
    assert figures_night.hypnogram({}, ["asleep"]) is None


def test_nights_that_grow_begin_together_and_say_their_sum(results):
    grows = _with_stages(results, *((t, "SpontaneousReplay", {"steps": 100 * t}) for t in (1, 2)))
    same = _with_stages(results, *((t, "SpontaneousReplay", {"steps": 50}) for t in (1, 2)))
    records = {RunId("grows", 0): grows[RunId("asleep", 0)], RunId("same", 0): same[RunId("asleep", 0)]}
    figure = figures_night.hypnogram(records, ["grows", "same"])
    (replay,) = (trace for trace in figure.data if "name" in trace)
    second = 100 + 0.12 * 200
    assert replay["x"] == [0, 100, None, second, second + 200, None, 0, 50, None, second, second + 50, None]
    assert "grows: 2 nights, 300 steps; same: 2 \N{MULTIPLICATION SIGN} 50 steps" in figure.label
    only = _with_stages(results, *((t, "GradedDownscaling", {}) for t in (1, 2)))
    assert "asleep: 2 nights" in figures_night.hypnogram(only, ["asleep"]).label


def test_axes_of_accuracy_hold_no_impossible_values(results):
    two = {run: record for run, record in results.records.items() if run.seed < 2}
    ends = [shown.interval([100 * r["accuracy"] for r in figures.of(two, name)]) for name in TWO]
    assert max(high for _, _, high in ends) > 101  # two seeds know that little
    low, high = figures.accuracy(two, list(TWO)).layout["xaxis"]["range"]
    assert low >= -1
    assert high == 101


def test_numbers_in_the_heat_map_can_be_read(results):
    heat, numbers = figures.tasks(results.records, list(TWO)).data
    shares = [share for row in heat["z"] for share in row]
    assert numbers["text"] == [f"{share:.0f}" for share in shares]
    assert numbers["textfont"]["color"] == ["#ffffff" if share < 50 else "#000000" for share in shares]


def test_no_minus_before_zero_and_no_line_break_within_a_number():
    assert (answer.points(-0.0001), answer.points(-0.012)) == ("+0.0", "\N{MINUS SIGN}1.2")
    tied = answer.tied("95 % of 3 points (20 seeds, p = 0.5, n = 4) and p < 0.001").replace("\N{NO-BREAK SPACE}", "_")
    assert tied == "95_% of 3_points (20_seeds, p_=_0.5, n_=_4) and p_<_0.001"


def test_first_nights_come_first_and_what_found_no_room_is_told(tmp_path):
    five = {"awake": Condition()} | {f"night {n}": Condition([replace(pages.NIGHT, steps=400 + n)]) for n in range(5)}
    found = Results.open(pages.fill(tmp_path / "five", pages.tiny(five, 2, "all")))
    rasters = raster_views(found, spikes_at_most=6 * 840)
    views = [(view.condition, view.task) for view in rasters.views]
    assert views == [("night 0", 1), ("night 0", 2), *((f"night {n}", 1) for n in range(1, 5))]
    assert rasters.left_out == "after task 2 of 4 conditions"
    assert (rasters.opened, rasters.other_seeds) == (0, 5)
    other = raster_views(found, night=2, spikes_at_most=5 * 840)
    assert [(view.task, view.seed) for view in other.views] == [(2, 0)] * 5
    assert (
        raster_view._listed([(1, "a"), (2, "a"), (3, "a"), (3, "b")])
        == "after tasks 1 to 2 of “a”; after task 3 of “a”, “b”"
    )


def test_nights_left_out_are_named_only_where_there_are_some(results, monkeypatch):
    assert "write_report(Results.open(" not in report.write_report(results).read_text(encoding="utf-8")
    monkeypatch.setattr(report, "raster_views", lambda results, night: raster_views(results, night, 840))
    page = report.write_report(results).read_text(encoding="utf-8")
    assert "Left out are the nights after task 2 of “asleep”" in page
    assert "night=2)" in page
    single = Results.open(pages.fill(results.folder.parent / "single", pages.tiny(TWO, 1, "none")))
    page = report.write_report(single).read_text(encoding="utf-8")
    assert "write_report(Results.open(" not in page
    assert "No spikes were kept" in page


def test_chance_is_a_labelled_line(results):
    for figure, axis in ((figures.accuracy, "x"), (figures.over_time, "y")):
        layout = figure(results.records, list(TWO)).layout
        (line,), (label,) = layout["shapes"], layout["annotations"]
        assert line[f"{axis}0"] == line[f"{axis}1"] == label[axis] == 25  # four classes
        assert label["text"] == "chance 25 %"
    low, high = figures.accuracy(results.records, list(TWO)).layout["xaxis"]["range"]
    assert low < 25 < high
    for record in results.records.values():
        for task in record["tasks"]:
            task.pop("classes", None)
    assert "shapes" not in figures.over_time(results.records, list(TWO)).layout


def test_many_conditions_have_a_look_each_and_no_bands_that_hide_each_other(results):
    names = [f"c{n}" for n in range(24)]
    assert len({style.colour for style in shown.styles(names).values()}) == 24
    record = results.records[RunId("asleep", 0)]
    records = {RunId(name, seed): {**record, "seed": seed} for name in names for seed in range(2)}
    for some, visible in ((names[:8], True), (names, False)):
        data = figures.over_time(records, some).data
        assert {trace["visible"] for trace in data if trace.get("fill")} == {visible}
        assert {trace["meta"] for trace in data} == set(range(len(some)))
    lines = figures.plain("rehearsal:0.02+src", 16), figures.plain("no_break" + "x" * 40, 10)
    assert lines == ("rehearsal:0.02<br>+src", "no_breakxx<br>xxxxxxxxxx<br>…")


def test_no_difference_is_said_where_the_interval_holds_0(results):
    row = replace(results.compare("accuracy", "asleep", "awake"), effect=0.1, low=-0.1, high=0.3, p=0.2)
    said = " ".join(answer.answer(results, [row]))
    assert (
        "No difference of “asleep” from it is shown: +10.0 points (95 % interval \N{MINUS SIGN}10.0 to +30.0, p = 0.200"
        in said
    )
    said = " ".join(answer.answer(results, [replace(row, low=0.01, p=0.04)]))
    assert "“asleep” differs from it by +10.0 points (95 % interval +1.0 to +30.0" in said


def test_of_many_conditions_the_answer_names_those_that_differ(results):
    row = results.compare("accuracy", "asleep", "awake")
    rows = [replace(row, first=f"c{n}", effect=n / 100, p=0.01 if n > 3 else 0.5) for n in range(10)]
    said = " ".join(answer.answer(results, rows))
    assert "6 of the 9 other" not in said
    assert "6 of the 10 other conditions differ from it with p < 0.05, most of all: “c9” by +9.0 points" in said
    assert "“c6” by" in said
    assert "“c5”" not in said
    none = " ".join(answer.answer(results, [replace(row, p=0.5) for row in rows]))
    assert "None of the 10 other conditions differs from it with p < 0.05. Differences are" in none


def test_what_an_experiment_adds_is_on_the_page(results, tmp_path):
    png = tmp_path / "drawn.png"
    png.write_bytes(b"\x89PNG made up")
    rows = [{"layer": "hidden <1>", "spikes": 1_000, "s.d.": 0.01234}, {"layer": "output", "spikes": 2, "s.d.": None}]
    extras = [Section("Replay & more", "Means of 4 seeds.", rows, [png]), Section("", "Drawn once more.", (), [png])]
    page = report.write_report(results, extras).read_text(encoding="utf-8")
    assert page.index("<h2>Nights</h2>") < page.index("<h2>Replay &amp; more</h2>") < page.index("To do it again</h2>")
    assert "hidden &lt;1&gt;</th><td>1000</td><td>0.0123</td>" in page
    assert "output</th><td>2</td><td>\N{EN DASH}</td>" in page
    assert page.count(f'src="data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}"') == 2
    assert "<figcaption>Drawn once more.</figcaption>" in page
    with pytest.raises(InputError, match="same columns, layer, spikes"):
        Section("", "", [*rows, {"layer": "x"}])
    for bad, why in ((tmp_path / "none.png", "cannot be read"), (results.folder / "experiment.toml", "no PNG")):
        with pytest.raises(InputError, match=why):
            report.write_report(results, [Section("", "", (), [bad])])


def test_a_report_has_its_figures_beside_it(results):
    page = report.write_report(results)
    files = sorted(path.name for path in (page.parent / "figures").iterdir())
    names = ("accuracy", "accuracy-over-time", "hypnogram", "raster", "seen", "tasks")
    assert files == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    results.spikes("asleep", 0).path.write_bytes(b"nothing")
    written = report.write_figures(results)
    assert {path.stem for path in written} == set(names) - {"raster", "seen"}
    no_run = pages.tiny(TWO, 1)
    empty = Results.open(pages.fill(results.folder.parent / "no", no_run, missing=tuple(no_run.runs)))
    assert report.write_figures(empty) == []


def test_joint_learning_is_a_level(results):
    run = RunId("joint", 0)
    joint = {**pages.record(pages.tiny({"joint": Condition(method="joint")}, 1), run, None)}
    joint["checkpoints"] = [{"name": "T1", "task": 1, "task_accuracies": [0.9, 0.8], "accuracy": 0.85}]
    figure = figures.over_time({**results.records, run: joint}, [*TWO, "joint"])
    assert figure.data[0]["y"] == [85.0, 85.0]
    assert figure.data[0]["line"]["dash"] == "dash"


def test_the_command_writes_the_page(results):
    done = CliRunner().invoke(cli, ["report", str(results.folder)])
    assert (done.exit_code, (results.folder / "report.html").exists()) == (0, True)
    assert done.output.index("awake") < done.output.index("asleep")


def _decoded(array):
    return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])


def test_tripartite_sleep_adds_its_figures(tmp_path):
    small = ("dataset=mnist-small", "images_per_task=40", "hidden=[20, 20]", "latents=5", "night.0.iterations=4")
    experiment = load("tripartite-mnist", [*small, "looks.inputs=20", "looks.every=2", "seeds=1"])
    page = report.write_report(run(experiment, tmp_path, workers=1, progress=False)).read_text("utf-8")
    figures = {path.name for path in (tmp_path / "figures").glob("figure*.png")}
    assert figures >= {"figure2.png"}
    assert "Within tasks" in page
    assert page.count("data:image/png;base64,") > len(figures)
