"""Benchmark files, cells, records, and the executors that run them."""
