"""What errors say, and that they say it in one line."""

from copy import copy

import h5py
import pytest

from neurosleep.data.embeddings import load_embeddings
from neurosleep.sims.errors import InputError, nearest, unknown


def test_unknown_names_the_nearest() -> None:
    assert unknown("metric", "acuracy", ["rate", "accuracy"]) == (
        "no metric 'acuracy'; did you mean 'accuracy'? (known: rate, accuracy)"
    )
    assert unknown("metric", "xyz", ["rate"]) == "no metric 'xyz' (known: rate)"
    assert unknown("kind", None, ["ReLU"]) == "no kind (known: ReLU)"
    assert nearest(3, ["13"]) == "; did you mean '13'?"


def test_names_of_a_file_do_not_break_the_line(tmp_path):
    with h5py.File(tmp_path / "vectors.h5", "w") as file:
        file["train\n\x1b[2Jx"] = 1
    with pytest.raises(InputError, match=r"found train\\n\\x1b\[2Jx$"):
        load_embeddings(tmp_path / "vectors.h5")
    assert str(copy(InputError("a\nb", "c"))) == str(InputError("a\nb", "c")) == "('a\\nb', 'c')"
    assert str(InputError("µ ✓ 'a\\b'")) == "µ ✓ 'a\\b'"
