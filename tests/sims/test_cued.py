"""Cued replay: the pattern of one task, in its share of the steps and no others."""

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.sims.drives.cued import cues, recalled
from neurosleep.sims.drives.populations import Drives, Kicks
from neurosleep.sims.drives.sum import Sum

STEPS = np.arange(256)
MEAN, PATTERN = np.array([0.5, 0.5, 0.0, 0.25]), np.array([0.0, 1.0, 0.5, 0.25])


@pytest.mark.parametrize(("share", "length"), [(0.05, 1), (0.05, 4), (0.25, 8), (0.5, 1), (1.0, 3)])
def test_cues_have_their_share_of_the_steps(share, length):
    drive = ns.CuedReplay(ns.MeanRate(125.0), 1, share, length, PATTERN)
    found = drive.probability(np.arange(8_000), 4, 0.001, MEAN)
    cued = (found == 0.25 * PATTERN).all(1)
    assert (found[~cued] == 0.25 * MEAN).all()
    assert cued.mean() == pytest.approx(share, abs=0.001)
    begins = np.flatnonzero(np.diff(cued.astype(int), prepend=0) == 1)
    assert begins[0] == 0
    if share < 0.5:
        ends = np.flatnonzero(np.diff(cued.astype(int), append=0) == -1)
        assert set(ends - begins + 1) == {length}
        assert np.ptp(np.diff(begins)) <= 1


def test_any_block_of_steps_has_the_same_cues():
    drive = ns.CuedReplay(ns.MeanRate(125.0), 1, 0.07, 3, PATTERN)
    whole = drive.probability(np.arange(1_000), 4, 0.001, MEAN)
    parts = [drive.probability(np.arange(first, first + 250), 4, 0.001, MEAN) for first in range(0, 1_000, 250)]
    assert (whole == np.concatenate(parts)).all()


def test_the_memory_gives_the_pattern_where_it_is_remembered():
    cued = ns.CuedReplay(ns.MeanRate(125.0), task=2)
    assert recalled(cued, [MEAN]) == ns.MeanRate(125.0)
    assert recalled(cued, [MEAN, PATTERN]).pattern is PATTERN
    plain = ns.SlowOscillation(ns.MeanRate(125.0))
    assert recalled(plain, [MEAN]) is plain
    within = Drives({"input": ns.SlowOscillation(Sum((cued, ns.UniformNoise(2.0)))), "output": Kicks(plain, 0.5)})
    assert list(cues(within)) == [cued]
    found = recalled(within, [MEAN, PATTERN])
    assert found["input"].drive.drives[0].pattern is PATTERN
    assert (found["input"].drive.drives[1], found["output"]) == (ns.UniformNoise(2.0), Kicks(plain, 0.5))


def test_what_cannot_be():
    with pytest.raises(ns.InputError, match=r"Memory\(each_task=True\)"):
        ns.CuedReplay(ns.MeanRate(125.0)).probability(STEPS, 4, 0.001, MEAN)
    with pytest.raises(ns.InputError, match="mean_input must lie in"):
        ns.CuedReplay(ns.MeanRate(125.0), pattern=2 * PATTERN).probability(STEPS, 4, 0.001, MEAN)
    with pytest.raises(ns.InputError, match=r"Memory\(each_task=True\)"):
        recalled(Drives({"input": ns.SlowOscillation(ns.CuedReplay(ns.MeanRate(125.0)))}), None)
    for wrong in ({"share": 0.0}, {"share": 1.5}, {"task": 0}, {"length": 0}):
        with pytest.raises(ns.InputError, match=next(iter(wrong))):
            ns.CuedReplay(ns.MeanRate(125.0), **wrong)
