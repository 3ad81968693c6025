"""Spiking networks that are awake: graphs of populations, and engines that show them inputs."""
