"""The template ``taxi_best_tips``: see ``flow.py``."""
