"""Figures, all drawn with Matplotlib."""
