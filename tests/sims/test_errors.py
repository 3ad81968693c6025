"""What errors say of names that are not known."""

from neurosleep.sims.errors import nearest, unknown


def test_unknown_names_the_nearest() -> None:
    assert unknown("metric", "acuracy", ["rate", "accuracy"]) == (
        "no metric 'acuracy'; did you mean 'accuracy'? (known: rate, accuracy)"
    )
    assert unknown("metric", "xyz", ["rate"]) == "no metric 'xyz' (known: rate)"
    assert unknown("kind", None, ["ReLU"]) == "no kind (known: ReLU)"
    assert nearest(3, ["13"]) == "; did you mean '13'?"
