"""What became of each object: records as immutable segments at any URL, and what follows from them in numbers."""
