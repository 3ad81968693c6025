"""What a rule of one's own may be, that it compiles once for all processes, and what it is told if it may not."""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pytest

from neurosleep.sims.compiled import compiled
from neurosleep.sims.errors import InputError
from neurosleep.sims.rules.code import rule_digest
from neurosleep.sims.rules.compiling import evaluate, program
from neurosleep.sims.rules.exponential import exp
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.rules.per_layer import PerLayer
from neurosleep.sims.rules.rule import Rule, Trace, Wrapper
from neurosleep.sims.rules.traces import left, left_tables

FLOAT32 = np.dtype(np.float32)


def squashed(w: float, scale: float) -> float:
    return shifted(w) * scale


def shifted(w: float) -> float:
    return exp(-abs(w)) - 1


@dataclass(frozen=True)
class Own(Rule):
    inc: float
    tau: float = 0.02

    traces = {"x": Trace("pre", tau="tau"), "y": Trace("post", tau=0.05, kind="nearest")}  # noqa: RUF012

    def on_post(self, w: float, x: float, fired: bool) -> float:
        return w + self.inc * x * squashed(w, 2.0) if fired else w - self.inc

    def on_pre(self, w: float, y: float, modulator: float) -> float:
        return w - y * modulator * math.sqrt(self.inc)


@dataclass(frozen=True)
class Twice(Wrapper):
    times: float

    def change(self, w: float, new: float) -> float:
        return w + self.times * (new - w)


def compiled_values(rule: Rule, w: float, fired: bool, x: float, y: float, modulator: float) -> tuple[float, float]:
    made = program(rule, [True], np.dtype(np.float64))
    return evaluate(made.tag, made.numbers, 0, w, fired, np.array([[x]]), np.array([[y]]), modulator)


def test_exp_has_the_same_bits_compiled() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-760, 709, 2000), rng.normal(0, 1, 2000), [0.0, -0.0, 709.7, -745.1, -800, 800]])
    inside = numba.njit(error_model="numpy")(lambda x: exp(x))
    with np.errstate(over="ignore", under="ignore"):
        plain, library = np.array([exp(float(value)) for value in x]), np.exp(x)
    np.testing.assert_array_equal(plain.view(np.int64), np.array([inside(value) for value in x]).view(np.int64))
    assert np.abs(plain.view(np.int64) - library.view(np.int64)).max() <= 1
    assert math.isnan(exp(math.nan))


@pytest.mark.parametrize("fired", [True, False])
def test_compiled_functions_give_what_python_gives(fired: bool) -> None:
    rng = np.random.default_rng(1)
    rule = Own(0.3)
    for w, x, y, m in rng.normal(0, 2, (50, 4)).tolist():
        assert compiled_values(rule, w, fired, x, y, m) == (rule.on_post(w, x, fired), rule.on_pre(w, y, m))
        wrapped = Twice(rule, 0.7)
        expected = wrapped.change(w, rule.on_post(w, x, fired)), wrapped.change(w, rule.on_pre(w, y, m))
        assert compiled_values(wrapped, w, fired, x, y, m) == expected


@pytest.mark.parametrize("rule", [Hebbian(0.3, 0.1), GatedHebbian(0.3, 0.1)])
def test_rules_that_ship_work_in_the_precision_of_the_weights(rule: Hebbian | GatedHebbian) -> None:
    for w in np.array([0.001, -0.2, 0.0, 0.3], dtype=np.float32):
        for fired in (True, False):
            made = program(rule, [True], FLOAT32)
            got, before = evaluate(made.tag, made.numbers, 0, w, fired, np.ones((0, 1)), np.ones((0, 1)), 1.0)
            step = np.float32(rule.inc if fired else -rule.dec) * rule.factor(np.array([w]))[0]
            assert before == w
            assert got == pytest.approx(w + step, rel=1e-6)
            assert got == np.float32(got)
            assert rule.on_post(float(w), fired) == pytest.approx(w + step, rel=1e-4)


