"""Capsule layers, votes, routing algorithms and losses, in plain torch."""
