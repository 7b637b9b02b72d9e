"""Image files as Pillow reads them: which formats, what a header says, and 8-bit pixels of any of them."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from trainables.foreign import shown
from trainables.tasks.base import DataError

OWN_MAGIC = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "JPEG2000")
"""Begin with bytes that nothing else begins with: looked for in files of any name."""
ALWAYS_TRIED = (*OWN_MAGIC, "BMP", "PPM", "QOI", "TIFF")
"""Tried on every file whose name is that of an image. TIFF is not looked for in others: cameras' raw files
are TIFF to Pillow, which then gives their thumbnail."""
FORMAT_OF_SUFFIX = {
    ".apng": "PNG",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dib": "DIB",
    ".gif": "GIF",
    ".ico": "ICO",
    ".j2k": "JPEG2000",
    ".jfif": "JPEG",
    ".jp2": "JPEG2000",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpf": "JPEG2000",
    ".jpg": "JPEG",
    ".jpx": "JPEG2000",
    ".mpo": "JPEG",
    ".pbm": "PPM",
    ".pcx": "PCX",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".qoi": "QOI",
    ".sgi": "SGI",
    ".tga": "TGA",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Formats that Pillow may open, by the ends of names.

Those are left out that run another program (EPS, by Ghostscript), that only Windows draws (WMF, EMF), that
Pillow knows without decoding them (BUFR, GRIB, HDF5, MPEG), and rare ones, whose decoders few people test
(FITS, FLI, PSD, SUN, XPM, games' textures and others).
"""

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")

