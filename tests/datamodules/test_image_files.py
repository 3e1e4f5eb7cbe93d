"""Image files in the real formats: what has one right reading is read, the rest is refused."""

import errno
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from capsbench.datamodules._image_files import read_image
from capsbench.errors import UserError

SIDE = 24
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
DISC = Y**2 + X**2 <= 10**2
RANDOM = np.random.default_rng(0)
NOISE = Image.fromarray(RANDOM.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def read(path, *, background=(0, 0, 0), channels=3, size=SIDE):
    return read_image(path, size=size, channels=channels, background=background)


def saved(image, kind, **options):
    """Return the content of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def cut_out(kind, hidden):
    """Return a file with a disc of 200, and a hidden color around it that is not opaque."""
    gray = np.where(DISC, 200, hidden).astype(np.uint8)
    color, opacity = np.stack([gray] * 3, axis=-1), np.where(DISC, 255, 0).astype(np.uint8)
    transparent = Image.fromarray(np.dstack([color, opacity]))
    palette = Image.fromarray(DISC.astype(np.uint8))
    palette.putpalette([hidden] * 3 + [200] * 3)
    match kind:
        case "rgba.png":
            return saved(transparent, "PNG")
        case "la.png":
            return saved(Image.fromarray(np.dstack([gray, opacity]), "LA"), "PNG")
        case "webp":
            return saved(transparent, "WEBP", lossless=True, exact=True)
        case "tiff":
            return saved(transparent, "TIFF")
        case "associated.tiff":  # colors are stored times opacity
            return tiff(np.dstack([color * (opacity[..., None] // 255), opacity]), alpha=1)
        case "palette.png":
            return saved(palette, "PNG", transparency=0)
        case "palette with levels.png":
            return saved(palette, "PNG", transparency=b"\x00\xff")
        case "gif":
            return saved(palette, "GIF", transparency=0)
        case "rgb with one transparent color.png":
            return saved(Image.fromarray(color), "PNG", transparency=(hidden,) * 3)
        case "gray with one transparent level.png":
            return saved(Image.fromarray(gray), "PNG", transparency=hidden)
        case "two levels.png":
            return saved(Image.fromarray(DISC), "PNG", transparency=0)
    raise AssertionError(kind)


def tiff(pixels, *, alpha=None):
    """Return an uncompressed TIFF file of (H, W, C) uint8 or uint16."""
    height, width, channels = pixels.shape
    data, bits = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(), 8 * pixels.itemsize
    extra = [] if alpha is None else [(338, 3, 1, alpha)]  # 1: associated, 2: unassociated
    offset = 8 + 2 + 12 * (9 + len(extra)) + 4  # of the bits per sample
    start = offset + 2 * channels
    tags = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, offset), (259, 3, 1, 1)),
        *((262, 3, 1, 2), (273, 4, 1, start), (277, 3, 1, channels), (278, 3, 1, height)),
        *((279, 4, 1, len(data)), *extra),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4
    return head + struct.pack(f"<{channels}H", *[bits] * channels) + data


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_level_of_a_gray_png_is_that_of_the_file(tmp_path, bits):
    most = 2**bits - 1
    bars = np.repeat([0, most // 2, most, most], SIDE // 4)  # bits of whole bytes
    row = np.packbits((bars[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, bits, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * SIDE)) + chunk(b"IEND", b"")
    for level in {0, most // 2, most}:
        transparent = chunk(b"tRNS", struct.pack(">H", level))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + transparent + pixels)
        expected = np.where(bars == level, 100, bars * 255 // most)
        gray = read(tmp_path / "a.png", background=(100, 100, 100), channels=1)
        np.testing.assert_array_equal(gray[..., 0], [expected] * SIDE)


def deep_png(channels):
    """Return a PNG file with 16 bits for each channel, of which Pillow keeps eight."""
    row = b"\0" + b"\x12\xff" * channels * SIDE
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * SIDE))
    return b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b"")


KINDS = [
    *("rgba.png", "la.png", "webp", "tiff", "associated.tiff", "palette.png", "gif"),
    *("palette with levels.png", "rgb with one transparent color.png"),
    *("gray with one transparent level.png",),
]


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_colors_are_never_seen(tmp_path, kind):
    for background in ((0, 0, 0), (255, 255, 255), (10, 20, 30)):
        expected = np.where(DISC[..., None], 200, np.array(background))
        for hidden in (0, 90, 255):
            (tmp_path / kind).write_bytes(cut_out(kind, hidden))
            np.testing.assert_array_equal(read(tmp_path / kind, background=background), expected)


def test_two_levels_of_which_one_is_transparent(tmp_path):
    (tmp_path / "a.png").write_bytes(cut_out("two levels.png", 0))
    levels = read(tmp_path / "a.png", background=(10, 20, 30))
    np.testing.assert_array_equal(levels, np.where(DISC[..., None], 255, (10, 20, 30)))


def test_half_transparent_pixels_are_the_nearest_integer_to_the_mixture(tmp_path):
    color, opacity = np.mgrid[0:256, 0:256].astype(np.uint8)
    image = Image.fromarray(np.dstack([color, color, color, opacity]))
    image.save(tmp_path / "a.png")
    share = opacity / 255
    for background in ((0, 0, 0), (255, 7, 99)):
        expected = color[..., None] * share[..., None] + np.array(background) * (
            1 - share[..., None]
        )
        result = read(tmp_path / "a.png", background=background, size=256)
        assert np.abs(result - expected).max() <= 0.5 + 1e-9
    # Pillow divides associated colors by their opacity, to the next lower integer.
    associated = np.dstack([(color * share).round().astype(np.uint8)] * 3 + [opacity])
    (tmp_path / "a.tiff").write_bytes(tiff(associated, alpha=1))
    lower = read(tmp_path / "a.tiff", size=256)
    assert np.abs(lower - (color * share)[..., None]).max() <= 1.5


def test_transparent_pixels_do_not_bleed_into_smaller_images(tmp_path):
    (tmp_path / "a.png").write_bytes(cut_out("rgba.png", 255))
    small = read(tmp_path / "a.png", size=8, channels=1)
    opaque = Image.fromarray(np.where(DISC, 200, 0).astype(np.uint8)).resize((8, 8))
    np.testing.assert_array_equal(small[..., 0], np.asarray(opaque))


def test_opaque_images_are_read_as_they_are(tmp_path):
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        path = tmp_path / "image.jpg"  # the contents count, not the suffix
        path.write_bytes(saved(NOISE, kind))
        np.testing.assert_array_equal(read(path), np.asarray(NOISE))
    path.write_bytes(saved(NOISE, "PNG", icc_profile=bytes(200)))  # of colors, not applied
    np.testing.assert_array_equal(read(path), np.asarray(NOISE))
    path.write_bytes(saved(NOISE.convert("L"), "PNG"))
    np.testing.assert_array_equal(read(path, channels=1)[..., 0], np.asarray(NOISE.convert("L")))
    path.write_bytes(b"P5 # a comment\n2 1 # 9\n3\n\x00\x02")  # a maximum of 3
    assert read(path, channels=1, size=2)[0, :, 0].tolist() == [0, 170]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_rotation_of_the_camera_is_undone(tmp_path, kind):
    upright = np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[: SIDE // 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 270 degrees to see it upright
    content = saved(Image.fromarray(np.rot90(upright).copy()), kind, exif=exif)
    (tmp_path / "a").write_bytes(content)
    assert np.abs(read(tmp_path / "a").astype(int) - upright)[[0, -1]].max() < 20


def photograph(*tags, entries=None):
    """Return a JPEG file with EXIF tags (number, type, count, value or place of the values)."""
    data = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    count = len(tags) if entries is None else entries
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + data + bytes(4)
    upright = Image.new("L", (SIDE, SIDE))
    upright.paste(255, (0, 0, SIDE, SIDE // 2))
    return saved(upright, "JPEG", exif=exif)


TURNED = (274, 3, 1, 3)  # by 180 degrees
BEYOND = {"make": (271, 2, 9999, 4000), "resolution": (282, 5, 1, 4000)}
HARMLESS = {
    "a tag beyond the end": ([(274, 3, 1, 1), BEYOND["resolution"]], 1),
    "the same, turned": ([TURNED, BEYOND["resolution"]], 0),
    "a larger tag before": ([BEYOND["make"], TURNED], 0),
    "no rotation": ([BEYOND["make"]], 1),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_damaged_exif_data_matter_only_for_the_rotation(tmp_path, case):
    tags, upright = HARMLESS[case]
    (tmp_path / "a.jpg").write_bytes(photograph(*tags))
    pixels = read(tmp_path / "a.jpg", channels=1)[..., 0]
    assert (pixels[[0, -1], 0] > 127).tolist() == [upright == 1, upright == 0]


@pytest.mark.parametrize(
    "content",
    [
        photograph((274, 3, 9999, 4000)),  # the orientation itself lies beyond the end
        photograph((274, 3, 99, 4000), BEYOND["resolution"]),
        photograph(entries=50),
    ],
)
def test_an_unreadable_rotation_is_refused(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.jpg has damaged EXIF data.*rotation"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.EACCES, "no"), OSError(errno.EIO, "disk")]
)
def test_errors_of_the_machine_are_no_damage_of_the_file(tmp_path, monkeypatch, error):
    def fail(image):
        raise error

    (tmp_path / "a.png").write_bytes(saved(NOISE, "PNG"))
    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    with pytest.raises(type(error)) as raised:
        read(tmp_path / "a.png")
    if isinstance(raised.value, OSError):
        assert raised.value.filename == str(tmp_path / "a.png")


def test_a_place_that_no_file_can_have_is_damage_of_the_file(tmp_path):
    (tmp_path / "a.tiff").write_bytes(b"II+\0\x08\0\0\0" + (1 << 62).to_bytes(8, "little"))
    with pytest.raises(UserError, match=r"a\.tiff .*(damaged|cannot be read)"):
        read(tmp_path / "a.tiff")


def noted_png():
    """Return a PNG file of which a note has changed, not its checksum."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text("title", "noise")
    return saved(NOISE, "PNG", pnginfo=notes).replace(b"noise", b"Noise")


def frames(kind):
    return saved(NOISE, kind, save_all=True, append_images=[Image.new("RGB", NOISE.size)])


REFUSED = {
    **{f"PNG of 16 bits, {n} channels": (deep_png(n), "8 bits") for n in (1, 2, 3, 4)},
    "TIFF of 16 bits": (tiff(np.full((SIDE, SIDE, 3), 4863, np.uint16)), "8 bits"),
    "gray TIFF of 16 bits": (saved(Image.new("I;16", (9, 9)), "TIFF"), "8 bits"),
    "TIFF of 32 bits": (saved(Image.new("I", (9, 9)), "TIFF"), "8 bits"),
    "floating-point TIFF": (saved(Image.new("F", (9, 9)), "TIFF"), "8 bits"),
    "PPM of 16 bits": (b"P6\n# x\n1 1\n65535\n\x12\xff\x12\xff\x12\xff", "8 bits"),
    "PFM": (b"Pf\n1 1\n-1.0\n\0\0\0\0", "8 bits"),
    "CMYK": (saved(NOISE.convert("CMYK"), "JPEG"), "color space CMYK"),
    "LAB": (saved(NOISE.convert("LAB"), "TIFF"), "color space LAB"),
    "YCbCr": (saved(NOISE.convert("YCbCr"), "TIFF"), "color space YCbCr"),
    **{f"two in a {kind}": (frames(kind), "2 images") for kind in ("GIF", "PNG", "WEBP", "TIFF")},
    "JPEG 2000": (saved(NOISE, "JPEG2000"), "no PNG, JPEG"),
    "PostScript": (saved(NOISE, "EPS"), "no PNG, JPEG"),
    "Finder": (b"\0\0\0\1Bud1", "no PNG, JPEG"),
    "empty": (b"", "is empty"),
    "one byte": (b"P", "no PNG, JPEG"),
    "changed note": (noted_png(), "a damaged PNG image .*tEXt"),
    "frames without number": (
        saved(NOISE, "PNG")[:33] + chunk(b"acTL", bytes(8)) + saved(NOISE, "PNG")[33:],
        "cannot be read",
    ),
    "large": (saved(Image.new("1", (10000, 9000)), "PNG"), "more than .* pixels"),
    "larger": (saved(Image.new("1", (20000, 10000)), "PNG"), "more than .* pixels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_one_reading_is_refused(tmp_path, case):
    content, message = REFUSED[case]
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.png .*{message}"):
        read(tmp_path / "odd.png")


def test_the_photograph_of_a_camera_file_with_previews_is_read(tmp_path):
    photograph = Image.new("RGB", (SIDE, SIDE), (200, 0, 0))
    content = saved(photograph, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    (tmp_path / "a.jpg").write_bytes(content)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - (200, 0, 0)).max() <= 2


def test_every_changed_bit_of_a_png_is_noticed(tmp_path):
    content = saved(Image.new("RGB", (SIDE, SIDE), (9, 80, 200)), "PNG")
    silent = []
    for place in range(8, len(content) - 12):  # without the signature and the last chunk
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "a.png").write_bytes(changed)
        try:
            read(tmp_path / "a.png")
            silent.append(place)
        except UserError:
            pass
    assert silent == []
