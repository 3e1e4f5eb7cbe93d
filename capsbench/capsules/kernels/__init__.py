"""Passes over the votes, as every backend makes them."""
