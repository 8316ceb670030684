"""What is said of runs: numbers that add up, each object with its fate, one page, and word of the end."""
