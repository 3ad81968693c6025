"""Where there is no GPU, or no numba-cuda: one clear line, and nothing is imported in vain."""

import importlib.util
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.errors import BackendError
from neurosleep.sims.network import SpikingLayer, SpikingNetwork


def test_missing_package_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba_cuda" else find_spec(name))
    network = SpikingNetwork((SpikingLayer(np.ones((3, 2))),))
    with pytest.raises(BackendError, match=r"^[^\n]*numba-cuda[^\n]*pip install 'neurosleep\[cuda\]'[^\n]*'cpu'$"):
        simulate(network, UniformNoise(50.0), None, 1, backend="cuda")


def run(program: str, **variables: str) -> str:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout


def test_missing_gpu_is_said_in_one_line() -> None:
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")
    program = """
from neurosleep.sims.cuda_kernels.gpu import require_gpu
from neurosleep.sims.errors import BackendError
try:
    require_gpu()
except BackendError as error:
    print(error)
"""
    hidden = {"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": "-1", "NUMBA_CUDA_DRIVER": "/no/driver"}
    said = run(program, **hidden).splitlines()
    assert len(said) == 1
    assert said[0].startswith("backend 'cuda' needs an NVIDIA GPU with its driver")
    assert said[0].endswith("use backend='cpu'")


def test_numba_cuda_is_imported_only_when_needed() -> None:
    program = "import sys, neurosleep, neurosleep.sims.engines.cuda; print('numba.cuda' in sys.modules)"
    assert run(program) == "False\n"


@pytest.mark.parametrize(
    ("missing", "driver", "said"),
    [
        ("nvrtc", 13_000, "found a GPU, but not NVIDIA's compiler library nvrtc: pip install"),
        (None, 11_080, "found libraries of CUDA 12.9, but a driver that takes at most CUDA 11.8: update the driver"),
        (None, 12_020, None),
        (None, 13_000, None),
    ],
)
def test_missing_libraries_and_old_drivers_are_said(
    monkeypatch: pytest.MonkeyPatch, missing: str | None, driver: int, said: str | None
) -> None:
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")
    from cuda import bindings, pathfinder

    from neurosleep.sims.cuda_kernels import gpu

    def load(library: str) -> None:
        if library == missing:
            raise pathfinder.DynamicLibNotFoundError

    monkeypatch.setattr(pathfinder, "load_nvidia_dynamic_lib", load)
    monkeypatch.setattr(bindings, "driver", SimpleNamespace(cuDriverGetVersion=lambda: (0, driver)), raising=False)
    monkeypatch.setattr(bindings, "nvrtc", SimpleNamespace(nvrtcVersion=lambda: (0, 12, 9)), raising=False)
    with nullcontext() if said is None else pytest.raises(BackendError, match=re.escape(said)):
        gpu._require_compiler()
