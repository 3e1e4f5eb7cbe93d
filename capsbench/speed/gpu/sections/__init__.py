"""Sections of the check, one file each (this module does not import torch).

The module of a section has a function ``plan(parts)``, which returns the work of each part by its
name.
"""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """A section.

    Attributes:
        title: Description of its work.
        seconds: Its share of the time. What a section leaves is added to those after it.
    """

    title: str
    seconds: int


# In order. The last one takes all the time that is left, so that the most important rows of speed
# come first in it. The sum is below six minutes, for the start and the end of the check itself.
SECTIONS = {
    "machine": Section("Driver, versions, devices, compilers and limits", 40),
    "kernels": Section("Routing kernels against the textbook, values and gradients", 80),
    "precision": Section("Mixed precision and torch.compile, first steps of a training", 65),
    "capsnet": Section("First 500 steps of a CapsNet of full width", 35),
    "quick": Section("capsbench run quick", 45),
    "ddp": Section("One training on all devices (DDP)", 35),
    "bench": Section("capsbench bench routing step", 45),
}
