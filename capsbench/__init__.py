"""CapsBench: what happens to an image classifier when the viewpoint changes.

Each public name is imported at its first use, so that ``import capsbench`` imports no torch. The
names are those of ``__init__.pyi``.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
