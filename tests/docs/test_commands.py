"""Every `neurosleep ...` command that README and docs print is one: its options, experiment, keys and values exist.

Nothing is run. Placeholders in capitals stand for something that there is; ``...`` stands for anything.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from neurosleep.cli import cli
from neurosleep.experiments.loading import build, describe, from_toml
from neurosleep.experiments.settings import find, with_settings
from neurosleep.sims.errors import InputError
from neurosleep.tuning.objective import tunable
from neurosleep.tuning.space import published_space, searchable, with_searches

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "records" not in page.parts and page.name != "CHANGELOG.md"  # which tells of old commands
)
HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^ {4,}(?:\$ )?(?P<words>neurosleep .*)$", re.MULTILINE)
LINE = re.compile(r"^ *(?:\$ )?(?:.*&& *)?(?:\S*/|python3? -m )?(?P<words>neurosleep (?:.*\\\n)*.*)$", re.MULTILINE)
INLINE = re.compile(r"`(?P<words>neurosleep [^`]+)`")
ENDS = {">", ">>", "|", "&&", ";", "&"}


class Printed(NamedTuple):
    """A command of a page."""

    line: int
    words: str
    mention: bool
    """Whether it stands in a sentence, where the name alone will do."""


def commands(text: str) -> Iterator[Printed]:
    """Yield the commands of a page."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    def found(pattern: re.Pattern[str], within: str, offset: int = 0) -> Iterator[Printed]:
        for match in pattern.finditer(within):
            yield Printed(text.count("\n", 0, offset + match.start("words")) + 1, match["words"], pattern is INLINE)

    text = HIDDEN.sub(blank, text)
    for block in FENCED.finditer(text):
        if block[1] != "python":
            yield from found(LINE, block[2], block.start(2))
    rest = FENCED.sub(blank, text)
    yield from found(INDENTED, rest)
    yield from found(INLINE, rest)


def words_of(command: Printed, folder: Path) -> list[str]:
    """Return the words of a command, with what there is in place of what the reader puts there."""
    text = command.words.replace("\\\n", " ").replace("\\|", "|")
    text = re.sub(r"\s{2,}\(.*$", "", text, flags=re.MULTILINE)  # a remark beside it
    split = shlex.shlex(text, posix=True, punctuation_chars=";&|>")
    split.whitespace_split = True
    stand_ins = {"DIR": str(folder), "N": "1", "NAME": "src-mnist", "EXPERIMENT": "src-mnist", "FILE.toml": "mine.toml"}
    words: list[str] = []
    for word in split:
        if word in ENDS:
            break
        words.append(stand_ins.get(word, word))
    while "..." in words:
        at = words.index("...")
        del words[at - 1 if words[at - 1].startswith("--") else at : at + 1]
    return words[1:]


def check(command: Printed, folder: Path) -> None:
    """Raise what the command line would say of a command."""
    words = words_of(command, folder)
    if command.mention and len(words) == 1 and words[0] in cli.commands:
        return
    with cli.make_context("neurosleep", list(words)) as context:
        name, of, rest = cli.resolve_command(context, words)
        assert of is not None
        asked = of.make_context(name, rest, parent=context).params
    if name not in ("run", "tune"):
        return
    source = asked["experiment"]
    values = describe("sleep-length" if Path(source).suffix == ".toml" else source)
    settings = [setting for setting in asked["settings"] if "..." not in setting]
    for setting in set(asked["settings"]) - set(settings):
        if not setting.startswith("conditions="):
            find(values, setting.partition("=")[0])
    values, _ = with_settings(values, settings)
    build(values, source)
    if name == "tune":
        condition = tunable(values, asked["condition"], source)
        values = searchable(values, condition)
        with_searches(published_space(values, condition), asked["searches"], values, condition)


def wrong(text: str, folder: Path) -> list[str]:
    """Return the commands of a page that are none, each with its line and why."""
    found = []
    for command in commands(text):
        try:
            check(command, folder)
        except click.ClickException as error:
            found.append(f"line {command.line}: {command.words}: {error.format_message()}")
        except (InputError, ValueError) as error:
            found.append(f"line {command.line}: {command.words}: {error}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of(page: Path, tmp_path: Path) -> None:
    found = wrong(page.read_text(encoding="utf-8"), tmp_path)
    assert not found, "\n".join([f"{page.relative_to(ROOT)}:", *found])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_toml_is_an_experiment(page: Path) -> None:
    for kind, text in FENCED.findall(page.read_text(encoding="utf-8")):
        if kind == "toml":
            from_toml(text)


def test_there_are_commands() -> None:
    assert sum(len(list(commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 60


PAGE = """
Run `neurosleep list`, then `neurosleep run src-mnist
--set inc=0.03`, or `neurosleep run src-mnist --preset gentle`.

```sh
pip install . && .venv/bin/neurosleep demo --seeds 2
$ neurosleep run src-mnist --seeds N --data-dir DIR \\
    --set 'conditions=["src"]' --set inc=... --set ... > out.txt   # remark
neurosleep run src-mnist --set incc=1
```

    neurosleep tune src-mnist --search "inc=0.01:0.1" --condition src   (an hour)
    neurosleep tune src-mnist --search "loss=squared-error|cross-entropy" --condition ewc
    neurosleep run mine.toml --set methods=[...]
    neurosleep dance
<!-- neurosleep hidden -->
"""


def test_what_is_found_and_what_is_wrong(tmp_path: Path) -> None:
    assert [command.line for command in commands(PAGE)] == [6, 7, 9, 12, 13, 14, 15, 2, 2, 3]
    told = wrong(PAGE, tmp_path)
    assert [line.split(":")[0] for line in told] == ["line 9", "line 13", "line 14", "line 15", "line 3"]
    for line, why in zip(told, ("'incc'", "no spontaneous replay", "'methods'", "dance", "--preset"), strict=True):
        assert why in line
