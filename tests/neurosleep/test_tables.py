"""Tables of results as text."""

from neurosleep.tables import markdown, number, table

ROWS = [{"method": "src", "%": 48.47}, {"method": "sequential", "%": 100.0}]


def test_numbers():
    assert [number(x) for x in (1.25, 2, "src", None, float("nan"))] == ["1.2", "2", "src", "-", "-"]


def test_table():
    assert table(ROWS).splitlines() == ["method          %", "src          48.5", "sequential  100.0"]


def test_markdown():
    lines = ["| method | % |", "| --- | --- |", "| src | 48.5 |", "| sequential | 100.0 |"]
    assert markdown(ROWS).splitlines() == lines
