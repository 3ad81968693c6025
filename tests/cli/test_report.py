"""The page of a run: self-contained, true to the results, and refused where the results are damaged."""

import base64
import json
import shutil
from html.parser import HTMLParser

import pytest

from neurosleep.papers import EXPERIMENTS
from neurosleep.tables import number, table


class Page(HTMLParser):
    """Rows of the tables, the text, and whatever the page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.images, self.links, self.text, self.open = [], {}, [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        elif tag == "img":
            kind, data = values["src"].split(",")
            assert kind == "data:image/png;base64"
            self.images[values["alt"]] = base64.b64decode(data)
        elif tag in ("script", "link", "iframe", "object") or "href" in values:
            self.links.append((tag, values))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


@pytest.fixture
def folder(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "copy")


def test_the_page_tells_what_the_results_tell(cli, folder):
    (folder / "report.html").unlink()
    result = cli("report", folder)
    assert (result.code, result.err) == (0, "")
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    rows = json.loads((folder / "results.json").read_text())["summary"]
    assert page.rows == [list(rows[0]), *([number(value) for value in row.values()] for row in rows)]
    assert result.out.startswith(table(rows) + "\n")
    pictures = {path.stem: path.read_bytes() for path in folder.glob("*.png")}
    assert len(pictures) == 5
    assert page.images == pictures
    lines = cli("report", folder, "--markdown").out.splitlines()
    assert [[word.strip() for word in line.strip("|").split("|")] for line in (lines[0], *lines[2:])] == page.rows
    assert page.links == []
    assert "url(" not in text
    assert "@import" not in text
    assert 'dataset = "mnist-small"' in page.text
    assert "3 seeds" in page.text
    assert "Not all runs" not in page.text


def test_many_columns_scroll(cli, tmp_path):
    words = [f"--set={setting}" for setting in ("min_overlap=12", "max_overlap=13", "logged_overlap=12")]
    result = cli("run", "patches", *words, "--set=sleep_steps=500", "--seeds=1", "--out", tmp_path)
    assert (result.code, result.err) == (0, "")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<div class="wide"><table>' in text
    assert ".wide { overflow-x: auto;" in text
    assert [row[0] for row in Page(text).rows] == ["overlap", "12", "13"]
    assert "1 seed," in text


def test_what_is_not_ours_is_escaped(cli, folder):
    results = json.loads((folder / "results.json").read_text())
    results["parameters"]["order"] = "<script>alert(1)</script>"
    results["machine"]["processor"] = "<img src=x>"
    (folder / "results.json").write_text(json.dumps(results))
    assert cli("report", folder).code == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.links == []
    assert "<script>alert(1)</script>" in page.text
    assert "<img src=x>" in page.text


def damages():
    yield "cut short", lambda text: text[: len(text) // 2]
    yield "empty", lambda text: ""
    yield "not JSON", lambda text: "\0"
    yield "no object", lambda text: "[1, 2]"
    yield "nothing in it", lambda text: "{}"
    yield "of another format", lambda text: text.replace('"format": 1', '"format": 2')
    yield "runs without their values", lambda text: json.dumps({**json.loads(text), "runs": [{"seed": 0}]})
    yield "runs of another kind", lambda text: json.dumps({**json.loads(text), "runs": [0]})
    yield "unknown parameter", lambda text: json.dumps({**json.loads(text), "parameters": {"size": 1}})
    yield "unknown experiment", lambda text: text.replace('"src-mnist"', '"nap"')


@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in damages()])
def test_damaged_results(cli, assert_refused, folder, damage):
    file = folder / "results.json"
    file.write_text(damage(file.read_text()))
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert_refused(cli("report", folder))
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_damaged_results_are_made_anew_by_the_same_command(cli, folder, tiny):
    whole = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text("{")
    assert "start the same command again" in cli("report", folder).err
    assert cli(*tiny, "--seeds", 3, "--out", folder).code == 0
    assert json.loads((folder / "results.json").read_text()) == whole


def test_every_experiment_has_a_summary_for_its_list():
    for name, experiment in EXPERIMENTS.items():
        assert name == experiment.name
        assert "\n" not in experiment.summary
