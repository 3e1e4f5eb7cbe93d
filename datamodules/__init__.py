"""The data modules: one file per data set."""

if not __name__.startswith("capsbench."):
    raise ImportError("import capsbench.datamodules, not datamodules")
