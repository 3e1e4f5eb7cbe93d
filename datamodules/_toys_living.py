"""Ten four-legged animals and ten human figures, each with different proportions."""

from __future__ import annotations

from typing import NamedTuple

from capsbench.datamodules._toys_parts import ToyPart, both_sides, limb, piece


class Animal(NamedTuple):
    """Proportions of a four-legged animal; lengths in a unit of their own."""

    length: float  # half, of the trunk
    girth: float  # half the trunk's width
    depth: float  # half the trunk's height
    legs: float  # from the ground to the trunk's middle
    leg: float  # radius
    neck: float  # length
    rise: float  # of the neck above the horizon, height per length
    head: float  # half its length
    muzzle: float  # half its length
    tail: float  # length
    droop: float  # of the tail, depth per length
    ears: float  # half their length
    extra: str = ""  # a hump, a trunk, a mane


ANIMALS = (
    Animal(1.00, 0.38, 0.42, 1.25, 0.12, 0.85, 1.2, 0.32, 0.26, 0.8, 1.5, 0.16),  # horse
    Animal(1.15, 0.52, 0.58, 1.05, 0.13, 0.45, 0.4, 0.36, 0.28, 0.9, 3.0, 0.20),  # cow
    Animal(1.15, 0.70, 0.78, 1.25, 0.24, 0.35, 0.5, 0.50, 0.20, 0.6, 2.5, 0.50, "trunk"),
    Animal(0.85, 0.36, 0.42, 1.55, 0.11, 1.75, 2.2, 0.32, 0.22, 0.7, 2.0, 0.15),  # giraffe
    Animal(0.85, 0.30, 0.32, 0.85, 0.10, 0.40, 1.3, 0.30, 0.28, 0.7, -1.2, 0.20),  # dog
    Animal(1.10, 0.58, 0.60, 0.80, 0.14, 0.20, 0.1, 0.42, 0.26, 0.3, -0.5, 0.20),  # pig
    Animal(1.05, 0.40, 0.42, 0.95, 0.14, 0.40, 0.9, 0.34, 0.22, 1.0, 0.3, 0.12, "mane"),
    Animal(1.00, 0.44, 0.44, 1.45, 0.12, 1.10, 1.0, 0.30, 0.26, 0.5, 2.0, 0.12, "hump"),
    Animal(1.05, 0.62, 0.66, 0.95, 0.22, 0.35, 0.3, 0.42, 0.28, 0.2, 1.0, 0.15),  # bear
    Animal(1.40, 0.32, 0.34, 0.55, 0.11, 0.40, 0.8, 0.36, 0.32, 0.8, 0.0, 0.24),  # dachshund
)


def animal(instance: int) -> list[ToyPart]:
    """Return the parts of an animal."""
    a = ANIMALS[instance]
    parts = [piece("trunk", "ellipsoid", (0, 0, a.legs), (a.length, a.girth, a.depth))]
    for place, x in (("front", 0.62), ("back", -0.62)):
        top, side = (x * a.length, 0.55 * a.girth, a.legs), 0.62 * a.girth
        parts += both_sides(limb(f"{place} leg", top, (1.08 * x * a.length, side, 0), a.leg))
    slope = (1 + a.rise**2) ** 0.5
    shoulder = (0.70 * a.length, 0.0, a.legs + 0.35 * a.depth)
    nape = (shoulder[0] + a.neck / slope, 0.0, shoulder[2] + a.neck * a.rise / slope)
    broad = 0.6 * a.head
    parts.append(limb("neck", shoulder, nape, 0.45 * a.girth))
    parts.append(
        piece("head", "ellipsoid", (nape[0] + 0.35 * a.head, 0, nape[2]), (a.head, broad, broad))
    )
    chin = (nape[0] + a.head + 0.5 * a.muzzle, 0.0, nape[2] - 0.35 * broad)
    parts.append(piece("muzzle", "ellipsoid", chin, (a.muzzle, 0.62 * broad, 0.62 * broad), y=20))
    ear = (nape[0], 0.8 * broad + 0.5 * a.ears, nape[2] + 0.6 * broad)
    if a.extra == "trunk":  # an elephant's ears are flaps
        parts += both_sides(piece("ear", "ellipsoid", ear, (0.12, a.ears, a.ears), z=25))
        end = (chin[0] + 0.35, 0.0, 0.25)
        parts.append(limb("nose", (chin[0], 0, chin[2]), end, 0.14))
    else:
        upright = (nape[0] + 0.1 * a.head, 0.65 * broad, nape[2] + broad)
        parts += both_sides(piece("ear", "ellipsoid", upright, (0.09, 0.09, a.ears)))
    slope = (1 + a.droop**2) ** 0.5
    rump = (-0.92 * a.length, 0.0, a.legs + 0.25 * a.depth)
    tip = (rump[0] - a.tail / slope, 0.0, rump[2] - a.tail * a.droop / slope)
    parts.append(limb("tail", rump, tip, 0.08))
    if a.extra == "hump":
        parts.append(piece("hump", "ellipsoid", (0, 0, a.legs + a.depth), (0.42, 0.30, 0.45)))
    if a.extra == "mane":
        at = (nape[0] - 0.15, 0.0, nape[2])
        parts.append(piece("mane", "ellipsoid", at, (0.28, 0.52, 0.58), y=-15))
    return parts


