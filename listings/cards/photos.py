"""Photos of strangers, made harmless: looked at before they are decoded, and only our own encoding is kept.

Pure: bytes in, bytes out. Refused are anything but JPEG, PNG and WebP, too many bytes, too many pixels (read from the
header alone), and files that are something else as well.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from marketplace.common.errors import FieldError, Invalid

BYTES_MAX = 8 * 1024 * 1024
PIXELS_MAX = 40_000_000
SIDE_MAX = 12_000
SHOWN_SIDE_MAX = 2048
QUALITY = 85
FORMATS = ("JPEG", "PNG", "WEBP")
# What Pillow raises about bytes that are not what their header says.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, ArithmeticError, LookupError, TypeError,
)  # fmt: skip
ENDS: Mapping[str, Callable[[bytes], bool]] = {
    "JPEG": lambda data: data.rstrip(b"\0").endswith(b"\xff\xd9"),
    "MPO": lambda data: data.rstrip(b"\0").endswith(b"\xff\xd9"),  # a JPEG with a second one, as phones make them
    "PNG": lambda data: data[-12:] == b"\0\0\0\0IEND\xaeB`\x82",
    "WEBP": lambda data: 0 <= len(data) - 8 - int.from_bytes(data[4:8], "little") <= 1,
}
FOREIGN = (  # in lower case, as it is looked for
    b"<svg",
    b"<script",
    b"<html",
    b"<?php",
    b"%pdf-",
    b"rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
)


@dataclass(frozen=True, slots=True)
class CleanPhoto:
    """A JPEG that we have written ourselves: no EXIF, no colour profile, no second meaning."""

    data: bytes
    width: int
    height: int
    sha256: str


def clean_photo(data: bytes) -> CleanPhoto:
    """The photo encoded anew, at most 2048 pixels on a side; Invalid says why one is refused."""
    if not data or len(data) > BYTES_MAX:
        raise _refused("too_large", f"a photo has at most {BYTES_MAX // 1024 // 1024} MiB")
    if any(sign in data.lower() for sign in FOREIGN) or zipfile.is_zipfile(io.BytesIO(data)):
        raise _refused("not_a_photo", "this file is something else as well: send a plain photo")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, data)
            return _encoded(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error
    except UnidentifiedImageError as error:
        raise _refused("not_a_photo", "a photo is a JPEG, PNG or WebP file") from error
    except UNREADABLE as error:
        raise _refused("broken", "this photo can't be read") from error


def _check_header(image: Image.Image, data: bytes) -> None:
    """What the header says, before a single pixel is decoded."""
    width, height = image.size
    if max(width, height) > SIDE_MAX or width * height > PIXELS_MAX:
        raise _too_many_pixels()
    if not ENDS[str(image.format)](data):
        raise _refused("not_a_photo", "there is something behind the end of this photo")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise _refused("not_a_photo", "a moving picture is no photo")


def _encoded(image: Image.Image) -> CleanPhoto:
    image.draft("RGB", (SHOWN_SIDE_MAX, SHOWN_SIDE_MAX))
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((SHOWN_SIDE_MAX, SHOWN_SIDE_MAX))
    plain = Image.new("RGB", upright.size, "white")
    layer = upright.convert("RGBA")
    plain.paste(layer, mask=layer)
    out = io.BytesIO()
    plain.save(out, "JPEG", quality=QUALITY)
    written = out.getvalue()
    return CleanPhoto(written, *plain.size, hashlib.sha256(written).hexdigest())


def _too_many_pixels() -> Invalid:
    return _refused("too_many_pixels", f"a photo has at most {PIXELS_MAX // 1_000_000} million pixels")


def _refused(code: str, detail: str) -> Invalid:
    return Invalid(detail, code=f"photo_{code}", errors=(FieldError("/file", code, detail),))
