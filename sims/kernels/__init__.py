"""Compiled event-driven kernels of the `cpu` backend: plain arrays in, plain arrays changed in place.

`layout` says which arrays there are; `drawing` makes the input fire; `integration` adds presynaptic rows and finds who
fires; `gated` and `separable` are the two plasticity rules; `gate` is the gate's exp; `selection` is downscaling;
`night` puts the steps together, and `minibatch` does so for several streams of noise at once. `convolution` has the
steps of nights with shared or frozen weights. `graph` and its `graph_layout` are for networks that are awake.
`open` has the steps of all other nights, every neuron and weight at once, with `open_layout`, `open_neurons` and
`open_learning`.
"""
