"""The data modules: one file per data set."""

import lazy_loader

if not __name__.startswith("capsbench."):
    raise ImportError("import capsbench.datamodules, not datamodules")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
