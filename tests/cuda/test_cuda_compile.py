"""The kernels compile for a GPU, and nothing is fused that the CPU rounds twice; this takes a compiler, but no GPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'neurosleep[test]'")

from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

TYPES = """
import types
from dataclasses import dataclass
import numpy as np
from numba import cuda
from numba.cuda import dispatcher, types as t
from neurosleep.sims.cuda_kernels import graph_layout, layout, night

dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=(9, 0))

def packed(tuple_class, *entries):
    return t.NamedTuple([t.Array(e[0], e[1], "C") if isinstance(e, tuple) else e for e in entries], tuple_class)

i4, i8, u1, u4, u8, f8 = t.int32, t.int64, t.uint8, t.uint32, t.uint64, t.float64

def arrays(real):
    plan = packed(layout.Plan, (i8, 1), (i8, 1), (u4, 1), i8)
    members = packed(
        layout.Members, (real, 2), (real, 2), (real, 2), (f8, 2), (u1, 2), (real, 2), (i4, 1), (real, 1), (real, 1),
        (real, 1), (u8, 1), (u8, 2), (i8, 2), (i8, 1), (i8, 1), (i8, 1), (i4, 1),
    )
    state = packed(
        layout.Night, (i8, 1), (real, 2), (real, 2), (i8, 2), (real, 2), (real, 1), (u4, 1), (i8, 2)
    )
    backlog = packed(layout.Backlog, (u4, 2), (i4, 2), (i4, 2), (i4, 2), (i4, 2), (i4, 2))
    events = packed(
        layout.Events, (i8, 1), (u4, 2), (u4, 2), (u1, 2), (i4, 2), (i8, 1), (i8, 1), (i8, 1), (u4, 1), (u4, 1)
    )
    return plan, members, state, backlog, events
"""

NIGHT = """
for real in (t.float32, t.float64):
    print(cuda.compile_ptx(night.advance.py_func, t.void(i8, *arrays(real)), cc=(9, 0))[0])
"""

OWN = """
import neurosleep as ns
from neurosleep.sims.cuda_kernels import open, own, own_code
from neurosleep.sims.rules import exponential
from neurosleep.sims.rules.compiling import program

def falling(x):
    x *= x - 1
    return exponential.exp(-x) * x - x ** 3

@dataclass(frozen=True)
class Everything(ns.Rule):
    rate: float
    traces = {"x": ns.Trace("pre", tau=0.02), "y": ns.Trace("post", tau=0.01, kind="nearest")}

    def on_post(self, w: float, modulator: float, y: float, x: float, fired: bool) -> float:
        return w + self.rate * falling(x * 2 - modulator * y) if fired else w - self.rate * x

    def on_pre(self, w: float, fired: bool, y: float) -> float:
        return w - fired * self.rate * y

@dataclass(frozen=True)
class Loud(ns.Rule):
    def on_post(self, w: float, fired: bool) -> float:
        return w + len(str(int(w)))

def compiled(rule, real, opened=False):
    made = program(rule, [True], np.dtype(str(real)))
    plan, members, state, _, events = arrays(real)
    number = t.float64 if made.numbers.dtype == np.float64 else real
    links = packed(layout.Links, (u1, 2), (i8, 1), (i8, 1))
    rules = packed(layout.Rules, (number, 3), (f8, 2), (f8, 2), (f8, 2), (i8, 1))
    ends = packed(layout.Ends, (f8, 3), (i8, 2), (i4, 3), (f8, 1), (f8, 3), (i8, 2))
    more = (
        packed(layout.Cells, (f8, 3), (i4, 2), (f8, 2), (f8, 2)),
        packed(layout.Routes, (i8, 2), (i8, 1), (real, 2), (real, 2), (u1, 1), (i4, 2), (u4, 1), (i4, 3)),
        packed(layout.Kicked, (real, 2), (i8, 2), (i8, 1), (i4, 1)),
    )
    kernel = (open if opened else own).advance_with(own_code.code_of(rule, made.tag._numba_type_)).py_func
    signature = t.void(i8, plan, members, state, links, rules, ends, ends, *(more if opened else ()), events)
    return cuda.compile_ptx(kernel, signature, cc=(9, 0))[0]

