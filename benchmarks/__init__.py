"""Figures to compare gapless with others by; `scripts/benchmark` runs it."""
