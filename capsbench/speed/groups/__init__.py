"""Groups of rows, one file each (this module does not import torch)."""

GROUPS = ("routing", "routings", "step", "data", "sweep", "startup", "page", "growth", "executors")
ON_REQUEST = ("executors",)  # groups that take many minutes
