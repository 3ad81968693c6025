"""`check_rule` names the first difference between a rule as it was written and what runs."""

import random
from dataclasses import dataclass

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.sims.rules import checking


def lasting(*, on_post: object) -> ns.Rule:
    return dataclass(frozen=True)(type("Mine", (ns.Rule,), {"__annotations__": {}, "on_post": on_post}))()


def test_a_rule_of_everything_passes() -> None:
    rule = ns.KeepSign(ns.Neuromodulated(ns.TripletSTDP(0.001, 0.002, 0.001)))
    ns.check_rule(rule)
    ns.check_rule(ns.PerLayer((rule, None)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda self, w: int(w * 1e9) ** 3 * 1e-30, r"on_post of Mine\(\) for w=.* is .* in Python, but .* compiled"),
        (lambda self, w: w + random.random(), "then .*: a rule must give the same for the same arguments"),  # noqa: S311
        (lambda self, w: w / (w - w), r"Mine\..*\(w=.*\) fails: float division by zero"),
        (lambda self, w: np.sqrt(-abs(w)), r"gives nan; a weight must stay a finite number"),
        (lambda self, w: w.upper(), "cannot be compiled: Unknown attribute 'upper'"),
    ],
)
def test_the_first_difference_is_named(function: object, message: str) -> None:
    with pytest.raises(ns.InputError, match=message) as error:
        ns.check_rule(lasting(on_post=function))
    assert "\n" not in str(error.value)


def test_a_night_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a backend put another rule into the same night."""
    simulate = checking.simulate

    def other(network: object, drive: object, rule: ns.Hebbian, steps: int, **how: object) -> object:
        return simulate(network, drive, ns.Hebbian(0.1, 0.2) if how["backend"] == "cpu" else rule, steps, **how)

    monkeypatch.setattr(checking, "simulate", other)
    with pytest.raises(ns.InputError, match=r"after step \d+ the weight from \d+ to \d+ of layer 0 is .*, but"):
        ns.check_rule(ns.Hebbian(0.1, 0.3))


def test_what_is_no_rule() -> None:
    with pytest.raises(ns.InputError, match="check_rule needs a rule"):
        ns.check_rule(ns.Hebbian)
