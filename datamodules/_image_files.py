"""Image files of a user as 8-bit pixels: those with one right reading, all others are refused."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from capsbench.environment.failures import REMEDIES
from capsbench.errors import UserError

# Without formats of which Pillow does not tell the depth, and those that it reads by a program.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
DEEP = ("I", "F")  # first letters of modes with more than 8 bits
BITS_PER_SAMPLE = 258  # tag of TIFF
HEADER = 4096  # bytes at the beginning of a file, enough for the comments of PPM
PNG_DEPTH = 24  # place of the bit depth in a PNG file, in bytes
ORIENTATION = 274  # tag of EXIF: the rotation of the camera
# Warnings of Pillow about files that it reads in the right way, and about tags of EXIF.
HARMLESS = re.compile("Metadata Warning|Image appears to be a malformed MPO file")
EXIF = re.compile("Tag |Possibly corrupt EXIF|Corrupt EXIF|Truncated File Read")
OTHER_TAG = re.compile(rf"Skipping tag (?!{ORIENTATION}$)")
# Errors of Pillow's readers on damaged files; of a header's odd value also NotImplementedError.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
)

Color = tuple[int, int, int]


def read_image(file: Path, *, size: int, channels: int, background: Color) -> NDArray[np.uint8]:
    """Read an image as it is displayed, resized to a square.

    The camera's rotation is undone, and pixels that are not opaque are laid over the background.
    Color profiles and gamma are not applied: the numbers are those of the file.

    Args:
        file: The file; its format is that of its contents, whatever its suffix.
        size: Side of the result, in pixels.
        channels: 1 for gray, 3 for color.
        background: Red, green and blue, 0 to 255.

    Returns:
        (size, size, channels) uint8.

    Raises:
        UserError: The file is damaged or of another format, or an image that has no one right
            reading in 8 bits: a deeper one, several in one file, another color space.
        OSError: The system does not give the file's content.
        MemoryError: The memory does not suffice.
    """
    with warnings.catch_warnings(record=True) as problems:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("always", UserWarning)
        try:
            with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
                _require_one_reading(file, image)
                upright = _over(ImageOps.exif_transpose(image), background)
                _require_harmless(file, image, [str(each.message) for each in problems])
                resized = upright.convert("L" if channels == 1 else "RGB").resize((size, size))
        except UnidentifiedImageError:
            raise UserError(f"{file} {_defect(file)}; convert or replace it") from None
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise UserError(
                f"{file} has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller first"
            ) from None
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno in REMEDIES:  # the disk, not the file
                raise OSError(error.errno, error.strerror, str(file)) from None
            raise _unreadable(file, str(error)) from None
    return np.array(resized).reshape(size, size, channels)


def _require_one_reading(file: Path, image: Image.Image) -> None:
    """Refuse an image of which Pillow would drop something, or that has a choice of readings."""
    bits = _bit_depth(file, image)
    if image.mode[0] in DEEP or bits > 8:
        raise UserError(
            f"{file} has more than 8 bits for each pixel and channel; convert it to 8 bits first"
        )
    if image.mode not in MODES:
        raise UserError(f"{file} has the color space {image.mode}; convert it to RGB or gray first")
    # Only readers of formats with several images count them. The first one of a camera's JPEG
    # file (MPO) is the photograph, others are its previews.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise UserError(f"{file} holds {frames} images; save the one to use as a file of its own")
    if image.format == "PNG":  # Pillow decodes without a look at the checksums of the pixels
        with Image.open(file, formats=["PNG"]) as unread:
            unread.verify()
        # It also spreads gray levels of 2 and 4 bits over 0 to 255, but not the transparent one.
        if image.mode == "L" and "transparency" in image.info:
            image.info["transparency"] *= 255 // (2**bits - 1)


def _require_harmless(file: Path, image: Image.Image, problems: list[str]) -> None:
    """Refuse an image of which Pillow skipped more than tags of EXIF beside the orientation."""
    for problem in problems:
        if HARMLESS.match(problem):
            continue
        if image.format == "TIFF" or not EXIF.match(problem):  # tags of TIFF describe the pixels
            raise _unreadable(file, problem)
        if ORIENTATION not in image.getexif() and not OTHER_TAG.search(problem):
            raise UserError(
                f"{file} has damaged EXIF data, and the rotation of the camera cannot be read "
                f"({problem}); remove the EXIF data, or replace the file"
            )


def _defect(file: Path) -> str:
    """Return the reason for which no reader accepts a file, which `Image.open` leaves out."""
    if not file.stat().st_size:
        return "is empty"
    with file.open("rb") as stream:
        start = stream.read(HEADER).ljust(HEADER, b"\0")
        for kind in FORMATS:
            reader, accepts = Image.OPEN[kind]
            assert accepts is not None
            if accepts(start):
                stream.seek(0)
                try:
                    reader(stream, "")
                except SyntaxError as error:
                    return f"is a damaged {kind} image ({error})"
    return f"is no {READABLE} image"


def _unreadable(file: Path, reason: str) -> UserError:
    return UserError(f"{file} cannot be read as an image ({' '.join(reason.split())}); replace it")


def _bit_depth(file: Path, image: Image.Image) -> int:
    """Return the bits of a channel in the file, where a deeper file has the mode of 8 bits."""
    with file.open("rb") as stream:
        header = stream.read(HEADER)
    match image.format:
        case "PNG":
            return header[PNG_DEPTH]
        case "TIFF":
            assert isinstance(image, TiffImageFile)
            return int(np.max(image.tag_v2.get(BITS_PER_SAMPLE, 1)))
        case "PPM" if header[:2] in (b"P2", b"P3", b"P5", b"P6"):
            _kind, _width, _height, most, *_ = re.sub(rb"#[^\r\n]*", b" ", header).split(maxsplit=4)
            return int(most).bit_length()
    return 8


def _over(image: Image.Image, background: Color) -> Image.Image:
    """Lay an image with transparency over a background: the nearest integers to the mixture."""
    if not image.has_transparency_data:
        return image
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint16)
    color, opacity = pixels[..., :3], pixels[..., 3:]
    mixture = color * opacity + np.array(background, np.uint16) * (255 - opacity)
    return Image.fromarray(((mixture + 127) // 255).astype(np.uint8))
