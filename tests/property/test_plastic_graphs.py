"""What must hold for any graph that sleeps, on the reference; other engines are held against it."""

from random_graphs import plastic_graphs
from hypothesis import given, settings, strategies as st
import numpy as np
from neurosleep.sims.drives.rates import UniformNoise
from neurosleep.sims.ensemble import simulate
from neurosleep.sims.rules.hebbian import Hebbian

C = [0,0,0]
@given(plastic_graphs(), st.integers(0, 2**64-1))
@settings(max_examples=200)
def test_x(graph, seed):
    done = simulate(graph, UniformNoise(300.0), Hebbian(2**-10, 2**-13), 10, seed=seed, backend="reference")
    C[0]+=1
    C[1]+=all(c.sum()>0 for c in done.spike_counts)
    C[2]+=any(not np.array_equal(a,b) for a,b in zip(graph.weights, done.network.weights))
    print(C)
