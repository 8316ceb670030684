"""The template ``api_to_lake``: see ``flow.py``."""
