"""Our engines against other ways to compute the same night, timed side by side: `neurosleep bench`."""
