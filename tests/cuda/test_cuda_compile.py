"""The kernels compile for a GPU, and nothing is fused that the CPU rounds twice; this takes a compiler, but no GPU."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

PROGRAM = """
import types
import numpy as np
from numba import cuda
from numba.cuda import dispatcher, types as t
from neurosleep.sims.cuda_kernels import layout, night

dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=(9, 0))

def packed(tuple_class, *entries):
    return t.NamedTuple([t.Array(e[0], e[1], "C") if isinstance(e, tuple) else e for e in entries], tuple_class)

i4, i8, u1, u4, u8, f8 = t.int32, t.int64, t.uint8, t.uint32, t.uint64, t.float64
for real in (t.float32, t.float64):
    plan = packed(layout.Plan, (i8, 1), (i8, 1), (u4, 1), i8)
    members = packed(
        layout.Members, (real, 2), (real, 2), (real, 2), (f8, 2), (u1, 2), (real, 2), (i4, 1), (real, 1), (real, 1),
        (real, 1), (u8, 1), (u8, 2), (i8, 2), (i8, 1), (i8, 1), (i4, 1),
    )
    state = packed(
        layout.Night, (i8, 1), (real, 2), (real, 2), (i8, 2), (real, 2), (real, 1), (u4, 1), (i8, 2)
    )
    backlog = packed(layout.Backlog, (u4, 2), (i4, 2), (i4, 2), (i4, 2), (i4, 2), (i4, 2))
    events = packed(
        layout.Events, (i8, 1), (u4, 2), (u4, 2), (u1, 2), (i4, 2), (i8, 1), (i8, 1), (i8, 1), (u4, 1), (u4, 1)
    )
    signature = t.void(i8, plan, members, state, backlog, events)
    print(cuda.compile_ptx(night.advance.py_func, signature, cc=(9, 0))[0])
"""


def test_no_product_is_fused_with_a_sum() -> None:
    for library in ("nvvm", "nvrtc"):
        try:
            load_nvidia_dynamic_lib(library)
        except DynamicLibNotFoundError:
            pytest.skip(f"NVIDIA's compiler library {library} is not installed: pip install 'neurosleep[cuda]'")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(re.findall(r"\bmul\.rn\.f32", done.stdout)) > 50
    assert len(re.findall(r"\bmul\.rn\.f64", done.stdout)) > 50
    assert not re.findall(r"\bfma\.", done.stdout)
    # products that may be fused are those of the leak's power, which go into no sum
    assert len(re.findall(r"\bmul\.f(?:32|64)", done.stdout)) == 2 * 2
