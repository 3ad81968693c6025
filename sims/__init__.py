"""The simulation: spiking networks as plain arrays, backends that let them sleep, and spikes on disk."""
