"""The groups of rows, one file for each; free of torch itself, so that help can name them."""

GROUPS = ("routing", "step", "data", "sweep", "startup")
