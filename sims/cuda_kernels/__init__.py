"""Compiled event-driven kernels of the `cuda` backend (numba-cuda): one block of threads sleeps for one network.

`layout` says which arrays there are; `arithmetic` makes the device round as the CPU does; `block` has what the threads
of a block do together; `drawing` makes the input fire; `membranes` adds presynaptic rows and finds who fires; `gated`
and `separable` are the two plasticity rules; `night` puts the steps together; `downscaling` is selection by radix.
`own` is the night for rules of one's own (`own_code`, `learning`), `open` the one with features of neurons
(`open_neurons`), projections and kicks. `graph` is the night of graphs: `graph_tables` makes a graph into tables, of
which `graph_ways` brings spikes to a layer, and `graph_learning` changes weights.

Who does what. The neurons of a population, and so the columns of a layer's weights, are dealt out to the threads one by
one: neuron j belongs to thread ``j % THREADS``. Only its own thread touches a neuron's membrane, impulse, count and
debt (``owed``), so these need no barrier. Everything else is shared.

Barriers. A step is made of stages: the input, then each layer that has anything to do. The rules, which keep the block
free of races and of threads waiting for each other for ever:

1. A stage begins and ends with everything visible to all threads: whatever it changed is followed by a barrier.
2. Whether a thread comes to a barrier depends only on what is the same for the whole block: arguments, arrays that no
   thread changes in this stage before its first barrier, and results of ``syncthreads_or``. No thread returns early.
3. What is one for the block and changes (events used, firings listed, the step of a membrane) is read by all threads
   at the begin of a stage into registers, and written by thread 0 after the first barrier of the stage.
4. Between stages the shared mask and its count are 0; whoever uses them (`block.collect`) clears them, barriers on
   both sides. The shared counters (`gated`) are cleared by each thread for its own columns before use.
5. Lists in memory of who fired are written in one stage and read after a barrier.

Additions in another order than on the CPU would round differently, so a sum of rows is never split between threads.
Whole numbers may be added in any order: those are atomic.
"""
