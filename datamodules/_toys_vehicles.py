"""Ten trucks and ten cars, each with different proportions."""

from __future__ import annotations

from typing import NamedTuple

from capsbench.datamodules._toys_parts import ToyPart, both_sides, piece, wheels


class Truck(NamedTuple):
    """Proportions of a truck; lengths in a unit of their own."""

    length: float  # half, of the whole
    width: float  # half
    wheel: float  # radius
    cab: float  # half, length
    roof: float  # of the cab above the chassis
    bonnet: float  # half, length; 0: the engine is under the cab
    load: str
    body: float  # height of the load


TRUCKS = (
    Truck(1.6, 0.50, 0.26, 0.32, 0.85, 0.00, "box", 1.15),
    Truck(1.7, 0.45, 0.27, 0.32, 0.90, 0.25, "tank", 0.45),
    Truck(1.3, 0.55, 0.34, 0.32, 0.95, 0.22, "tipper", 0.60),
    Truck(1.3, 0.50, 0.28, 0.42, 0.70, 0.35, "bed", 0.28),
    Truck(1.9, 0.48, 0.25, 0.34, 0.95, 0.32, "box", 1.10),
    Truck(1.7, 0.46, 0.27, 0.42, 0.80, 0.00, "ladder", 0.75),
    Truck(1.5, 0.52, 0.28, 0.34, 0.85, 0.00, "drum", 0.55),
    Truck(1.8, 0.50, 0.25, 0.32, 0.85, 0.00, "bed", 0.25),
    Truck(1.4, 0.52, 0.30, 0.34, 0.80, 0.26, "box", 0.95),
    Truck(1.6, 0.48, 0.30, 0.36, 0.80, 0.28, "tank", 0.42),
)


def truck(instance: int) -> list[ToyPart]:
    """Return the parts of a truck."""
    t = TRUCKS[instance]
    floor = 1.5 * t.wheel
    parts = [piece("chassis", "box", (0, 0, floor), (t.length, 0.8 * t.width, 0.10))]
    cab = t.length - 2 * t.bonnet - t.cab
    parts.append(
        piece("cab", "box", (cab, 0, floor + t.roof / 2), (t.cab, 0.92 * t.width, t.roof / 2))
    )
    if t.bonnet:
        at = (t.length - t.bonnet, 0.0, floor + 0.25 * t.roof)
        parts.append(piece("bonnet", "box", at, (t.bonnet, 0.75 * t.width, 0.25 * t.roof)))
    back, front = -t.length, cab - t.cab - 0.10
    middle, half = (back + front) / 2, (front - back) / 2
    base = floor + 0.10
    if t.load in ("box", "ladder"):
        at = (middle, 0.0, base + t.body / 2)
        parts.append(piece("box", "box", at, (half, t.width, t.body / 2)))
    if t.load == "ladder":
        at = (middle + 0.1, 0.0, base + t.body + 0.16)
        parts.append(piece("ladder", "box", at, (1.25 * half, 0.16, 0.06), y=-6))
    if t.load == "tank":
        at = (middle, 0.0, base + t.body)
        parts.append(piece("tank", "cylinder", at, (t.body, 0.95 * t.width, half), y=90))
    if t.load == "drum":
        at = (middle, 0.0, base + 1.05 * t.body)
        parts.append(piece("drum", "ellipsoid", at, (1.05 * half, t.body, t.body), y=12))
    if t.load == "tipper":
        at = (middle, 0.0, base + t.body / 2 + 0.12)
        parts.append(piece("tipper", "box", at, (half, t.width, t.body / 2), y=8))
    if t.load == "bed":
        side = (middle, 0.92 * t.width, base + t.body / 2)
        parts += both_sides(piece("board", "box", side, (half, 0.06, t.body / 2)))
        parts.append(
            piece("tailgate", "box", (back, 0, base + t.body / 2), (0.06, t.width, t.body / 2))
        )
    track = 0.85 * t.width
    parts += wheels(0.82 * t.length - t.bonnet * 0.6, -0.78 * t.length, track, t.wheel, 0.10)
    third = -0.78 * t.length + 2.2 * t.wheel
    parts += both_sides(
        piece("third wheel", "cylinder", (third, track, t.wheel), (t.wheel, t.wheel, 0.10), x=90)
    )
    return parts


