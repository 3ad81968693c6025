"""The documentation: its code runs, its pages are found, and the site is built without a warning or a network.

A page says in comments, which readers do not see, how its code is run here:

``<!-- reduced: A -> B -->``
    The page shows A; here B runs in its place, in less time. A must be on the page.
``<!-- before ... -->``
    Python that makes what the reader is taken to have.
``<!-- not run: A -->``
    A command line that begins with A is left out, since it takes long and is run by other tests.
``<!-- needs: MODULE -->``
    The page is skipped where the module is missing.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from neurosleep.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(python|sh|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!-- (reduced:|before|not run:|needs:)\s(.*?)\s?-->", re.DOTALL)
OURS = re.compile(r"^(?:\$ )?(neurosleep .*)$", re.MULTILINE)


def pages() -> list[str]:
    """Pages that have code, but for the guides that other tests run."""
    others = [
        (Path(__file__).parents[1] / name).read_text("utf-8")
        for name in ("docs/test_guides.py", "integrations/test_integrations.py")
    ]
    elsewhere = set(re.findall(r'"([\w-]+\.md)"', "".join(others)))
    return sorted(
        str(page.relative_to(DOCS))
        for page in DOCS.rglob("*.md")
        if not (page.parent.name == "how-to" and page.name in elsewhere)
        and any(kind == "python" or OURS.search(code) for kind, code in BLOCK.findall(page.read_text("utf-8")))
    )


@pytest.mark.parametrize("page", pages())
def test_code_of(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / page).read_text("utf-8")
    said = [(kind.rstrip(":"), what) for kind, what in COMMENT.findall(text)]
    for kind, what in said:
        if kind == "needs":
            pytest.importorskip(what)
    left_out = [what for kind, what in said if kind == "not run"]
    changes = [what.split(" -> ", 1) for kind, what in said if kind == "reduced"]
    blocks = BLOCK.findall(text)
    shown = "\n".join(code for _, code in blocks)
    for old in [*left_out, *(old for old, _ in changes)]:
        assert old in shown, f"{page} says {old!r} in a comment, but has it in no block of code"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # runs this short are over before a worker process has begun
    names: dict[str, object] = {"__name__": "page"}
    before = [("python", what) for kind, what in said if kind == "before"]
    for kind, code in [*before, *blocks]:
        for old, new in changes:
            code = code.replace(old, new)
        if kind == "python":
            run_python(code, page, names)
            continue
        for command in OURS.findall(code):
            if not any(command.startswith(what) for what in left_out):
                run_command(command, monkeypatch)


def run_python(code: str, page: str, names: dict[str, object]) -> None:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of other packages, of their own calls
        exec(compile(code, page, "exec"), names)  # noqa: S102


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command line of the page, here if there is nothing in it for a shell to do."""
    if set(command) & set("|<>&;$*`"):
        run_in_shell(command)
        return
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told), pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code, f"{command}\n{told.getvalue()}"


def run_in_shell(command: str) -> None:
    """Run a command line as a shell does, with the neurosleep of this test."""
    script = f'neurosleep() {{ "$PYTHON" -m neurosleep "$@"; }}\n{command}'
    found = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": found}
    run = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{command}\n{run.stderr}"


class Page(HTMLParser):
    """What a page loads, where it links to, and what can be linked to on it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if "src" in given:
            self.loaded.append(given["src"])
        if "href" in given:
            (self.loaded if tag == "link" else self.links).append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; its sources are copied, as autosummary writes beside them."""
    for needs in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(needs)
    work = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, work / "docs", ignore=shutil.ignore_patterns("generated", "__pycache__"))
    (work / "data").mkdir()
    for name in ("CHANGELOG.md", "data/README.md"):
        shutil.copy(ROOT / name, work / name)
    found = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", work / "docs", work / "built"],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return work / "built"


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    """Every page of the site by its file."""
    return {file: Page(file) for file in site.rglob("*.html")}


def test_site_loads_nothing_from_elsewhere(site: Path, built: dict[Path, Page]) -> None:
    assert len(built) > 60
    for file, page in built.items():
        assert [address for address in page.loaded if urlsplit(address).netloc] == [], file
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text("utf-8")), style


def test_links_within_the_site_lead_somewhere(built: dict[Path, Page]) -> None:
    broken, followed = [], 0
    for file, page in built.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            followed += 1
            if not target.exists() or (
                parts.fragment and target in built and unquote(parts.fragment) not in built[target].anchors
            ):
                broken.append(f"{file.name}: {link}")
    assert broken == []
    assert followed > 1000


def test_every_page_is_in_the_table_of_contents(site: Path, built: dict[Path, Page]) -> None:
    sidebar = re.search(r'class="sidebar-tree".*?</div>', (site / "index.html").read_text("utf-8"), re.DOTALL)
    assert sidebar is not None
    listed = set(re.findall(r'href="([^"#]+)"', sidebar[0]))
    without = {"index.html", "genindex.html", "py-modindex.html", "search.html"}
    assert {str(file.relative_to(site)) for file in built} - listed == without


def test_every_public_name_is_documented(built: dict[Path, Page]) -> None:
    from importlib import import_module

    anchors = {anchor.rsplit(".", 1)[-1] for page in built.values() for anchor in page.anchors if "." in anchor}
    packages = ("", "analysis", "continual", "continual.methods", "converters", "data", "experiments", "interchange")
    for package in (*packages, "integrations", "tripartite"):
        module = import_module(f"neurosleep.{package}".rstrip("."))
        missing = {name for name in module.__all__ if not name.isupper() and name != "__version__"} - anchors
        assert missing == set(), module.__name__
