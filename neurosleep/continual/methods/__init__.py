"""Methods of continual learning, one a file."""
