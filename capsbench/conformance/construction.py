"""Checks of how a model is made, seeded, saved, and refused for images that are too small."""

from __future__ import annotations

import inspect
import re
import tempfile

import torch

from capsbench.arguments import parameter_types, parameters
from capsbench.conformance.subject import Subject, Violation, require
from capsbench.contracts import ImageShape
from capsbench.errors import UserError


def constructor(subject: Subject) -> str:
    """It takes typed, keyword-only arguments, image_shape and num_classes among them."""
    taken = parameters(subject.cls)
    for name in ("image_shape", "num_classes"):
        require(name in taken, f"the constructor does not take '{name}'; add it after the *")
    for name, parameter in taken.items():
        require(
            parameter.kind is inspect.Parameter.KEYWORD_ONLY,
            f"'{name}' can be given by position; begin the constructor's arguments with *",
        )
        require(
            name in parameter_types(subject.cls),
            f"'{name}' has no type; annotate it, since what comes from files is checked against it",
        )
    subject.build()
    return f"arguments: {', '.join(taken)}"


def seeding(subject: Subject) -> str:
    """The same seed makes the same weights, another seed others."""
    first, again, other = (subject.build(seed=seed).state_dict() for seed in (0, 0, 1))
    for name, weights in first.items():
        require(
            torch.equal(weights, again[name]),
            f"'{name}' differs between two models of one seed; draw initial weights from torch's "
            "default generator only",
        )
    require(
        any(not torch.equal(weights, other[name]) for name, weights in first.items()),
        "all seeds make the same weights; do not seed inside the model",
    )
    return f"{len(first)} tensors compared"


def image_shapes(subject: Subject) -> str:
    """Its images need not be square, and may have another number of channels."""
    channels, height, width = subject.image_shape
    # Twice a side: a few pixels more can leave a map as it is.
    for image_shape in (
        (channels, height, 2 * width),
        (channels, 2 * height, width),
        (channels + 1, height, width),
    ):
        images = f"images of {'x'.join(map(str, image_shape))}"
        batch = subject.draw(image_shape=image_shape)
        try:
            model = subject.build(image_shape=image_shape)
            loss = model.loss(model(batch.images), batch, 0.0)
        except Exception as error:
            raise Violation(
                f"{images} end in a {type(error).__name__}; compute all sizes from "
                "image_shape = (C, H, W), each from its own entry"
            ) from error
        require(bool(loss.isfinite()), f"for {images} the loss is {loss.item()}")
    return "twice the width, twice the height, one channel more"


def smallest_size(subject: Subject) -> str:
    """It works down to a smallest size, and refuses smaller images in a sentence that names it."""
    channels = subject.image_shape[0]
    size = _refused(subject, (channels, 1, 1))
    if size is not None:
        for less in ((channels, size - 1, size), (channels, size, size - 1)):
            require(
                _refused(subject, less) == size,
                f"{less[1]} x {less[2]} pixels are not refused although the smallest size is "
                f"{size}; height and width both count",
            )
    smallest = (channels, size or 1, size or 1)
    model, batch = subject.build(image_shape=smallest), subject.draw(image_shape=smallest)
    loss = model.loss(model(batch.images), batch, 0.0)
    require(
        bool(loss.isfinite()), f"at {smallest[1]} x {smallest[2]} pixels the loss is {loss.item()}"
    )
    return f"works from {smallest[1]} x {smallest[2]} pixels"


def _refused(subject: Subject, image_shape: ImageShape) -> int | None:
    """The smallest side that the refusal of an image size names; None if it is not refused."""
    pixels = f"{image_shape[1]} x {image_shape[2]} pixels"
    advice = "call contracts.require_size in the constructor, which says how big they must be"
    try:
        model = subject.build(image_shape=image_shape)
    except UserError as refusal:
        found = re.search(r"at least (\d+) x \1 pixels", str(refusal))
        if found is None:
            raise Violation(f"images of {pixels} are refused with '{refusal}'; {advice}") from None
        return int(found[1])
    except Exception as error:
        raise Violation(f"images of {pixels} end in a {type(error).__name__}; {advice}") from error
    try:
        model(subject.draw(image_shape=image_shape).images)
    except Exception as error:
        raise Violation(
            f"a model for {pixels} is built but ends in a {type(error).__name__}; {advice}"
        ) from error
    return None


def checkpoint(subject: Subject) -> str:
    """Saved and loaded again it has the same outputs, also at the end of its schedules."""
    batch = subject.draw()
    model = subject.build().eval()
    model.advance(1.0)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        torch.manual_seed(1)
        loaded = subject.cls.from_pretrained(folder)
    with torch.no_grad():
        before, after = model(batch.images), loaded(batch.images)
    for name, one, other in zip(before._fields, before, after, strict=True):
        require(
            (one is None) == (other is None) and (one is None or torch.equal(one, other)),
            f"after loading, {name} differ; what changes in training must be a parameter or a "
            "buffer, and an argument must be such that JSON can hold it",
        )
    return "same bits"
