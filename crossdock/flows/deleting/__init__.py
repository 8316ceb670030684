"""Deleting, and what must hold before: each object only in the version that was seen, written down before it is done."""
