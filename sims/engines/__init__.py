"""Engines that let networks sleep: the contract, the specification, and compiled ones for CPU and GPU."""
