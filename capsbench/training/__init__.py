"""The task that trains a model, its recipe and its callbacks."""