ALPHA = "images with an alpha channel or transparent colours, put on white"
DEEP = "images of more than 8 bits, scaled to 8"
TURNED = "images turned as their orientation tag says"
ANIMATED = "images of several frames or pages, of which the first is used"
INKS = "images in CMYK, converted to RGB"
BAD_TAGS = "images with damaged tags, whose orientation is not known"
CHANGES = (ALPHA, DEEP, TURNED, ANIMATED, INKS, BAD_TAGS)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Of the values of the EXIF tag Orientation."""
_PNG_TAGS = (b"eXIf", b"Raw profile", b"XML:com.adobe")
_TAGS = frozenset({"exif", "xmp", "XML:com.adobe.xmp"})
_SIDEWAYS = (5, 6, 7, 8)
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0


class Header(NamedTuple):
    """What a file says of its image.

    ``size`` is (height, width) as it is seen, turned; ``changes`` are those of the kinds above that decoding
    it makes.
    """

    grey: bool
    size: tuple[int, int]
    sha256: bytes
    changes: tuple[str, ...]


def suffix_of(name: str) -> str:
    """The end of a file's name from its last dot on, in lower case."""
    return os.path.splitext(name)[1].lower()


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file whose name says nothing begins as an image of :data:`OWN_MAGIC`; else it is no image."""
    try:
        with Image.open(path, formats=OWN_MAGIC):
            return True
    except Exception:  # any bytes may come here, and Pillow's parsers raise what they ran into
        return False


def read_header(name: str, data: bytes) -> Header:
    """What the image file ``data`` says, without decoding its pixels.

    Args:
        name: of the file, for messages and for formats that only their name tells.
        data: the whole file.

    Raises:
        DataError: it is no image that can be used; the message says why.
    """
    try:
        with _opened(name, data) as image:
            _check_mode(name, image)
            orientation, damaged = _orientation(image, data)
            height, width = image.height, image.width
            if orientation in _SIDEWAYS and image.format != "TIFF":  # Pillow has turned those already
                height, width = width, height
            found = (
                image.has_transparency_data,
                _bits(image, data) > 8,
                orientation in _TURNS,
                # The second picture of an MPO, which telephones write as .jpg, is a preview or the like.
                image.format != "MPO" and getattr(image, "is_animated", False),
                image.mode == "CMYK",
                damaged,
            )
            changes = tuple(itertools.compress(CHANGES, found))
            return Header(image.mode in GREY_MODES, (height, width), hashlib.sha256(data).digest(), changes)
    except DataError:
        raise
    except Exception as error:  # on damaged bytes Pillow's parsers raise whatever they ran into
        raise _unreadable(name, error) from error


def read_pixels(name: str, data: bytes, mode: str, image_size: tuple[int, int]) -> np.ndarray:
    """The image as uint8 of shape (channels, height, width): upright, on white, in 8 bits, its first frame.

    Args:
        name: as for :func:`read_header`.
        data: the whole file.
        mode: ``L`` or ``RGB``.
        image_size: (height, width) to resize to, if it has another (bilinear with antialiasing).

    Raises:
        DataError: it cannot be decoded.
    """
    height, width = image_size
    try:
        with _opened(name, data) as image:
            _check_mode(name, image)
            orientation, _ = _orientation(image, data)
            plain = _on_white(_in_eight_bits(image, data))
            if orientation in _TURNS and image.format != "TIFF":
                plain = plain.transpose(_TURNS[orientation])
            decoded = plain.convert(mode)
            if decoded.size != (width, height):
                decoded = decoded.resize((width, height), Image.Resampling.BILINEAR)
    except DataError:
        raise
    except Exception as error:  # as above
        raise _unreadable(name, error) from error
    return np.asarray(decoded).reshape(height, width, -1).transpose(2, 0, 1)


def _opened(name: str, data: bytes) -> Image.Image:
    own = FORMAT_OF_SUFFIX.get(suffix_of(name))
    formats = ALWAYS_TRIED if own is None or own in ALWAYS_TRIED else (*ALWAYS_TRIED, own)
    return Image.open(io.BytesIO(data), formats=formats)


def _unreadable(name: str, error: Exception) -> DataError:
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # where Pillow refuses
        return DataError(f"{_say(name)} has more than {most:,} pixels; make it smaller or remove it")
    known = isinstance(error, UnidentifiedImageError)
    reason = "it is no image of a known format" if known else shown(str(error)) or type(error).__name__
    return DataError(f"{_say(name)} cannot be decoded ({reason}); repair or remove it")


def _say(name: str) -> str:
    return shown(name, 300)


def _check_mode(name: str, image: Image.Image) -> None:
    # What Pillow calls I has a known white in PPM and PNG alone, 16 bits; in TIFF it is 32, or signed.
    if image.mode not in (*GREY_MODES, *COLOUR_MODES) or (image.mode == "I" and image.format == "TIFF"):
        raise DataError(
            f"{_say(name)} has pixels of a kind whose white is not known (Pillow's mode {image.mode}: 32 "
            "bits, signed, floats or LAB); convert it to 8 or 16 bits"
        )


def _bits(image: Image.Image, data: bytes) -> int:
    """Of a channel as it is stored, as far as more than 8 can be."""
    if image.format == "PNG":
        return data[24]  # the header's chunk comes first, and there it stands
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))  # type: ignore[attr-defined]
        return int(max(bits))
    return 16 if image.mode.startswith("I") else 8


def _orientation(image: Image.Image, data: bytes) -> tuple[int, bool]:
    """The EXIF tag, 1 where there is none; and whether the tags are damaged."""
    # Asked for tags, Pillow decodes a whole PNG, where they may stand at the end.
    if image.format == "PNG":
        if not any(mark in data for mark in _PNG_TAGS):
            return 1, False
    elif image.format != "TIFF" and _TAGS.isdisjoint(image.info):
        return 1, False
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # tags are foreign bytes as well, and the image is good without them
        return 1, True
    return (found, False) if isinstance(found, int) else (1, True)


def _in_eight_bits(image: Image.Image, data: bytes) -> Image.Image:
    """The first frame; what Pillow gives in 16 bits is scaled, and transparent grey made alpha."""
    image.load()
    if not image.mode.startswith("I"):
        return _with_scaled_key(image, data)
    bits = _bits(image, data)
    white = 2**bits - 1
    levels = np.asarray(image).astype(np.int64)
    scaled = ((levels * 255 + white // 2) // white).astype(np.uint8)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
        scaled = 255 - scaled  # as Pillow does in 8 bits
    grey = Image.fromarray(scaled)
    key = image.info.get("transparency")
    if key is not None:
        grey.putalpha(Image.fromarray(np.where(levels == key, 0, 255).astype(np.uint8)))
    return grey


def _with_scaled_key(image: Image.Image, data: bytes) -> Image.Image:
    """A PNG's transparent colour is given in the file's bits; Pillow has scaled the pixels alone."""
    key = image.info.get("transparency")
    if key is None or image.format != "PNG" or image.mode not in ("L", "RGB") or data[24] == 8:
        return image
    bits = data[24]
    if image.mode == "RGB":  # of 16 bits Pillow keeps the upper 8
        image.info["transparency"] = tuple(part >> 8 for part in key)
    else:
        image.info["transparency"] = key * 255 // (2**bits - 1)
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    if image.mode == "La":  # which Pillow converts to LA alone
        image = image.convert("LA")
    colours = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, (255, 255, 255, 255)), colours)
