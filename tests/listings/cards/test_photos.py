"""What comes in as a photo, and what is kept of it."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
import zlib

import pytest
from PIL import Image

from listings.cards.photos import BYTES_MAX, SHOWN_SIDE_MAX, clean_photo
from marketplace.common.errors import Invalid

GPS = 0x8825
ORIENTATION = 0x0112


def photo(kind="JPEG", size=(300, 200), **options):
    out = io.BytesIO()
    Image.new("RGB", size, (120, 30, 200)).save(out, kind, **options)
    return out.getvalue()


def png_of(width, height):
    """A PNG whose header promises what its few bytes do not hold."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_kept_as_our_own_jpeg(kind):
    clean = clean_photo(photo(kind))
    with Image.open(io.BytesIO(clean.data)) as kept:
        assert (kept.format, kept.size) == ("JPEG", (300, 200))
    assert (clean.width, clean.height) == (300, 200)


def test_where_and_with_what_it_was_taken_is_gone_and_it_stands_upright():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "A camera"
    exif.get_ifd(GPS)[1] = "N"
    clean = clean_photo(photo(exif=exif.tobytes()))
    assert b"Exif" not in clean.data
    assert b"A camera" not in clean.data
    assert (clean.width, clean.height) == (200, 300)


def test_a_large_photo_is_made_smaller():
    clean = clean_photo(photo(size=(4000, 3000)))
    assert (clean.width, clean.height) == (SHOWN_SIDE_MAX, SHOWN_SIDE_MAX * 3 // 4)


@pytest.mark.parametrize("size", [(40_000, 40_000), (13_000, 10), (9_000, 8_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    with pytest.raises(Invalid) as refused:
        clean_photo(png_of(*size))
    assert refused.value.code in {"photo_too_many_pixels", "photo_broken"}


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "hello")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "photo_too_large"),
        (b"\xff\xd8" + b"\0" * BYTES_MAX, "photo_too_large"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "photo_not_a_photo"),
        (b"%PDF-1.7 hello", "photo_not_a_photo"),
        (b"GIF89a" + b"\0" * 40, "photo_not_a_photo"),
        (b"hello", "photo_not_a_photo"),
        (photo()[:200], "photo_broken"),
        (photo() + zipped(), "photo_not_a_photo"),
        (photo() + b"<?php system('id'); ?>", "photo_not_a_photo"),
        (photo("PNG") + b"more", "photo_not_a_photo"),
        (photo("WEBP") + b"more", "photo_not_a_photo"),
        (photo(comment=b"<script>alert(1)</script>"), "photo_not_a_photo"),
        (photo(comment=b"%PDF-1.7 and more"), "photo_not_a_photo"),
        (photo(comment=b"Rar!\x1a\x07\x00"), "photo_not_a_photo"),
        (png_of(300, 200), "photo_broken"),
    ],
)
def test_what_is_no_plain_photo_is_refused(data, code):
    with pytest.raises(Invalid) as refused:
        clean_photo(data)
    assert refused.value.code == code


def test_whatever_a_stranger_sends_is_a_photo_or_refused_in_words():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "A camera"
    exif.get_ifd(GPS)[1] = "N"
    honest = [
        photo(),
        photo(exif=exif.tobytes()),
        photo("PNG", exif=exif.tobytes()),
        photo("WEBP", exif=exif.tobytes()),
    ]
    chance = random.Random(3)
    for _ in range(3000):
        data = bytearray(chance.choice(honest))
        for _ in range(chance.choice([1, 2, 5])):
            data[chance.randrange(min(len(data), 200))] = chance.randrange(256)
        with warnings.catch_warnings(action="ignore"):  # Pillow's own words about broken EXIF
            try:
                clean_photo(bytes(data))
            except Invalid:
                continue
