"""Image files of every kind: what their headers say, and which pixels a network sees."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainables.tasks import pictures
from trainables.tasks.base import DataError
from trainables.tasks.pictures import ALPHA, ANIMATED, BAD_TAGS, DEEP, INKS, TURNED, read_header, read_pixels

RANDOM = np.random.RandomState(0)
COLOURS = RANDOM.randint(0, 256, (6, 8, 3), dtype=np.uint8)
GREYS = RANDOM.randint(0, 256, (6, 8), dtype=np.uint8)
ALPHAS = RANDOM.randint(0, 256, (6, 8), dtype=np.uint8)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(depth: int, colour: int, rows: bytes, width: int, height: int, transparent: bytes = b"") -> bytes:
    """As the specification has it, for what Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    if transparent:
        parts.insert(1, chunk(b"tRNS", transparent))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def seen(data: bytes, name: str = "x.png", mode: str = "RGB") -> np.ndarray:
    """(height, width, channels) at the size that the header says."""
    header = read_header(name, data)
    return read_pixels(name, data, mode, header.size).transpose(1, 2, 0)


def on_white(colours: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    share = alphas[..., None] / 255.0
    return colours * share + 255.0 * (1 - share)


def rgba() -> Image.Image:
    return Image.fromarray(np.dstack([COLOURS, ALPHAS]))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_colours_with_alpha_are_put_on_white(format: str) -> None:
    data = encoded(rgba(), format, lossless=True, exact=True)
    assert read_header("x", data).changes == (ALPHA,)
    assert np.abs(seen(data) - on_white(COLOURS, ALPHAS)).max() <= 1


def test_grey_with_alpha_stays_grey_and_is_put_on_white() -> None:
    data = encoded(Image.fromarray(np.dstack([GREYS, ALPHAS])), "PNG")
    header = read_header("x.png", data)
    assert header.grey and header.changes == (ALPHA,)
    assert np.abs(seen(data, mode="L") - on_white(GREYS[..., None], ALPHAS)).max() <= 1


def test_a_premultiplied_tiff_is_put_on_white() -> None:
    ink = np.zeros((6, 8, 4), np.uint8)
    ink[..., 3] = ALPHAS  # black ink: premultiplied or not, its colours are 0
    data = bytearray(encoded(Image.fromarray(ink), "TIFF"))
    with Image.open(io.BytesIO(data)) as image:
        kind = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples
        assert image.tag_v2[338] == (2,)  # type: ignore[attr-defined]
    place = data.index(kind) + len(kind)
    data[place : place + 2] = struct.pack("<H", 1)  # associated alpha
    assert np.abs(seen(bytes(data), "x.tif") - on_white(ink[..., :3], ALPHAS)).max() <= 1


@pytest.mark.parametrize("mode", ["La", "PA", "RGBa"])
def test_alpha_modes_that_few_files_have(mode: str) -> None:
    image = rgba().convert("LA").convert("La") if mode == "La" else rgba().convert(mode)
    plain = image.convert("LA" if mode == "La" else "RGBA").convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain).convert("RGB")
    assert pictures._on_white(image).convert("RGB").tobytes() == expected.tobytes()


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255])])
def test_transparent_palette_colours_become_white(transparency: int | bytes) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 0, 0, 0, 70, 80, 90])
    data = encoded(image, "PNG", transparency=transparency)
    assert ALPHA in read_header("x.png", data).changes
    middle = [0, 0, 0] if transparency == 0 else [127, 127, 127]
    assert np.abs(seen(data)[0].astype(int) - [[255, 255, 255], middle, [70, 80, 90]]).max() <= 1


def test_a_transparent_gif_becomes_white() -> None:
    image = Image.fromarray(np.array([[0, 1, 1]], np.uint8)).convert("P")
    image.putpalette([9, 9, 9, 0, 0, 0])
    data = encoded(image, "GIF", transparency=0)
    assert seen(data, "x.gif")[0].tolist() == [[255] * 3, [0] * 3, [0] * 3]


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, bytes([0b01000000]), 0, [255, 255, 255, 255]),
        (4, bytes([0x0F, 0x80]), 15, [0, 255, 136, 0]),
        (4, bytes([0x0F, 0x80]), 0, [255, 255, 136, 255]),
        (8, bytes([0, 7, 8, 9]), 8, [0, 7, 255, 9]),
        (16, struct.pack(">4H", 0, 300, 301, 65535), 300, [0, 255, 1, 255]),
    ],
)
def test_a_transparent_grey_level_becomes_white(
    depth: int, row: bytes, key: int, expected: list[int]
) -> None:
    data = png(depth, 0, b"\0" + row, 4, 1, struct.pack(">H", key))
    assert seen(data, mode="L")[0, :, 0].tolist() == expected


def test_a_transparent_colour_of_16_bits_becomes_white() -> None:
    row = struct.pack(">6H", 1000, 2000, 3000, 0, 2000, 65535)
    data = png(16, 2, b"\0" + row, 2, 1, struct.pack(">3H", 1000, 2000, 3000))
    assert read_header("x.png", data).changes == (ALPHA, DEEP)
    assert seen(data)[0].tolist() == [[255, 255, 255], [0, 7, 255]]


LEVELS = np.array([[0, 128, 129, 300, 32768, 65535]], np.uint16)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_and_not_clipped(format: str) -> None:
    data = encoded(Image.fromarray(LEVELS), format)
    header = read_header("x", data)
    assert header.grey and header.changes == (DEEP,)
    assert seen(data, mode="L")[0, :, 0].tolist() == np.rint(LEVELS[0] / 257).astype(int).tolist()


