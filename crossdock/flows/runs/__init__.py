"""A run as a directory at any URL: its question, manifest and shards, who drives it, what it came to."""
