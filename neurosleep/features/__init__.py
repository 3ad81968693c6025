"""Features of frozen convolutional layers: architectures, recipes to train them, and a cache."""
