"""Torch modules as graphs of spiking populations: reading, algebra of operators, normalisation, reports."""