class Human(NamedTuple):
    """Proportions and posture of a human figure; lengths in a unit of their own."""

    torso: str  # its shape
    shoulders: float  # half the torso's width
    chest: float  # half its thickness
    trunk: float  # half its height
    legs: float  # length
    leg: float  # radius
    stance: float  # of a foot to the side
    stride: float  # of a foot to the front
    arm: float  # length of the upper and of the lower arm
    left: tuple[float, float, float, float]  # elbow and hand: outward and upward of their starts
    right: tuple[float, float, float, float]
    reach: float  # of the hands to the front
    head: float  # radius
    hat: str = ""


HUMANS = (
    Human("ellipsoid", 0.40, 0.24, 0.55, 1.2, 0.16, 0.22, 0.25, 0.55, (0.5, -0.9, 0.3, -0.9),
          (0.5, -0.9, 0.3, -0.9), 0.10, 0.25),  # standing at ease
    Human("box", 0.36, 0.20, 0.48, 1.3, 0.14, 0.15, 0.45, 0.50, (0.3, -1.0, 0.1, -0.6),
          (0.3, -1.0, 0.1, -0.6), 0.40, 0.22, "brim"),  # walking
    Human("ellipsoid", 0.55, 0.42, 0.62, 0.9, 0.22, 0.30, 0.10, 0.48, (0.9, -0.5, 0.6, -0.8),
          (0.9, -0.5, 0.6, -0.8), 0.10, 0.30),  # stout
    Human("box", 0.42, 0.22, 0.55, 1.2, 0.17, 0.30, 0.05, 0.55, (1.0, 0.2, 0.4, 1.0),
          (1.0, 0.2, 0.4, 1.0), 0.00, 0.25, "helmet"),  # both arms up
    Human("box", 0.40, 0.22, 0.52, 1.2, 0.16, 0.35, 0.20, 0.52, (1.0, 0.0, 1.0, 0.1),
          (0.9, -0.3, 0.3, -0.9), 0.05, 0.25, "brim"),  # pointing to the left
    Human("ellipsoid", 0.32, 0.20, 0.45, 1.0, 0.13, 0.15, 0.15, 0.42, (0.6, -0.8, 0.4, -0.8),
          (0.9, 0.6, 0.3, 1.0), 0.05, 0.32),  # a child that waves
    Human("ellipsoid", 0.46, 0.27, 0.60, 1.3, 0.17, 0.28, 0.30, 0.58, (0.7, -0.7, 0.2, -0.2),
          (0.7, -0.7, 0.2, -0.2), 0.55, 0.25, "helmet"),  # arms to the front
    Human("ellipsoid", 0.36, 0.21, 0.50, 1.4, 0.13, 0.12, 0.10, 0.55, (0.4, -1.0, 0.2, -1.0),
          (0.8, 0.7, 0.1, 1.0), 0.05, 0.22),  # slender, an arm up
    Human("box", 0.50, 0.28, 0.55, 1.0, 0.21, 0.38, 0.10, 0.52, (1.0, -0.3, 0.3, -1.0),
          (1.0, -0.3, 0.3, -1.0), 0.10, 0.28, "helmet"),  # broad, legs apart
    Human("ellipsoid", 0.38, 0.24, 0.52, 1.1, 0.15, 0.20, 0.50, 0.50, (0.9, 0.1, 1.0, 0.2),
          (0.9, 0.1, 1.0, 0.2), 0.20, 0.26, "brim"),  # running, arms out
)  # fmt: skip


def human(instance: int) -> list[ToyPart]:
    """Return the parts of a human figure."""
    h = HUMANS[instance]
    hip, middle = h.legs, h.legs + 0.85 * h.trunk
    neck = middle + h.trunk
    torso = (h.chest, h.shoulders, h.trunk)
    parts = [
        piece("torso", h.torso, (0, 0, middle), torso),
        piece("hips", "ellipsoid", (0, 0, hip), (0.95 * h.chest, 0.85 * h.shoulders, 0.26)),
        piece(
            "head", "ellipsoid", (0.03, 0, neck + 0.8 * h.head), (h.head,) * 2 + (1.15 * h.head,)
        ),
    ]
    shoulder = (0.0, 0.9 * h.shoulders, middle + 0.62 * h.trunk)
    for side, sign, (out, up, out2, up2) in (("left", 1, h.left), ("right", -1, h.right)):
        start = (0.0, sign * shoulder[1], shoulder[2])
        elbow = (0.3 * h.reach * h.arm, start[1] + sign * out * h.arm, start[2] + up * h.arm)
        hand = (
            elbow[0] + h.reach * h.arm + 0.1,
            elbow[1] + sign * out2 * h.arm,
            elbow[2] + up2 * h.arm,
        )
        parts.append(limb(f"{side} upper arm", start, elbow, 0.75 * h.leg))
        parts.append(limb(f"{side} lower arm", elbow, hand, 0.6 * h.leg))
        step = sign * h.stride
        foot = (step, sign * (0.5 * h.shoulders + h.stance), 0.08)
        parts.append(limb(f"{side} leg", (0, sign * 0.5 * h.shoulders, hip), foot, h.leg))
        toes = (foot[0] + 0.12, foot[1], 0.08)
        parts.append(piece(f"{side} foot", "ellipsoid", toes, (0.28, 0.13, 0.10)))
    top = neck + 1.6 * h.head
    if h.hat == "brim":
        parts.append(piece("hat", "cylinder", (0.03, 0, top), (1.7 * h.head, 1.7 * h.head, 0.06)))
    if h.hat == "helmet":
        parts.append(
            piece("hat", "ellipsoid", (0, 0, top - 0.15), (1.25 * h.head,) * 2 + (0.8 * h.head,))
        )
    return parts
