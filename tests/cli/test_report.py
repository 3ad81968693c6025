"""`neurosleep report`: the page of a run made again from its folder, and what cannot be told."""

import json
import re
import shutil

import pytest

from neurosleep.experiments.results import Results
from neurosleep.tables import number, table


@pytest.fixture
def folder(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "copy")


def test_the_page_and_the_table_tell_what_the_results_tell(cli, folder):
    page, figures = folder / "report.html", sorted((folder / "figures").iterdir())
    assert {path.suffix for path in figures} == {".png", ".svg"}
    before = page.read_bytes()
    page.unlink()
    shutil.rmtree(folder / "figures")
    result = cli("report", folder)
    assert (result.code, result.err) == (0, "")
    assert page.read_bytes() == before
    assert sorted((folder / "figures").iterdir()) == figures
    rows = Results.open(folder).rows()
    assert result.out.startswith(table(rows) + "\n")
    lines = cli("report", folder, "--markdown").out.splitlines()
    cells = [[word.strip() for word in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    assert cells == [list(rows[0]), *([number(value) for value in row.values()] for row in rows)]


def test_what_is_not_ours_is_escaped(cli, folder):
    file = folder / "experiment.toml"
    bad = "<script>alert(1)</script>"
    file.write_text(re.sub(r"^question = .*$", f'question = "{bad}"', file.read_text(), flags=re.MULTILINE))
    run = folder / "runs" / "src" / "seed-0.json"
    record = json.loads(run.read_text())
    record["machine"]["processor"] = "<img src=x>"
    run.write_text(json.dumps(record))
    assert cli("report", folder).code == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert bad not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


def test_a_study_has_a_page_too(cli, stub, tmp_path):
    assert cli("run", stub, "--workers", 1, "--out", tmp_path).code == 0
    assert cli("report", tmp_path, "--markdown").out.splitlines()[2].split() == ["|", "1.0", "|", "1.0", "|", "3", "|"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Does it do next to nothing?" in page
    assert "<td>3</td>" in page


@pytest.mark.parametrize("damage", ["", "[1, 2]", '{"format": 2}'])
def test_a_damaged_run_is_left_out_and_left_as_it_is(cli, folder, damage):
    file = folder / "runs" / "src" / "seed-1.json"
    file.write_text(damage)
    result = cli("report", folder)
    assert result.code == 0
    assert re.match(r"neurosleep: left out, as it cannot be read: condition 'src', seed 1: .*seed-1.json", result.err)
    assert result.err.count("\n") == 1
    src = next(line for line in result.out.splitlines() if line.startswith("src "))
    assert src.split()[1] == "2"
    assert file.read_text() == damage
    page = " ".join((folder / "report.html").read_text(encoding="utf-8").split())
    assert "5 of 6 runs" in page
    assert "1 run cannot be read" in page


def test_a_damaged_log_is_told_and_the_page_is_made(cli, folder):
    (log,) = folder.glob("runs/src/*.h5")
    log.write_bytes(log.read_bytes()[:-100])
    (folder / "report.html").unlink()
    result = cli("report", folder)
    assert result.code == 0
    assert re.match(r"neurosleep: left out, as it cannot be read: condition 'src', seed 0: .*seed-0.h5", result.err)
    assert log.name in (folder / "report.html").read_text(encoding="utf-8")


def test_nothing_finished_has_no_page(cli, folder, assert_refused):
    for file in folder.glob("runs/*/*.json"):
        file.unlink()
    before = (folder / "report.html").read_bytes()
    assert_refused(cli("report", folder), "no finished run", "start the same command again")
    assert (folder / "report.html").read_bytes() == before