class Car(NamedTuple):
    """Proportions of a car; lengths in a unit of their own."""

    length: float  # half, of the body
    width: float  # half
    body: float  # half, height
    wheel: float  # radius
    clearance: float
    cabin: str  # its shape
    place: float  # of the cabin, from the middle to the front
    room: float  # half, length of the cabin
    roof: float  # height of the cabin above the body
    extra: str = ""


CARS = (
    Car(1.45, 0.58, 0.24, 0.27, 0.20, "ellipsoid", -0.10, 0.78, 0.48),  # saloon
    Car(1.20, 0.58, 0.26, 0.27, 0.20, "box", -0.30, 0.72, 0.46),  # hatchback
    Car(1.20, 0.55, 0.30, 0.30, 0.20, "ellipsoid", -0.10, 0.80, 0.62, "round"),  # beetle
    Car(1.50, 0.68, 0.17, 0.28, 0.12, "ellipsoid", -0.30, 0.60, 0.32, "spoiler"),  # sports car
    Car(1.50, 0.58, 0.24, 0.27, 0.20, "box", -0.35, 0.95, 0.44),  # estate car
    Car(1.15, 0.58, 0.26, 0.36, 0.32, "box", -0.25, 0.60, 0.52, "spare wheel"),  # jeep
    Car(1.80, 0.54, 0.23, 0.26, 0.18, "box", -0.15, 0.85, 0.40),  # limousine
    Car(1.40, 0.48, 0.20, 0.34, 0.16, "ellipsoid", -0.35, 0.50, 0.40, "spoiler"),  # racing car
    Car(1.30, 0.62, 0.32, 0.32, 0.26, "box", -0.20, 0.95, 0.55, "spare wheel"),  # van
    Car(0.95, 0.58, 0.30, 0.24, 0.16, "ellipsoid", -0.12, 0.76, 0.52, "round"),  # bubble car
)


def car(instance: int) -> list[ToyPart]:
    """Return the parts of a car."""
    c = CARS[instance]
    z = c.clearance + c.body
    top = z + c.body
    if c.extra == "round":
        parts = [piece("body", "ellipsoid", (0, 0, z), (c.length, c.width, 1.3 * c.body))]
    else:
        parts = [piece("body", "box", (0, 0, z), (c.length, c.width, c.body))]
    inside = 0.88 * c.width
    if c.cabin == "box":
        at = (c.place, 0.0, top + c.roof / 2)
        parts.append(piece("cabin", "box", at, (c.room, inside, c.roof / 2)))
        shield = (c.place + c.room, 0.0, top + 0.35 * c.roof)
        parts.append(
            piece("windscreen", "box", shield, (0.08, 0.95 * inside, 0.62 * c.roof), y=-38)
        )
    else:
        parts.append(piece("cabin", "ellipsoid", (c.place, 0, top), (c.room, inside, c.roof)))
    hood = (0.70 * c.length, 0.0, top - 0.02)
    parts.append(piece("bonnet", "box", hood, (0.27 * c.length, 0.85 * c.width, 0.06), y=5))
    for name, x in (("front bumper", c.length), ("back bumper", -c.length)):
        at = (x, 0.0, c.clearance + 0.12)
        parts.append(piece(name, "box", at, (0.07, 1.02 * c.width, 0.08)))
    if c.extra == "spoiler":
        at = (-0.92 * c.length, 0.0, top + 0.16)
        parts.append(piece("spoiler", "box", at, (0.12, 0.95 * c.width, 0.03), y=10))
    if c.extra == "spare wheel":
        at = (-c.length - 0.12, 0.0, z + 0.1)
        radius = 0.9 * c.wheel
        parts.append(piece("spare wheel", "cylinder", at, (radius, radius, 0.10), y=90))
    return parts + wheels(0.60 * c.length, -0.60 * c.length, 0.95 * c.width, c.wheel, 0.11)
