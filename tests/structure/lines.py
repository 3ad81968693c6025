"""Counts lines of code by folder, and what has changed since a revision.

    python tests/structure/lines.py [REV]

A line counts if code stands on it: blank lines, comments, docstrings and tests do not.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SINCE = "f38ddd7"
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(source: str) -> int:
    """Return the number of lines on which code stands."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def by_folder(revision: str | None = None) -> Counter[str]:
    """Return the lines of code of each folder at a revision, or in the working tree."""
    counts: Counter[str] = Counter()
    listing = ("ls-tree", "-r", "--name-only", revision) if revision else ("ls-files", "-co", "--exclude-standard")
    for name in _git(*listing).splitlines():
        path = Path(name)
        if path.suffix in (".py", ".pyi") and path.parts[0] != "tests":
            counts[str(path.parent)] += lines_of_code(_source(name, revision))
    return counts


def main() -> None:
    """Print a row a folder: lines at the revision, lines now, and the difference."""
    since = sys.argv[1] if len(sys.argv) > 1 else SINCE
    before, now = by_folder(since), by_folder()
    print(f"{'':32}{since[:9]:>9}{'now':>9}{'':>9}")
    for folder in sorted(before | now):
        print(f"{folder:32}{before[folder]:9,}{now[folder]:9,}{now[folder] - before[folder]:+9,}")
    print(f"{'all':32}{before.total():9,}{now.total():9,}{now.total() - before.total():+9,}")


def _source(name: str, revision: str | None) -> str:
    if revision:
        return _git("show", f"{revision}:{name}")
    path = ROOT / name
    return path.read_text("utf-8") if path.exists() else ""


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout


if __name__ == "__main__":
    main()
