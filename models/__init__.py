"""Models: one file per architecture."""

import lazy_loader

if not __name__.startswith("capsbench."):
    raise ImportError("import capsbench.models, not models")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
