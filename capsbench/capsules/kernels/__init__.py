"""Passes over the votes, in one implementation for each backend."""
