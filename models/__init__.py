"""Models: one file per architecture."""

if not __name__.startswith("capsbench."):
    raise ImportError("import capsbench.models, not models")
