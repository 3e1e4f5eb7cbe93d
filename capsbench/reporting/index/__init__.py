"""The page of a runs folder: all of its benchmarks, models and runs."""