CHILD = """
import json, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import test_rules as here
values = here.compiled_values(here.Twice(here.Own(0.3), 0.7), 0.5, True, 0.2, 0.4, 1.5)
stats = here.evaluate.stats
print(json.dumps([values, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


def test_another_process_finds_the_machine_code() -> None:
    """`PYTHONHASHSEED` differs, as between any two processes."""
    mine = compiled_values(Twice(Own(0.3), 0.7), 0.5, True, 0.2, 0.4, 1.5)
    code = CHILD.format(folder=str(Path(__file__).parent))
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-P", "-c", code]  # the package that is tested, not one in the present folder
    done = subprocess.run(command, env=found, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [list(mine), 1, 0]


def test_numbers_do_not_compile_anew() -> None:
    anew = compiled()(evaluate.py_func)
    traces = np.ones((1, 1))
    for inc in (0.1, 0.2):
        made = program(Own(inc), [True], FLOAT32)
        anew(made.tag, made.numbers, 0, np.float32(0.5), True, traces, traces, 1.0)
    assert len(anew.signatures) == 1


def with_scale(scale: float) -> Rule:
    @dataclass(frozen=True)
    class Scaled(Rule):
        def on_post(self, w: float) -> float:
            return w * scale

    return Scaled()


def test_the_digest_is_of_all_that_a_rule_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rule_digest(Own(0.1))
    assert rule_digest(Own(0.2)) == before
    assert rule_digest(with_scale(2.0)) != rule_digest(with_scale(3.0))
    assert compiled_values(with_scale(3.0), 2.0, True, 0, 0, 1)[0] == 6.0
    monkeypatch.setitem(globals(), "shifted", lambda w: w * w)
    assert rule_digest(Own(0.1)) != before
    assert compiled_values(Own(0.5), 2.0, True, 1.0, 0.0, 1.0)[0] == 2 + 0.5 * 2 * 2.0 * 2.0


def test_per_layer() -> None:
    made = program(PerLayer((Own(0.1), None, Own(0.3))), [True, True, False], FLOAT32)
    assert made.numbers.tolist() == [[0.1, 0.02], [0.0, 0.0], [0.3, 0.02]]
    assert made.plastic.tolist() == [True, False, False]
    with pytest.raises(InputError, match="2 rules, but the network has 3 layers"):
        program(PerLayer((Own(0.1), None)), [True] * 3, FLOAT32)
    with pytest.raises(InputError, match="must be of one class"):
        PerLayer((Own(0.1), Hebbian(0.1, 0.1)))
    with pytest.raises(InputError, match="at least one rule"):
        PerLayer((None,))
    with pytest.raises(InputError, match="rules must be rules"):
        PerLayer((3,))


@pytest.mark.parametrize("tau", [0.3, 20.0, 5e4])
def test_what_is_left_of_a_trace(tau: float) -> None:
    fine, coarse = left_tables(tau)
    n = np.array([0, 1, 1023, 1024, 1025, 70_000, 2**32 - 1])
    np.testing.assert_allclose(left(fine, coarse, n), np.exp(-n / tau), rtol=1e-12 * max(1, 1 / tau), atol=1e-300)


def made_wrong(**parts: object) -> type[Rule]:
    return dataclass(frozen=True)(type("Wrong", (Rule,), {"__annotations__": {}, **parts}))


seen: list[float] = []
count = 0


def remembering(self: object, w: float) -> float:
    seen.append(w)
    return w


def counting(self: object, w: float) -> float:
    global count
    count += 1
    return w


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"Wrong needs a function on_post\(self, w, fired\)"),
        ({"on_post": 3}, "Wrong.on_post must be a plain function"),
        ({"on_post": lambda self, v: v}, r"must begin with \(self, w\), got \(self, v\)"),
        ({"on_post": lambda self, w, x: w}, "has the argument 'x'.*must be declared"),
        ({"on_post": lambda self, w, modulater: w}, "did you mean 'modulator'"),
        ({"on_post": lambda self, w, fired=True: w}, "without defaults"),
        ({"on_post": lambda self, w, *args: w}, "without defaults"),
        ({"traces": {"w": Trace("pre", 0.1)}, "on_post": lambda self, w: w}, "no free name"),
        ({"traces": {"x": Trace("pre", "tua")}, "on_post": lambda self, w: w}, "'tua', which is no field"),
        ({"traces": {"x": 3}, "on_post": lambda self, w: w}, "traces of Wrong must be a mapping"),
        ({"__annotations__": {"n": str}, "on_post": lambda self, w: w}, "write n: float"),
    ],
)
def test_what_is_refused_when_a_rule_is_made(parts: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made_wrong(**parts)()


def test_what_else_is_refused() -> None:
    class NoDataclass(Rule):
        inc: float

        def on_post(self, w: float) -> float:
            return w

    with pytest.raises(InputError, match=r"write @dataclass\(frozen=True\)"):
        NoDataclass(3.0)
    with pytest.raises(InputError, match="tau must be a positive"):
        Own(0.1, tau=0)
    with pytest.raises(InputError, match="tau must be a positive"):
        Trace("pre", -1.0)
    with pytest.raises(InputError, match="inc must be a number"):
        Own("1")
    with pytest.raises(InputError, match="rule must be Rule"):
        Twice(3, 1.0)
    assert Own(1) == Own(1.0)
    assert isinstance(Own(1).inc, float)


def importing(self, w):
    import secrets

    return w + secrets.randbits(8)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (remembering, "refers to 'seen', which is a list"),
        (counting, "writes to 'count'"),
        (lambda self, w: self.nothing, "Wrong.on_post cannot be compiled: Unknown attribute 'nothing'"),
        (lambda self, w: no_such_name, "Wrong.on_post cannot be compiled: .*no_such_name"),  # noqa: F821
        (lambda self, w: None, "Wrong.on_post must return a number, but returns none"),
        (lambda self, w: w if w > 0 else None, "Wrong.on_post must return a number, but returns Optional"),
        (importing, "Wrong.on_post cannot be compiled: Use of unsupported opcode"),
        (lambda self, w: w.round_up(), "Wrong.on_post cannot be compiled: Unknown attribute 'round_up'"),
        (lambda self, w: "a" + w, "Wrong.on_post cannot be compiled"),
    ],
)
def test_what_cannot_be_compiled_is_told_in_one_line(function: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        program(made_wrong(on_post=function)(), [True], FLOAT32)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_what_is_fine_to_refer_to() -> None:
    table, pair = np.array([1.0, 2.0]), (3.0, 4.0)
    rule = made_wrong(on_post=lambda self, w: w + table[1] + pair[0] + np.tanh(w) + math.log1p(abs(w)) + max(w, 0.0))()
    assert compiled_values(rule, 0.5, True, 0, 0, 1)[0] == pytest.approx(
        0.5 + 5 + math.tanh(0.5) + math.log1p(0.5) + 0.5
    )
