"""What makes neurons fire during sleep: the drives."""
