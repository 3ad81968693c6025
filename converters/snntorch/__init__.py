"""Networks for snnTorch, and back."""
