"""Speed measurements: rows of work timed alternately, relative to a baseline and to limits."""
