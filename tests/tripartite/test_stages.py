"""The stages of a night, and nights made of them."""

import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.homeostasis.downscaling import MagnitudePruning
from neurosleep.tripartite import NREM, REM, Interleaved, Night, StageRecord


def test_a_night_goes_through_its_stages_in_every_cycle():
    pruning, nrem, rem = MagnitudePruning(0.75), NREM(4), REM(3)
    night = Night([pruning, nrem, rem], cycles=2)
    assert list(night) == [pruning, nrem, rem, pruning, nrem, rem]
    assert night.iterations == 14


def test_defaults_are_the_papers_and_its_base_networks():
    assert (NREM().iterations, NREM().batch_size) == (10_000, 256)
    assert (REM().batch_size, REM().targets, REM().temperature) == (256, "soft", 2.0)
    assert Interleaved().rem == REM()


def test_a_record_is_plain_values():
    record = StageRecord("nrem", 2, 5, 0.5, {"reconstruction": 1.0})
    assert record.to_dict() == {
        "stage": "nrem",
        "task": 2,
        "iterations": 5,
        "seconds": 0.5,
        "losses": {"reconstruction": 1.0},
        "zeroed": {},
    }


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NREM(0), "iterations must be a whole number of at least 1, got 0"),
        (lambda: NREM(True), "iterations must be a whole number, got True"),
        (lambda: Interleaved(2.5), "iterations must be a whole number, got 2.5"),
        (lambda: REM(1, batch_size=0), "batch_size must be"),
        (lambda: REM(targets="mild"), "no targets 'mild'"),
        (lambda: REM(temperature=0.0), "temperature must be a positive, finite number, got 0.0"),
        (lambda: REM(temperature=float("nan")), "temperature must be a number, got nan"),
        (lambda: Interleaved(rem=NREM(1)), "rem REM"),
        (lambda: Interleaved(nrem=None), "take REM"),
        (lambda: NREM(imagined=1.5), "imagined must be a share from 0 to 1"),
        (lambda: Night([]), "at least one stage"),
        (lambda: Night(["nrem"]), "made of stages such as NREM"),
        (lambda: Night([NREM(1)], cycles=0), "cycles must be"),
    ],
)
def test_bad_stages_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
