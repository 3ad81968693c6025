import numpy as np
import pytest
from numba import njit

from neurosleep.sims.errors import InputError
from neurosleep.sims.kernels.drawing import philox
from neurosleep.sims.random import check_seed, firing_thresholds, random_words

# Known-answer vectors published with the generator (Random123, kat_vectors, philox4x32 10).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]) -> None:
    @njit
    def call(c, k):
        return philox(c[0], c[1], c[2], c[3], k[0], k[1])

    words = call(np.array(counter, dtype=np.uint64), np.array(key, dtype=np.uint64))
    assert tuple(int(w) for w in words) == expected


def test_numpy_words_are_the_generators() -> None:
    """Known answer 3 again, through seed, stream and step: block 0x243F6A88 is out of reach, so check a block of 0."""
    seed, step, stream = 0x299F31D0_A4093822, 0x13198A2E_85A308D3, 0x03707344

    @njit
    def call(block):
        return philox(block, 0x85A308D3, 0x13198A2E, 0x03707344, np.uint64(0xA4093822), np.uint64(0x299F31D0))

    expected = [int(w) for block in range(3) for w in call(block)]
    assert random_words(seed, stream, step, 11).tolist() == expected[:11]


def test_words_differ_by_seed_stream_step_and_neuron() -> None:
    words = [
        random_words(*key, 4) for key in ((1, 0, 0), (2, 0, 0), (1 << 40, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 1 << 33))
    ]
    assert len({int(word) for block in words for word in block}) == 24


def test_thresholds_give_the_probability() -> None:
    thresholds = firing_thresholds(np.array([0.0, 0.25, 1.0, 7.0]))
    assert thresholds.tolist() == [0, 2**30, 2**32, 2**32]
    fired = np.mean([random_words(3, 0, step, 1000) < np.uint64(2**30) for step in range(200)])
    assert fired == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / 200_000))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "1", None])
def test_wrong_seeds(seed: object) -> None:
    with pytest.raises(InputError, match="seed must be a whole number"):
        check_seed(seed)
