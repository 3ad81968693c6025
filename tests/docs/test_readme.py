"""The README's Python runs as it stands, and remembers."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_python_of_the_readme(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    accuracy = re.search(r"both tasks after sleep: (\d+)%", run.stdout)
    assert accuracy is not None
    *_, stages = run.stdout.splitlines()
    assert stages == str([(task, stage) for task in (1, 2) for stage in ("magnitude-pruning", "nrem+rem")])
    ensemble = run.stdout.splitlines()[-13:-1]
    assert [line.split(" [")[0] for line in ensemble] == [
        f"{inc} {seed}" for inc in (0.01, 0.03, 0.1) for seed in range(4)
    ]
    assert int(accuracy[1]) > 65  # without the second night task 1 is gone, and this is about 50


def test_ci_runs_the_readmes_test_command() -> None:
    commands = [
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("python3 ")
    ]
    assert len(commands) == 2
    assert commands[0].endswith("neurosleep demo")
    assert commands[1].endswith("pytest -n 2")
