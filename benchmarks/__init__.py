"""Benchmarks: commands side by side with the alternative, given as ratios. Run with ``make bench``."""
