"""What may be asked of a flow: its two ends, what is taken, under which key, how fast and for how long. Values, checked; no I/O."""
