"""The template ``migrate_bucket``: see ``flow.py``."""
