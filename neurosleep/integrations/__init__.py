"""Sleep inside other people's training loops: a plugin for Avalanche (docs/how-to/avalanche.md)."""

from neurosleep.integrations.avalanche import SleepPlugin

__all__ = ["SleepPlugin"]
