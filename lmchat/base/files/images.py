"""Images to attach; their size is checked before they are decoded.

Pillow is an extra: without it, no image is decoded, and only PNG and JPEG are sent.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from msgspec import Struct

from lmchat.base.errors import FileRefused
from lmchat.base.extras import install_command

# as Pillow calls them, by their first bytes
_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BRANDS_END = 64  # in the head of a HEIF or AVIF file
_SENT = ("PNG", "JPEG")  # llama.cpp reads no WebP, and others no GIF
MAX_IMAGE_BYTES = 10_000_000
LONGEST_SIDE = 2048  # pixels; no model sees more of them, most see fewer
MAX_PIXELS = 100_000_000  # an image of a few kB may unpack to gigabytes
_PIXELS_PER_TOKEN = 750  # as Anthropic counts
_MOST_TOKENS = 1600  # as Anthropic counts, about
_QUALITY = 90  # larger values make much larger files
_LOSSLESS = ("PNG", "GIF", "BMP", "TIFF")  # drawings and texts, which JPEG would blur
_ORIENTATION = 0x0112  # the tag of EXIF that says how the camera was held
_EXIF_BYTES = 65_536  # of a JPEG, in which EXIF is


def image_format(data: bytes) -> str:
    """Return the format, as Pillow calls it, or ""."""
    for beginning, image_format in _FORMATS.items():
        if data.startswith(beginning):
            return image_format
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and data[15:18] == bytes(3):  # a header of less than 256 bytes
        return "BMP"
    if data[4:8] == b"ftyp":
        if b"avif" in data[8:_BRANDS_END] or b"avis" in data[8:_BRANDS_END]:
            return "AVIF"
        if data[8:12] in _HEIF_BRANDS:
            return "HEIF"
    return ""


def image_type(data: bytes) -> str:
    """Return the media type of a PNG, JPEG, WebP or GIF image, else ""."""
    found = image_format(data)
    return f"image/{found.lower()}" if found in ("PNG", "JPEG", "WEBP", "GIF") else ""


class SizedImage(Struct, frozen=True):
    """A PNG or JPEG that is small enough to be sent."""

    data: bytes
    width: int = 0  # pixels; 0 where they are not known
    height: int = 0
    left_out: str = ""  # such as that only the first frame is sent

    @property
    def tokens(self) -> int:
        """Estimate; the most for an unknown size."""
        if not self.width:
            return _MOST_TOKENS
        return min(self.width * self.height // _PIXELS_PER_TOKEN, _MOST_TOKENS)


def fit_image(name: str, data: bytes) -> SizedImage:
    """Decode an image to find damage; raises `FileRefused`.

    A PNG or JPEG stays, unless EXIF says that it lies on its side, or a side is longer than
    `LONGEST_SIDE`. Else a copy is made.
    """
    found = image_format(data)
    if find_spec("PIL") is None:
        if found not in _SENT:
            raise FileRefused(
                f"{name} must be converted to PNG, which needs Pillow.",
                next_step=f"Install it: {install_command('images')}",
            )
        has_note = found == "JPEG" and b"Exif\0" in data[:_EXIF_BYTES]
        left_out = "without Pillow, it may lie on its side" if has_note else ""
        # a PNG begins with both as whole numbers
        width, height = (
            int.from_bytes(data[at : at + 4]) if found == "PNG" else 0 for at in (16, 20)
        )
        fitted = SizedImage(data, width, height, left_out)
        next_step = f"To scale it down: {install_command('images')}"
    elif found == "HEIF" and find_spec("pillow_heif") is None:
        raise FileRefused(
            f"{name} is a HEIC image, which cannot be read without pillow-heif.",
            next_step=f"Install it: {install_command('heic')}",
        )
    else:
        fitted = _decoded(name, data, found)
        next_step = "Save a smaller copy of it."
    if len(fitted.data) > MAX_IMAGE_BYTES:
        raise FileRefused(
            f"{name} is larger than {MAX_IMAGE_BYTES // 1_000_000} MB.", next_step=next_step
        )
    return fitted


def as_sent(data: bytes) -> bytes:
    """Convert to PNG or JPEG, if possible: an imported image may be of another type."""
    if image_format(data) not in ("", *_SENT):
        with suppress(FileRefused):
            return fit_image("", data).data
    return data


def _decoded(name: str, data: bytes, image_format: str) -> SizedImage:
    from PIL import Image  # noqa: PLC0415 - an extra

    if image_format == "HEIF":
        from pillow_heif import register_heif_opener  # noqa: PLC0415 - not even in the extra

        register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # Pillow would only warn; `_upright` looks at the size
    try:
        with Image.open(BytesIO(data), formats=[image_format]) as image:
            return _upright(name, data, image_format, image)
    except FileRefused:
        raise
    except Exception as error:  # a decoder may raise anything
        raise FileRefused(
            f"{name} is damaged or cut off.", next_step="Copy or download it again."
        ) from error


def _upright(name: str, data: bytes, image_format: str, image: Any) -> SizedImage:
    if image.width * image.height > MAX_PIXELS:
        raise FileRefused(
            f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels.",
            next_step="Save a smaller copy of it.",
        )
    # the other images of an MPO, a kind of JPEG, are smaller ones
    has_more = image.format != "MPO" and getattr(image, "is_animated", False)
    kind = "page" if image_format == "TIFF" else "frame"
    left_out = f"only its first {kind} is sent" if has_more else ""
    is_small = max(image.size) <= LONGEST_SIDE
    image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is decoded at half its size or less
    image.load()  # fails if it is truncated
    turn = _turn(image)
    if image_format in _SENT and turn is None and is_small:
        return SizedImage(data, image.width, image.height, left_out)
    scaled = _in_colours(image)
    scaled.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    copy = _on_white(scaled)
    if turn is not None:
        copy = copy.transpose(turn)
    encoded = BytesIO()
    is_lossless = image_format in _LOSSLESS or scaled.has_transparency_data
    # a profile of colours may be for the old mode
    copy.save(encoded, "PNG" if is_lossless else "JPEG", quality=_QUALITY, icc_profile=None)
    return SizedImage(encoded.getvalue(), copy.width, copy.height, left_out)


def _turn(image: Any) -> Any:
    from PIL.Image import Transpose  # noqa: PLC0415 - see above

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(_ORIENTATION))
    except Exception:  # noqa: BLE001 - a parser may raise anything
        return None


def _in_colours(image: Any) -> Any:
    """Return an image whose colours can be mixed: those of a palette cannot."""
    if image.mode.startswith(("I", "F")):  # grey of more bits, which `convert` would cut off
        low, high = (0, 65_535) if image.mode.startswith("I;16") else image.getextrema()
        factor = 255 / (high - low or 1)
        return image.convert("F").point(lambda value: (value - low) * factor).convert("L")
    if image.mode in ("1", "P", "PA") or "transparency" in image.info:
        mode = "L" if image.mode == "1" else "RGB"
        return image.convert("RGBA" if image.has_transparency_data else mode)
    return image


def _on_white(image: Any) -> Any:
    """Make transparent pixels white: llama.cpp would show the colours that they happen to have."""
    if image.has_transparency_data:
        copy = image.convert("RGBA")
        white = copy.copy()
        white.paste("white", (0, 0, *copy.size))
        white.alpha_composite(copy)
        return white.convert("RGB")
    return image.convert("L" if image.mode == "L" else "RGB")
