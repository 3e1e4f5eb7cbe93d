"""Joining runs folders of several machines."""
