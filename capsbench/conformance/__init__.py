"""The contract of a model as a list of checks, each told in plain words."""
