"""`python -m neurosleep` is `neurosleep`."""

from neurosleep.cli import main

main()
