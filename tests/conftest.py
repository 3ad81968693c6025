import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def gpu_here() -> bool:
    """Whether an NVIDIA driver sees a GPU; asked without numba, which decides about its simulator when imported."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


if not gpu_here():
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")  # for the CUDA tests; before anything imports numba.cuda

import pytest  # noqa: E402
import torch  # noqa: E402
from filelock import FileLock  # noqa: E402
from hypothesis import settings  # noqa: E402
from numba.core.compiler_lock import global_compiler_lock  # noqa: E402
from numba.core.dispatcher import Dispatcher  # noqa: E402

# The same examples every time, and no deadline: whether a test passes depends on the code alone. To look for new
# counterexamples: pytest --hypothesis-profile=explore
settings.register_profile("neurosleep", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("neurosleep")

torch.set_num_threads(1)  # for networks this small, threads cost more than they bring

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it, and so do processes they start

LONG = (
    "benchmarks/",
    "browser/",
    "cli/test_report.py",
    "cli/test_run.py",
    "cli/test_tune.py",
    "cuda/test_cuda_compile.py",
    "docs/test_contributing.py",
    "docs/test_docs.py",
    "docs/test_readme.py",
    "experiments/test_cluster.py",
    "experiments/test_library.py",
    "experiments/test_nights_resumed.py",
    "experiments/test_running.py",
    "features/test_features.py",
    "fuzz/test_sweeps.py",
    "golden/test_whole_runs.py",
    "integrations/",
    "sims/test_spikelog_crash.py",
    "sims/test_spikelog_resume.py",
    "tuning/",
)
"""What takes longest, and stands for itself: browsers, documentation, whole command lines, clusters, code for a GPU,
training of convolutional layers, processes that are stopped and killed. These have the marker `long`."""

THOROUGH = (
    "cuda/test_cuda_graph.py::test_all_kinds",
    "cuda/test_cuda_own_rules.py",
    "cuda/test_cuda_races.py",
    "docs/test_docs.py::test_code_of[how-to/inputs.md]",
    "docs/test_docs.py::test_code_of[questions/",
    "docs/test_guides.py::test_own_neurons",
    "experiments/test_any_network.py::test_conditions_differ",
    "property/test_convolution_engines.py",
    "property/test_graph_engines.py",
    "property/test_minibatch.py",
    "property/test_open_engine.py",
    "property/test_own_drives.py::test_engines",
    "property/test_put_off_rules.py",
    "sims/test_check_rule.py::test_a_rule_of_everything_passes",
    "sims/test_checkpoint.py::test_killed_at_any_moment",
    "sims/test_spikelog_resume.py::test_killed_in_the_midst_of_resuming",
)
"""Engines that are compiled for many kinds of rules, experiments of pages, races of simulated threads, and kills, of
which `python -m tests.fuzz kills` does more: by hand, before an issue is resolved. They have the marker `thorough`."""

FIRST = (
    "golden/test_nights.py",
    "fuzz/",
    "features/",
    "converters/",
    "data/",
    "figures/",
    "continual/",
    "property/",
    "docs/",
)
"""First the tests that compile most kernels, and, for the other process, those that compile none; then those that take
long, so that in the end no process is left alone with them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of `LONG` and `THOROUGH`, and sort all by `FIRST`; others stay in their order."""

    def place(item: pytest.Item) -> str:
        return item.path.relative_to(config.rootpath / "tests").as_posix()

    def is_thorough(item: pytest.Item) -> bool:
        return f"{place(item)}::{item.name}".startswith(THOROUGH)

    def rank(item: pytest.Item) -> int:
        return next((n for n, start in enumerate(FIRST) if place(item).startswith(start)), len(FIRST))

    for item in items:
        if is_thorough(item):
            item.add_marker("thorough")
        elif place(item).startswith(LONG):
            item.add_marker("long")
    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Leave what is there for good, hundreds of thousands of objects, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Take back what a parallel loop of Numba's, as pynapple has them, does to OpenMP, and so to torch."""
    torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Let a process of `pytest -n` wait while another compiles the same function, and read what that one has written.

    Kernels are compiled for minutes in all, when they are new.
    """
    if not hasattr(config, "workerinput"):
        return
    locks = Path(config.option.basetemp).parent / "compiling"  # beside the temporary folders of the processes
    locks.mkdir(exist_ok=True)
    compile_ = Dispatcher.compile

    def compile_once(self: Dispatcher, signature: object) -> object:
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}.lock"
        with global_compiler_lock, FileLock(locks / name, is_singleton=True):  # in this order also in other threads
            return compile_(self, signature)

    Dispatcher.compile = compile_once


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def room_for():
    """Lets no file of this process grow beyond a size, within a block, as a full disk or a quota does."""
    return _room_for


@pytest.fixture
def computed(monkeypatch):
    """The splits whose features were computed, not read."""
    from neurosleep.features import cache as vision

    splits, compute = [], vision._compute

    def spy(path, backbone, images, progress):
        splits.append(images.split)
        compute(path, backbone, images, progress)

    monkeypatch.setattr(vision, "_compute", spy)
    return splits
