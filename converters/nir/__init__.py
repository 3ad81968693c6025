"""Networks as NIR files for neuromorphic toolchains, and back."""
