"""The template ``games_to_parquet``: see ``flow.py``."""
