"""Sections of the check, one file each (this module does not import torch).

The module of a section has a function ``plan(parts)``, which returns the work of each part by its
name.
"""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """A section.

    Attributes:
        name: Its name.
        title: Description of its work.
        seconds: Its share of the time. What a section leaves is added to those after it.
        module: Its module.
    """

    name: str
    title: str
    seconds: int
    module: str


# Title and seconds, in order. What is most likely to show an error comes first; the last one has
# the most parts that can be cut. The sum is below six minutes, for the start and end of the check.
_SECTIONS = {
    "machine": ("Driver, versions, devices, compilers and limits", 35),
    "kernels": ("Routing kernels against the textbook, values and gradients", 75),
    "precision": ("Mixed precision and torch.compile, first steps of a training", 60),
    "capsnet": ("First 500 steps of a CapsNet of full width", 35),
    "quick": ("capsbench run quick", 65),
    "ddp": ("One training on all devices (DDP)", 35),
    "bench": ("capsbench bench routing step", 45),
}
SECTIONS = {
    name: Section(name, title, seconds, f"{__name__}.{name}")
    for name, (title, seconds) in _SECTIONS.items()
}
