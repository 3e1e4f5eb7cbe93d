"""Networks of timm by name: ``timm:resnet10t``."""

from __future__ import annotations

import importlib.util
from functools import partial
from inspect import Parameter

from capsbench.errors import UserError, unknown
from capsbench.wrapping.builder import Builder


def require_timm(name: str) -> None:
    """Refuse a network that timm does not have.

    Raises:
        UserError: timm is not installed, or knows no such network.
    """
    if importlib.util.find_spec("timm") is None:
        raise UserError(
            f"model 'timm:{name}' needs the package timm: pip install 'capsbench[timm]'"
        )
    import timm

    if not timm.is_model(name):
        raise unknown("network of timm:", name, timm.list_models(), "timm.list_models()")


def timm_builder(name: str) -> Builder:
    """Return the builder of a network of timm; what its architecture takes is fitted.

    Args:
        name: Name in ``timm.list_models()``.

    Raises:
        UserError: timm is not installed, or knows no such network.
    """
    require_timm(name)
    import timm

    pretrained = Parameter("pretrained", Parameter.KEYWORD_ONLY, default=False)
    return Builder(
        partial(timm.create_model, name),
        {"pretrained": pretrained},
        {"pretrained": bool},
        keywords="kwargs",
        tried=("num_classes", "in_chans", "img_size"),
    )
