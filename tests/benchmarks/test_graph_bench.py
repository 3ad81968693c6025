"""The benchmark of graphs: both sides compute the same night, at the rates that were asked for."""

import numpy as np

from neurosleep.benchmarks import graph


def test_a_small_resnet_fires_at_the_rates_and_as_the_loop_of_dense_products() -> None:
    network = graph.resnet(((8, 1), (16, 2)))
    found = graph.contest(network, rounds=1, steps=50, settling=1000)
    assert [row["rate"] for row in found["rows"]] == list(graph.RATES)
    for row in found["rows"]:
        assert row["most_different"] == 0
        assert np.all(np.abs(np.array(row["rates"][:-1]) / row["rate"] - 1) < 0.5)
        assert row["ratio"]["median"] > 0
    assert "8.0%" in graph.as_text({**found, "machine": {"processor": "x", "cores": 1, "caches": {}, "versions": {}}})