print(compiled(Everything(0.1), t.float32, opened=True))
for rule in (Everything(0.1), ns.GatedHebbian(0.1, 0.1)):
    print(compiled(rule, t.float32))
print("said:")
for rule in (Loud(),):
    try:
        compiled(rule, t.float64)
    except ns.BackendError as error:
        print(error)
"""


GRAPH = """
import neurosleep as ns
from neurosleep.sims.cuda_kernels import graph, own_code
from neurosleep.sims.rules.compiling import program

@dataclass(frozen=True)
class Soft(ns.Rule):
    rate: float

    def on_post(self, w: float, fired: bool) -> float:
        return w + self.rate * (1 - w) * (1 if fired else -w)

for rule, real in ((Soft(0.1), t.float32), (ns.GatedHebbian(0.1, 0.1), t.float64)):
    made = program(rule, [True], np.dtype(str(real)))
    plan, members, state, _, events = arrays(real)
    number = t.float64 if made.numbers.dtype == np.float64 else real
    tables = packed(
        graph_layout.Graph, (i8, 1), (i8, 1), (i8, 2), (i8, 2), (i8, 2), (i8, 1), (i4, 1), (real, 2), i8, i8
    )
    passing = packed(
        graph_layout.Passing, (real, 2), (i4, 2), (f8, 2), (real, 2), (i4, 2), (u4, 1), (i4, 2), (i4, 2), (i4, 2)
    )
    kind = made.tag._numba_type_
    kernel = graph.advance_with(own_code.code_of(rule, kind), kind.kind).py_func
    signature = t.void(i8, plan, members, state, tables, passing, t.Array(number, 3, "C"), events)
    print(cuda.compile_ptx(kernel, signature, cc=(9, 0))[0])
"""


def run(program: str, tmp_path: Path) -> str:
    for library in ("nvvm", "nvrtc"):
        try:
            load_nvidia_dynamic_lib(library)
        except DynamicLibNotFoundError:
            pytest.skip(f"NVIDIA's compiler library {library} is not installed: pip install 'neurosleep[cuda]'")
    file = tmp_path / "program.py"  # a rule's source must lie in a file
    file.write_text(TYPES + program)
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_no_product_is_fused_with_a_sum(tmp_path: Path) -> None:
    ptx = run(NIGHT, tmp_path)
    assert len(re.findall(r"\bmul\.rn\.f32", ptx)) > 50
    assert len(re.findall(r"\bmul\.rn\.f64", ptx)) > 50
    assert not re.findall(r"\bfma\.", ptx)
    # products that may be fused are those of the leak's power, which go into no sum
    assert len(re.findall(r"\bmul\.f(?:32|64)", ptx)) == 2 * 2


def test_graphs_compile(tmp_path: Path) -> None:
    """Nothing is fused, and arguments fit a launch of any driver."""
    ptx = run(GRAPH, tmp_path)
    kernels = ptx.split(".visible .entry")[1:]
    assert len(kernels) == 2
    assert max(8 * len(re.findall(r"\.param ", kernel.split("{")[0])) for kernel in kernels) <= 4096
    assert not re.findall(r"\bfma\.", ptx)
    assert len(re.findall(r"\bmul\.f(?:32|64)", ptx)) == 2 * 2  # the leak's power, which goes into no sum


def test_rules_of_ones_own_compile(tmp_path: Path) -> None:
    """Nothing of theirs is fused, either, nothing is left of functions that a rule lacks, and they fit a launch."""
    ptx, said = run(OWN, tmp_path).split("said:\n")
    kernels = ptx.split(".visible .entry")[1:]
    assert len(kernels) == 3
    sizes = [8 * len(re.findall(r"\.param ", kernel.split("{")[0])) for kernel in kernels]
    assert sizes[0] < 32_764
    assert max(sizes[1:]) <= 4096
    assert not re.findall(r"\bfma\.", ptx)
    assert len(re.findall(r"\bmul\.f(?:32|64)", ptx)) == 2 * 2
    assert len(re.findall(r"\bmul\.rn\.f64", kernels[0])) > len(re.findall(r"\bmul\.rn\.f64", kernels[2])) + 20
    assert re.fullmatch(r"Loud\.on_post cannot be compiled for a GPU: [^\n]*; use backend='cpu'\n", said)
