"""Checks of a model's constructor, seeding, image sizes and checkpoints."""

from __future__ import annotations

import inspect
import re
import tempfile

import torch

from capsbench.arguments import parameter_types, parameters
from capsbench.conformance.subject import NotApplicable, Subject, Violation, require
from capsbench.contracts import ImageShape
from capsbench.errors import UserError
from capsbench.search_space import checked_knobs

OTHER_SIZES = (
    "a network that is wrapped is tried on a black image instead: images of a size or number of "
    "channels that it cannot classify are refused before any training"
)


def constructor(subject: Subject) -> str:
    """The constructor takes typed keyword-only arguments, with image_shape and num_classes."""
    accepted = parameters(subject.cls)
    for name in ("image_shape", "num_classes"):
        require(name in accepted, f"the constructor does not take '{name}'; add it after the *")
    for name, parameter in accepted.items():
        require(
            parameter.kind is inspect.Parameter.KEYWORD_ONLY,
            f"'{name}' can be passed by position; start the constructor's arguments with *",
        )
        require(
            name in parameter_types(subject.cls),
            f"'{name}' has no type; annotate it, since values from files are validated by type",
        )
    try:
        knobs = checked_knobs(subject.cls, subject.cls.knobs, what=subject.cls.__name__)
    except UserError as error:
        raise Violation(f"{error}; correct the class attribute 'knobs'") from None
    subject.build()
    tuned = f"; tuned by --search: {', '.join(knobs)}" if knobs else ""
    return f"arguments: {', '.join(accepted)}{tuned}"


def seeding(subject: Subject) -> str:
    """Equal seeds give equal initial weights, different seeds different ones."""
    first, again, other = (subject.build(seed=seed).state_dict() for seed in (0, 0, 1))
    for name, weights in first.items():
        require(
            torch.equal(weights, again[name]),
            f"'{name}' differs between two models with the same seed; draw initial weights only "
            "from torch's default generator",
        )
    require(
        any(not torch.equal(weights, other[name]) for name, weights in first.items()),
        "all seeds give the same weights; do not set the seed inside the model",
    )
    return f"{len(first)} tensors compared"


def image_shapes(subject: Subject) -> str:
    """Images may be rectangular and have any number of channels."""
    if subject.wrapped:
        raise NotApplicable(OTHER_SIZES)
    channels, height, width = subject.image_shape
    # Twice the side: a few more pixels need not change the size of a feature map.
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
                f"{images} raise a {type(error).__name__}; compute all sizes from "
                "image_shape = (C, H, W), each from its own entry"
            ) from error
        require(bool(loss.isfinite()), f"for {images} the loss is {loss.item()}")
    return "twice the width, twice the height, one channel more"


def smallest_size(subject: Subject) -> str:
    """Images below a smallest size are refused with a message that states the size."""
    if subject.wrapped:
        raise NotApplicable(OTHER_SIZES)
    channels = subject.image_shape[0]
    size = _smallest_side(subject, (channels, 1, 1))
    if size is not None:
        for smaller in ((channels, size - 1, size), (channels, size, size - 1)):
            require(
                _smallest_side(subject, smaller) == size,
                f"{smaller[1]} x {smaller[2]} pixels are not refused although the smallest size "
                f"is {size}; check both height and width",
            )
    smallest = (channels, size or 1, size or 1)
    model, batch = subject.build(image_shape=smallest), subject.draw(image_shape=smallest)
    loss = model.loss(model(batch.images), batch, 0.0)
    require(
        bool(loss.isfinite()), f"at {smallest[1]} x {smallest[2]} pixels the loss is {loss.item()}"
    )
    return f"works from {smallest[1]} x {smallest[2]} pixels"


def _smallest_side(subject: Subject, image_shape: ImageShape) -> int | None:
    """Return the smallest side in the refusal of an image size; None if it is not refused."""
    pixels = f"{image_shape[1]} x {image_shape[2]} pixels"
    advice = "call contracts.require_size in the constructor"
    try:
        model = subject.build(image_shape=image_shape)
    except UserError as refusal:
        match = re.search(r"at least (\d+) x \1 pixels", str(refusal))
        if match is None:
            raise Violation(f"images of {pixels} are refused with '{refusal}'; {advice}") from None
        return int(match[1])
    except Exception as error:
        raise Violation(f"images of {pixels} raise a {type(error).__name__}; {advice}") from error
    try:
        model(subject.draw(image_shape=image_shape).images)
    except Exception as error:
        raise Violation(
            f"a model for {pixels} is built but raises a {type(error).__name__}; {advice}"
        ) from error
    return None


def checkpoint(subject: Subject) -> str:
    """A saved and loaded model has the same outputs, also at the end of its schedules."""
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
            one is other if one is None or other is None else torch.equal(one, other),
            f"after loading, {name} differ; keep state in parameters or buffers, and use only "
            "arguments that JSON can represent",
        )
    return "same bits"
