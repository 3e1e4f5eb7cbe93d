"""Conformance checks: the contract of a model, check by check."""
