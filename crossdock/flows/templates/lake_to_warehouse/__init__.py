"""The template ``lake_to_warehouse``: see ``flow.py``."""
