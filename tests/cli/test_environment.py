"""Machines that are not like the one this was written on: no cache, no compiler, a small console, closed folders."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import neurosleep

ROOT = Path(neurosleep.__file__).parent.parent
NIGHT = """
import sys
import numpy as np
from neurosleep.sims.drives.rates import MeanRate
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.errors import BackendError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork

layer = SpikingLayer(np.ones((3, 2)), threshold=1.0)
network = SpikingNetwork((layer,), dt=0.001)
def night(backend):
    return simulate(network, MeanRate(500), None, 20, mean_input=np.ones(3), backend=backend)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, by a user for whom rights count."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
    as_user = drop if os.geteuid() == 0 and shutil.which("setpriv") else []
    known = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    known.pop("XDG_CACHE_HOME", None)
    if "NUMBA_CACHE_DIR" not in environment:
        known.pop("NUMBA_CACHE_DIR", None)
    return subprocess.run(
        [*as_user, sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False
    )


@pytest.fixture
def closed(tmp_path):
    """A folder that may not be written into."""
    if sys.platform == "win32" or (os.geteuid() == 0 and not shutil.which("setpriv")):
        pytest.skip("rights do not count here")
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


COMPILED = """
from neurosleep.sims.compiled import compiled
one = compiled()(lambda: 1)
two = compiled()(lambda: 2)
print(one() + two())
"""


@pytest.mark.parametrize("where", ["HOME", "NUMBA_CACHE_DIR"])
def test_without_a_cache_it_works_and_one_line_says_so(closed, where) -> None:
    done = python(COMPILED, **{where: str(closed)})
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_with_a_full_cache_it_works_and_one_line_says_so(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(COMPILED)
    full = "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"  # bytes
    done = python(f"{full}sys.path.insert(0, {str(tmp_path)!r})\nimport mine", NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr
    assert not list(tmp_path.rglob("*.nb[ci]"))


def test_without_a_home_at_all_nothing_is_left_in_the_present_folder(tmp_path, monkeypatch) -> None:
    from neurosleep.sims import compiled

    monkeypatch.chdir(tmp_path)
    compiled._place.cache_clear()
    assert compiled._place(Path("~/.cache/neurosleep")) is None
    assert list(tmp_path.iterdir()) == []


def test_what_needs_no_compiled_code_imports_none() -> None:
    code = NIGHT + (
        "import neurosleep.cli.showing, neurosleep.experiments.page.report, neurosleep.interchange.source\n"
        "import neurosleep.cli.listing, neurosleep.night, neurosleep.sims.awake.present\n"
        "MagnitudePruning(0.5).apply(np.ones(4)); night('reference')\n"
        "print([name for name in sys.modules if '.sims.kernels' in name or name == 'numba'])\n"
    )
    done = python(code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_no_compiler_is_a_clear_error_and_the_reference_works() -> None:
    code = NIGHT + (
        "night('reference')\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        night('cpu')\n"
        "    except BackendError as error:\n"
        "        print(error)\n"
    )
    done = python(code, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("NUMBA_DISABLE_JIT is set, so nothing can be compiled") == 2
    assert "'reference'" in done.stdout


CLICK = """
import sys, click
from neurosleep import cli
@click.command()
@click.argument("word")
def say(word):
    click.echo(word)
    click.echo(word, err=True)
    if word.startswith("no"):
        open(word, "w")
cli.cli.add_command(say)
sys.argv = ["neurosleep", "say", {word!r}]
cli.main()
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_letter_that_the_console_lacks_is_replaced(encoding) -> None:
    for word in ("眠り/p", "caf\udce9"):  # the second is a file name that is no UTF-8
        done = python(CLICK.format(word=word), PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_a_closed_folder_is_a_clear_line(closed) -> None:
    word = str(closed / "no")
    done = python(f"import os; os.chdir('/')\n{CLICK.format(word='no')}".replace("open(word", f"open({word!r}"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"neurosleep: {word}: Permission denied"


def test_a_file_of_spikes_in_a_closed_folder_names_that_file(closed) -> None:
    code = (
        "import h5py\nfrom neurosleep.sims.whole import whole\n"
        f"try:\n    with whole({str(closed / 'a.h5')!r}) as half:\n        h5py.File(half, 'w')\n"
        "except OSError as error:\n    print(error.strerror, error.filename)\n"
    )
    done = python(code)
    assert done.stdout == f"Permission denied while writing {closed / 'a.h5'}\n", done
