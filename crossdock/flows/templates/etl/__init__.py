"""The template ``etl``: see ``flow.py``."""
