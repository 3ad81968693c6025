"""Results: every number at its place, from a folder in whatever state."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

import neurosleep as ns
from neurosleep.experiments import Results, running
from neurosleep.experiments.folder import ExperimentFolder
from neurosleep.experiments.loading import from_toml
from neurosleep.experiments.record import RunId

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import experiments_tiny

        yield experiments_tiny.TINY


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    return running.run(tiny, tmp_path_factory.mktemp("whole") / "out", workers=1, progress=False)


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "out")
    return tmp_path / "out"


def test_every_number_is_at_its_place(tiny, whole) -> None:
    data = whole.dataset
    assert data.condition.values.tolist() == ["awake", "src/1", "joint"]
    assert data.seed.values.tolist() == [0, 1, 2, 3]
    assert data.time.values.tolist() == ["T1", "S1", "T2", "S2"]
    for cell, record in whole.records.items():
        own = data.sel(condition=cell.condition, seed=cell.seed)
        assert float(own.accuracy) == record["accuracy"]
        assert own.task_name.values.tolist() == [task["name"] for task in record["tasks"]]
        for point in record["checkpoints"]:
            time = "T2" if cell.condition == "joint" else point["name"]
            assert float(own.total_accuracy.sel(time=time)) == point["accuracy"]
            assert own.task_accuracy.sel(time=time).values.tolist() == point["task_accuracies"]
        assert math.isnan(own.total_accuracy.sel(time="S1")) == (cell.condition != "src/1")
        for stage in record["stages"]:
            there = own.sel(stage=f"{stage['task']}.{stage['index']}")
            assert int(there.synaptic_operations) == stage["synaptic_operations"] > 0
            for population, rate in stage["rates"].items():
                assert float(there.rate.sel(population=population)) == rate
                assert int(there.spikes.sel(population=population)) == stage["spikes"][population]
            for change in stage["weight_changes"]:
                assert float(there.potentiated.sel(layer=change["layer"])) == change["potentiated"] / change["size"]
        assert np.isnan(own.rate.values).all() == (cell.condition != "src/1")
    assert all("units" in array.attrs for array in data.data_vars.values() if array.dtype.kind == "f")
    assert all("long_name" in array.attrs for array in data.variables.values())
    assert data.stage_kind.sel(condition="src/1").values.tolist() == ["SpontaneousReplay"] * 2
    assert data.stage_kind.sel(condition="awake").values.tolist() == [""] * 2


def test_measures_worked_by_hand(whole, copied) -> None:
    file = copied / "runs" / "src%2F1" / "seed-2.json"
    record = json.loads(file.read_text())
    # The first task falls from 0.9 (at S1) to 0.3; the last is at 0.8 in the end.
    for point, accuracies in zip(record["checkpoints"], ([0.7, 0.0], [0.9, 0.0], [0.1, 0.95], [0.3, 0.8]), strict=True):
        point["task_accuracies"] = accuracies
    file.write_text(json.dumps(record))
    own = Results.open(copied).dataset.sel(condition="src/1", seed=2)
    assert float(own.forgetting) == pytest.approx(0.6)
    assert float(own.old_accuracy) == float(own.first_task_accuracy) == pytest.approx(0.3)
    assert float(own.new_accuracy) == pytest.approx(0.8)
    joint = whole.dataset.sel(condition="joint")
    assert np.isnan(joint.forgetting).all()


def test_files_say_everything_and_are_the_same_bytes(tiny, whole, copied) -> None:
    with xarray.open_dataset(whole.folder / "results.nc", engine="h5netcdf") as file:
        assert file.load().identical(whole.dataset)
        assert file.attrs["title"] == tiny.question
        assert from_toml(file.attrs["experiment"]) == tiny
        assert file.attrs["complete"] == 1
        assert json.loads(file.attrs["versions"])[0]["neurosleep"] == ns.__version__
        assert "cores" in json.loads(file.attrs["machine"])[0]
    for name in ("results.nc", "results.csv"):
        (copied / name).unlink()
    code = f"from neurosleep.experiments import Results; Results.open({str(copied)!r}).save()"
    subprocess.run([sys.executable, "-c", code], check=True)  # some seconds later, with other hashes
    for name in ("results.nc", "results.csv"):
        assert (copied / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_tidy_table(whole) -> None:
    table = whole.table()
    assert list(table.columns[:3]) == ["metric", "condition", "seed"]
    row = table[
        (table.metric == "task_accuracy") & (table.condition == "src/1") & (table.seed == 3) & (table.time == "S2")
    ]
    assert row.task.tolist() == [0, 1]
    assert row.value.tolist() == whole.records["src/1", 3]["checkpoints"][-1]["task_accuracies"]
    assert set(row.units) == {"share"}
    finite = sum(int(np.isfinite(a.values).sum()) for a in whole.dataset.data_vars.values() if a.dtype.kind == "f")
    assert len(table) == finite


def test_summary_and_words(tiny, whole) -> None:
    summary = whole.summary()
    accuracies = [100 * whole.records["src/1", seed]["accuracy"] for seed in range(4)]
    assert summary.loc["src/1", "accuracy %"] == pytest.approx(np.mean(accuracies))
    assert summary.loc["src/1", "s.d."] == pytest.approx(np.std(accuracies, ddof=1))
    assert summary.loc["src/1", "seeds"] == 4
    half = 3.18245 * np.std(accuracies, ddof=1) / 2
    assert summary.loc["src/1", "high"] == pytest.approx(np.mean(accuracies) + half, abs=1e-3)
    assert repr(whole).startswith(f"{tiny.question}\n12 of 12 runs finished\n  awake: ")
    assert "Does &lt;sleep&gt; help &amp; how?" in whole._repr_html_()
    assert whole.complete


def test_comparisons_of_an_experiment(whole) -> None:
    one = whole.compare("accuracy", "joint", "awake")
    differences = [whole.records["joint", n]["accuracy"] - whole.records["awake", n]["accuracy"] for n in range(4)]
    assert one.effect == pytest.approx(np.mean(differences))
    assert one.n == 4
    family = whole.compare_all("accuracy")
    assert [row.first for row in family] == ["src/1", "joint"]
    assert family["joint"].effect == one.effect
    assert family["joint"].comparisons == 2
    other = whole.compare_all("accuracy", "joint", test="permutation")
    assert other["awake"].effect == pytest.approx(-one.effect)
    assert other["awake"].p_uncorrected * 2**4 % 2 == pytest.approx(0)  # exact: of all signs of four differences


def test_spikes(whole) -> None:
    with whole.spikes("src/1") as reader:
        spikes = sum(stage["spikes"]["hidden1"] for stage in whole.records["src/1", 0]["stages"])
        assert int(reader.spike_counts("hidden1").sum()) == spikes > 0
    with pytest.raises(ns.InputError, match="spikes there are of condition 'src/1', seed 0"):
        whole.spikes("src/1", 1)
    with pytest.raises(ns.InputError, match="no spikes of condition 'awake'"):
        whole.spikes("awake")
    with pytest.raises(ns.InputError, match="did you mean 'src/1'"):
        whole.spikes("src")


def test_half_finished_and_damaged(tiny, copied) -> None:
    files = ExperimentFolder(copied)
    files.run_file(RunId("awake", 1)).unlink()
    files.run_file(RunId("src/1", 2)).write_text("{")
    files.run_file(RunId("joint", 3)).unlink()
    files.write_error(RunId("joint", 3), "Traceback\nValueError: bad luck")
    results = Results.open(copied)
    assert results.missing == (("awake", 1),)
    assert dict(results.failed) == {("joint", 3): "ValueError: bad luck"}
    assert "cannot be read" in results.damaged["src/1", 2]
    assert not results.complete
    assert "9 of 12 runs finished" in repr(results)
    assert "1 failed, the first: condition 'joint', seed 3 (ValueError: bad luck)" in repr(results)
    assert int(np.isnan(results.dataset.accuracy).sum()) == 3
    row = results.compare("accuracy", "src/1", "awake")
    assert (row.n, row.dropped) == (2, (1, 2))
    results.save()
    with xarray.open_dataset(copied / "results.nc", engine="h5netcdf") as file:
        assert json.loads(file.attrs["failed"]) == [["joint", 3, "ValueError: bad luck"]]
        assert file.attrs["complete"] == 0


def test_a_joint_run_has_no_forgetting_to_compare(whole) -> None:
    row = whole.compare("forgetting", "joint", "awake")
    assert (row.n, row.dropped) == (0, (0, 1, 2, 3))
    assert str(row) == "joint - awake: forgetting cannot be compared: no seed has a value in both"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r["checkpoints"].clear(), "length >= 1"),
        (lambda r: r["checkpoints"][0].update(name="T9"), "T9 is not one of 2 tasks"),
        (lambda r: r["checkpoints"][1].update(name="noon"), "checkpoints[1].name"),
        (lambda r: r["checkpoints"][3]["task_accuracies"].pop(), "S2 is not one of 2 tasks"),
        (lambda r: r["checkpoints"][0].update(accuracy=1.5), "checkpoints[0].accuracy"),
        (lambda r: r["stages"][0].pop("task"), "missing required field `task`"),
        (lambda r: r["stages"][1].update(rates=None), "stages[1].rates"),
        (lambda r: r["stages"][1]["weight_changes"][0].update(size=0), "size"),
        (lambda r: r["seconds"].pop("sleep"), "seconds"),
        (lambda r: r["tasks"].append("x"), "tasks[2]"),
        (lambda r: r["tasks"][0].update(classes=["a"]), "tasks[0].classes[0]"),
        (lambda r: r["seconds"].update(sleep=-1), "seconds.sleep"),
        (lambda r: r.update(accuracy=1.5), "accuracy"),
        (lambda r: r["checkpoints"][1].update(name="S9"), "checkpoint S9 is not one of 2 tasks"),
        (lambda r: r["checkpoints"][1].update(task=2), "checkpoint S1 tells of task 2"),
        (lambda r: r["checkpoints"].append(r["checkpoints"][-1]), "checkpoint S2 is not one of"),
        (lambda r: r["checkpoints"].pop(), "has T1, S1, T2 checkpoints, those of other runs T1, S1, T2, S2"),
        (lambda r: r["stages"][0].update(kind="Nap"), "stages[0].kind"),
        (lambda r: r["stages"][0].update(begin=None), "lacks begin"),
        (lambda r: r["stages"][0].update(steps=-5), "stages[0].steps"),
        (lambda r: r["stages"][0].update(steps=2**70), "stages[0].steps"),
        (lambda r: r["stages"][1].update(task=3), "stages[1] is after task 3 of 2"),
        (lambda r: r["stages"][0]["rates"].pop("output"), "rates or spikes of a population"),
        (lambda r: r["stages"][0]["rates"].update(output=-2.0), "stages[0].rates"),
        (lambda r: r["stages"][0]["spikes"].update(output=0.5), "stages[0].spikes"),
        (lambda r: r["stages"][0]["weight_changes"][0].update(depressed=10**9), "more weights of"),
        (lambda r: r["stages"].extend(r["stages"] * 40_000), "are more than results hold"),
        (lambda r: r.update(weights={"T1": [{"counts": [], "from": 0, "to": 1}]}), "weights[...][0].counts"),
        (lambda r: r.update(weights={"T1": [{"counts": [1], "from": 1, "to": 0}]}), "does not go up"),
    ],
)
def test_a_record_with_a_hole_does_not_sink_the_rest(copied, change, told) -> None:
    file = ExperimentFolder(copied).run_file(RunId("src/1", 2))
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    results = Results.open(copied)
    assert set(results.damaged) == {("src/1", 2)}
    assert told in results.damaged["src/1", 2]
    assert str(file) in results.damaged["src/1", 2]
    assert len(results.records) == 11
    assert math.isnan(results.dataset.accuracy.sel(condition="src/1", seed=2))


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": NaN}', b"\xff", b'{"format": 1, "seed": 1e999}', None])
def test_a_file_that_is_no_record(copied, content) -> None:
    file = ExperimentFolder(copied).run_file(RunId("src/1", 2))
    file.unlink()
    file.mkdir() if content is None else file.write_bytes(content)
    assert str(file) in Results.open(copied).damaged["src/1", 2]


def fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = " + 20_000 * b"[", "cannot be read as TOML: maximum recursion depth"),
        (b"a" + 20_000 * b".a" + b" = 1", "a key has more than 100 parts"),
        (b"a = {b" + 20_000 * b" . 'b.b' " + b" = 1}", "a key has more than 100 parts"),
        (b"[ab" + 20_000 * b'."ab"' + b"]", "a key has more than 100 parts"),
        (b"." * 2**20 + 2**20 * b"a", "cannot be read as TOML: Invalid"),
        (b"\xff", "cannot be read: 'utf-8'"),
        (b"#" * 2**24 + b"#", "has 16,777,217 bytes"),
        (Path.mkdir, "it is not a file"),
        pytest.param(fifo, "is a pipe", marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")),
    ],
)
def test_a_description_that_is_none_is_refused_at_once(copied, content, told) -> None:
    file = copied / "experiment.toml"
    file.unlink()
    content(file) if callable(content) else file.write_bytes(content)
    with pytest.raises(ns.InputError, match=r"experiment\.toml") as error:
        Results.open(copied)
    assert told in str(error.value)


def test_what_was_not_a_number_is_nan(copied) -> None:
    file = ExperimentFolder(copied).run_file(RunId("src/1", 2))
    record = json.loads(file.read_text())
    change = record["stages"][0]["weight_changes"][0]
    change["mean_absolute_change"] = None  # as nan is written
    file.write_text(json.dumps(record))
    changes = Results.open(copied).dataset.mean_absolute_change.sel(condition="src/1", seed=2, layer=change["layer"])
    assert np.isnan(changes.values).tolist() == [True, False]


def test_one_seed_has_no_spread(tiny, copied) -> None:
    (copied / "experiment.toml").write_text(replace(tiny, seeds=1, question="Why?\n  Because").to_toml())
    results = Results.open(copied)
    assert "nan" not in repr(results)
    assert repr(results).split("\nnote: ")[0].endswith("% (1 seed)")
    assert "Why?\n  Because</b><br>3 of 3 runs finished</p>" in results._repr_html_()


def test_nothing_finished(tiny, tmp_path) -> None:
    ExperimentFolder(tmp_path).open(tiny)
    results = Results.open(tmp_path)
    assert len(results.missing) == 12
    assert "0 of 12 runs finished" in repr(results)
    assert "awake: no finished run" in repr(results)
    assert len(results.table()) == 0
    assert {path.name for path in results.save()} == {"results.nc", "results.csv"}


def test_no_experiment_there(tmp_path) -> None:
    with pytest.raises(ns.InputError, match="does not hold an experiment"):
        Results.open(tmp_path)


def test_a_full_disk_leaves_what_was_there(whole, copied, room_for) -> None:
    results = Results.open(copied)
    files = results.save()
    before = [path.read_bytes() for path in files]
    most = max(map(len, before))
    for size in range(0, most, most // 3):
        with room_for(size), pytest.raises(OSError, match="while writing"):
            results.save()
        assert [path.read_bytes() for path in files] == before
    assert not list(copied.glob(".results*"))
