"""Search for parameters of sleep: `neurosleep tune NAME`."""
