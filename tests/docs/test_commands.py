"""Every command and every TOML file printed in the README and the docs is understood."""

import re
import shlex
from pathlib import Path

import pytest

from neurosleep.cli import cli
from neurosleep.experiments.loading import from_toml, load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```\w+\n(.*?)^```|(?<!`)`([^`]+)`(?!`)|^ {4}(\S.*)$", re.DOTALL | re.MULTILINE)
OPEN = re.compile(r"\.\.\.|\b(NAME|FILE|QUESTION|key=value)\b|`,| \| ")  # stands for what the reader puts in


def commands(page: Path) -> list[str]:
    """Return the commands of a page, without remarks behind them."""
    found = []
    for groups in CODE.findall(page.read_text("utf-8")):
        code = next(filter(None, groups), "")
        lines = [" ".join(code.split())] if groups[1] else code.splitlines()
        for line in lines:
            command = re.split(r"\s{2,}[(#]", line.strip().removeprefix("$ "))[0]
            if command.startswith("neurosleep ") and not OPEN.search(command):
                found.append(command)
    return found


PRINTED = [(page, command) for page in PAGES if page.exists() for command in commands(page)]


def test_there_are_commands() -> None:
    assert len(PRINTED) > 50


@pytest.mark.parametrize(("page", "command"), PRINTED, ids=[f"{p.stem}: {c}" for p, c in PRINTED])
def test_commands_are_understood(page: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("DIR").mkdir()
    _, name, *words = shlex.split(command.partition(" > ")[0], comments=True)
    given = cli.commands[name].make_context(name, words, resilient_parsing=not words).params  # a name alone is named
    if words and name in ("run", "tune"):
        source = given["experiment" if name == "run" else "name"]
        if not source.endswith(".toml"):
            load(source, given["settings"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_toml_is_an_experiment(page: Path) -> None:
    for text in re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8") if page.exists() else "", re.DOTALL | re.M):
        from_toml(text)
