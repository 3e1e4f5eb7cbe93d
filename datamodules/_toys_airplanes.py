"""Ten airplanes, each with different proportions."""

from __future__ import annotations

from math import radians, tan
from typing import NamedTuple

from capsbench.datamodules._toys_parts import ToyPart, both_sides, piece


class Airplane(NamedTuple):
    """Proportions of an airplane; lengths in a unit of their own."""

    length: float  # half, of the fuselage
    girth: float  # radius of the fuselage
    span: float  # of a wing
    chord: float  # half, of a wing
    sweep: float  # degrees that a wing points back
    height: float  # of the wings, from the fuselage's axis in its radii
    place: float  # of the wings' roots, from the middle to the front
    tail: float  # span of a tail plane
    fin: float  # height
    perch: float  # of the tail planes on the fin: 0 at its foot, 1 at its top
    extra: str  # engines under the wings or at the tail, propellers, a second pair of wings


AIRPLANES = (
    Airplane(1.5, 0.20, 1.35, 0.24, 28, -0.5, 0.10, 0.55, 0.55, 0.0, "engines"),  # airliner
    Airplane(1.4, 0.18, 0.80, 0.42, 42, 0.0, -0.20, 0.45, 0.50, 0.0, "intakes"),  # fighter
    Airplane(1.0, 0.22, 1.15, 0.24, 0, -0.7, 0.30, 0.45, 0.45, 0.0, "biplane"),
    Airplane(1.2, 0.13, 1.90, 0.14, 3, 0.5, 0.20, 0.45, 0.40, 1.0, "canopy"),  # glider
    Airplane(1.2, 0.22, 1.25, 0.28, 5, -0.6, 0.25, 0.50, 0.45, 0.0, "propeller"),
    Airplane(1.4, 0.24, 1.60, 0.28, 12, 0.4, 0.15, 0.60, 0.60, 0.0, "propellers"),  # bomber
    Airplane(1.5, 0.19, 1.10, 0.22, 25, -0.5, 0.00, 0.55, 0.60, 1.0, "tail engines"),
    Airplane(1.1, 0.23, 1.30, 0.25, 0, 0.9, 0.25, 0.50, 0.45, 0.0, "propeller"),  # high wings
    Airplane(1.3, 0.24, 0.85, 0.50, 50, -0.4, -0.35, 0.35, 0.60, 0.0, "intakes"),  # delta
    Airplane(1.3, 0.21, 1.35, 0.22, 8, -0.3, 0.20, 0.55, 0.55, 0.5, "propellers"),
)


def airplane(instance: int) -> list[ToyPart]:
    """Return the parts of an airplane."""
    a = AIRPLANES[instance]
    z = 0.35 + a.girth
    parts = [
        piece("fuselage", "ellipsoid", (0, 0, z), (a.length, a.girth, a.girth)),
        piece("canopy", "ellipsoid", (0.45 * a.length, 0, z + 0.75 * a.girth), (0.3, 0.12, 0.14)),
    ]
    level = z + a.height * a.girth
    parts += both_sides(_wing("wing", a, a.place * a.length, level, a.span, a.chord))
    root = -0.82 * a.length
    perched = z + 0.4 * a.girth + a.perch * a.fin
    parts += both_sides(_wing("tail plane", a, root, perched, a.tail, 0.6 * a.chord + 0.04))
    fin = (root - 0.12, 0.0, z + 0.5 * a.fin)
    parts.append(piece("fin", "box", fin, (0.2, 0.035, 0.55 * a.fin + 0.05), y=-25))
    middle = a.place * a.length - 0.45 * a.span * tan(radians(a.sweep))
    if a.extra == "engines":
        at = (middle + 0.2, 0.45 * a.span, level - 0.14)
        parts += both_sides(piece("engine", "cylinder", at, (0.11, 0.11, 0.25), y=90))
    if a.extra == "tail engines":
        at = (0.8 * root, 1.5 * a.girth, z + 0.05)
        parts += both_sides(piece("engine", "cylinder", at, (0.11, 0.11, 0.28), y=90))
    if a.extra == "intakes":
        at = (-0.2, 1.05 * a.girth, z)
        parts += both_sides(piece("intake", "box", at, (0.55, 0.09, 0.12)))
    if a.extra == "propellers":
        at = (middle + 0.25, 0.42 * a.span, level)
        parts += both_sides(piece("engine", "ellipsoid", at, (0.35, 0.11, 0.11)))
    if a.extra in ("propeller", "biplane"):
        parts.append(piece("propeller", "box", (a.length, 0, z), (0.03, 0.42, 0.05), x=30))
    if a.extra == "biplane":
        upper = z + 2.4 * a.girth
        parts += both_sides(_wing("upper wing", a, a.place * a.length, upper, a.span, a.chord))
    stand = (0.25 * a.length, 0.25, 0.22)
    parts += both_sides(piece("wheel", "cylinder", stand, (0.13, 0.13, 0.05), x=90))
    return parts


def _wing(name: str, a: Airplane, root: float, z: float, span: float, chord: float) -> ToyPart:
    """Return the left wing, its root on the fuselage's axis and its tip swept back."""
    half = 0.5 * span
    back = half * tan(radians(a.sweep))
    length = half * (1 + tan(radians(a.sweep)) ** 2) ** 0.5
    return piece(name, "box", (root - back, half, z), (chord, length, 0.045), z=a.sweep)
