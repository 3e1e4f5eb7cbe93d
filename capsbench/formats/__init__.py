"""Formats in which data sets are published, read into arrays; nothing is ever unpickled."""