def test_16_bits_of_a_tiff_with_the_larger_byte_first() -> None:
    big = Image.frombytes("I;16B", (6, 1), LEVELS.astype(">u2").tobytes())
    data = encoded(big, "TIFF")
    assert data[:2] == b"MM"
    assert seen(data, "x.tif", "L")[0, :, 0].tolist() == np.rint(LEVELS[0] / 257).astype(int).tolist()


def test_16_bits_of_a_tiff_whose_zero_is_white() -> None:
    data = encoded(Image.fromarray(LEVELS), "TIFF", tiffinfo={262: 0})
    expected = (255 - np.rint(LEVELS[0] / 257)).astype(int).tolist()
    assert seen(data, "x.tif", "L")[0, :, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_without_a_known_white_are_refused_in_one_sentence(mode: str) -> None:
    data = encoded(Image.new(mode, (4, 4)), "TIFF")
    for read in (
        lambda: read_header("a/deep.tif", data),
        lambda: read_pixels("a/deep.tif", data, "L", (4, 4)),
    ):
        with pytest.raises(
            DataError, match=rf"^a/deep\.tif has pixels .*mode {mode}.*; convert it"
        ) as caught:
            read()
        assert "\n" not in str(caught.value)


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns of a file that are seen as ``upright``, by the EXIF standard's own words.

    Of each value it says where the 0th row and the 0th column of the file are to be seen.
    """
    rows_are_columns = orientation >= 5
    bottom = {1: 0, 2: 0, 3: 1, 4: 1, 5: 0, 6: 0, 7: 1, 8: 1}[orientation]
    right = {1: 0, 2: 1, 3: 1, 4: 0, 5: 0, 6: 1, 7: 1, 8: 0}[orientation]
    found = upright[::-1] if bottom else upright
    found = found[:, ::-1] if right else found
    return found.transpose(1, 0, 2) if rows_are_columns else found


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(format: str, orientation: int) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :12], upright[8:, :12], upright[:8, 12:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = Image.fromarray(np.ascontiguousarray(stored(upright, orientation)))
    data = encoded(file, format, exif=exif, quality=95, lossless=True)
    header = read_header("x", data)
    assert header.size == (16, 24)
    assert (TURNED in header.changes) == (orientation != 1)
    shown = seen(data, "x").astype(int)
    assert np.abs(shown[4::8, 6::12] - upright[4::8, 6::12]).max() < 60  # the middles of the four colours


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_tags_do_not_lose_the_image() -> None:
    data = encoded(Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff")
    broken = encoded(Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0no tags")
    for each in (data, broken):
        assert set(read_header("x.png", each).changes) <= {BAD_TAGS}
        assert np.array_equal(seen(each), COLOURS)
    assert read_header("x.png", broken).changes == (BAD_TAGS,)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_animations_the_first_frame_is_used(format: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    assert read_header("x", data).changes == (ANIMATED,)
    assert (seen(data, "x") == [255, 0, 0]).all()


def test_a_telephones_picture_with_a_preview_is_no_animation() -> None:
    big, small = (Image.fromarray(COLOURS).resize(size) for size in ((32, 24), (8, 6)))
    data = encoded(big, "MPO", save_all=True, append_images=[small])
    header = read_header("x.jpg", data)
    assert header.changes == () and header.size == (24, 32)


def test_inks_are_said() -> None:
    data = encoded(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "JPEG")
    assert read_header("x.jpg", data).changes == (INKS,)
    assert seen(data, "x.jpg")[0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("suffix", sorted(pictures.FORMAT_OF_SUFFIX))
def test_every_suffix_is_opened(suffix: str) -> None:
    format = pictures.FORMAT_OF_SUFFIX[suffix]
    size = (16, 16)
    image = Image.fromarray(RANDOM.randint(0, 256, (*size, 3), dtype=np.uint8))
    options = {"sizes": [size]} if format == "ICO" else {}
    data = encoded(image, format, **options)
    assert read_header(f"x{suffix}", data).size == size
    assert seen(data, f"x{suffix}").shape == (*size, 3)


def test_formats_that_run_programs_stay_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def run(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"a program was started: {args}")

    data = encoded(Image.fromarray(COLOURS), "EPS")
    for name in ("Popen", "check_call", "run"):
        monkeypatch.setattr(subprocess, name, run)
    for name in ("x.eps", "x.png"):
        with pytest.raises(DataError, match=r"cannot be decoded \(it is no image of a known format\)"):
            read_pixels(name, data, "RGB", (6, 8))
    assert not {"EPS", "WMF", "MPEG", "FITS", "PSD"} & set(pictures.FORMAT_OF_SUFFIX.values())


def test_bombs_are_refused_in_one_sentence() -> None:
    data = png(8, 0, b"", 20_000, 20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"^b/bomb.png has more than 178,956,970 pixels; make it smaller"):
            read_header("b/bomb.png", data)


def test_files_of_other_names_are_images_by_their_first_bytes(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "JPEG2000"):
        (tmp_path / format).write_bytes(encoded(image, format))
        assert pictures.is_image(tmp_path / format)
    (tmp_path / "raw.nef").write_bytes(encoded(image, "TIFF"))  # a camera's thumbnail, to Pillow
    (tmp_path / "text").write_text("P1 is no image, and BM neither")
    (tmp_path / "empty").write_bytes(b"")
    for name in ("raw.nef", "text", "empty", "absent"):
        assert not pictures.is_image(tmp_path / name)


def test_a_name_that_cannot_be_shown_is_escaped_in_messages() -> None:
    with pytest.raises(DataError, match=r"^caf\\xe9/a\\x1b.png cannot be decoded") as caught:
        read_header("caf\udce9/a\x1b.png", b"no image")
    str(caught.value).encode()
