"""Speed measurements: rows of work timed in turn, relative to a baseline and to machine limits."""
