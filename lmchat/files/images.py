"""Images from outside. Their size is checked before anything decodes them.

Pillow, which reads and scales images, is an extra of lmchat: without it, no image is decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from msgspec import Struct

from lmchat.errors import FileRefused

# Media types of images by their first bytes.
_IMAGE_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
MAX_IMAGE_BYTES = 10_000_000
LONGEST_SIDE = 2048  # pixels; models see no more, most of them less
MAX_PIXELS = 100_000_000  # an image of a few kB may unpack to gigabytes
_PIXELS_PER_TOKEN = 750  # as Anthropic counts
_MOST_TOKENS = 1600  # as Anthropic counts, about
_LEAST_TOKENS = 85  # as OpenAI counts a small image
_QUALITY = 90  # of JPEG and WebP; larger values make much larger files


def image_type(data: bytes) -> str:
    """Return the media type of a PNG, JPEG, WebP or GIF image; "" for any other content."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    for beginning, media_type in _IMAGE_TYPES.items():
        if data.startswith(beginning):
            return media_type
    return ""


class ImageDamagedError(FileRefused):
    """An image cannot be decoded."""


class SizedImage(Struct, frozen=True):
    """Content of an image that is small enough to be sent."""

    data: bytes
    width: int = 0  # pixels; 0 where they are not known
    height: int = 0

    @property
    def tokens(self) -> int:
        """Estimate of the tokens that the image takes in a request; the most for an unknown size.

        It grows with the number of pixels, within the limits of what servers count.
        """
        if not self.width:
            return _MOST_TOKENS
        by_size = self.width * self.height // _PIXELS_PER_TOKEN
        return min(max(by_size, _LEAST_TOKENS), _MOST_TOKENS)


@contextmanager
def _opened(name: str, data: bytes) -> Iterator[Any]:
    """Open an image with Pillow, which reads its header and does not decode it yet.

    Raises `FileRefused` for more than `MAX_PIXELS`. Any other error, also one in the body of the
    `with` block, becomes an `ImageDamagedError`.
    """
    from PIL import Image  # noqa: PLC0415 - an extra

    # Pillow only warns of more pixels than this; the warning is made an error
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    image_format = image_type(data).removeprefix("image/").upper()
    try:
        with Image.open(BytesIO(data), formats=[image_format]) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels."
        raise FileRefused(message, hint="Save a smaller copy of it.") from error
    except Exception as error:  # a decoder may raise anything
        message = f"{name} is damaged or cut off."
        raise ImageDamagedError(message, hint="Copy or download it again.") from error


def fit_image(name: str, data: bytes) -> SizedImage:
    """Return an image to attach; it is decoded to find out whether that works.

    If a side is longer than `LONGEST_SIDE`, the image is scaled down. Without Pillow it is neither
    decoded nor scaled, and its size stays unknown. Raises `FileRefused` if the image is damaged,
    has too many pixels, or is larger than `MAX_IMAGE_BYTES` in the end.
    """
    fitted = SizedImage(data)
    hint = 'To scale images down: pip install "lmchat[images]"'
    if find_spec("PIL") is not None:
        with _opened(name, data) as image:
            image.load()  # fails if it is truncated
            fitted = SizedImage(data, image.width, image.height)
            if max(image.size) > LONGEST_SIDE:
                fitted = _scaled_down(image)
        hint = "Save a smaller copy of it."
    _refuse_too_many_bytes(name, fitted.data, hint)
    return fitted


def measure_image(name: str, data: bytes) -> SizedImage:
    """Return an image of an import, with its bytes unchanged, and its size if that can be read.

    A damaged image is returned too, so that the chat does not lose it. Raises `FileRefused` if the
    image has too many pixels or bytes.
    """
    measured = SizedImage(data)
    if find_spec("PIL") is not None:
        with suppress(ImageDamagedError), _opened(name, data) as image:
            measured = SizedImage(data, image.width, image.height)
    _refuse_too_many_bytes(name, data, "Save a smaller copy of it.")
    return measured


def _scaled_down(image: Any) -> SizedImage:
    """Return a copy of an opened image: in the same format, upright, with sides within the limit.

    A camera may store an image lying on its side, with a note how to turn it (EXIF).
    """
    from PIL import ImageOps  # noqa: PLC0415 - an extra

    image_format = image.format  # a converted copy of the image does not know its format
    # images of two colours or with a palette cannot be scaled smoothly
    small = image.convert("RGBA") if image.mode in ("1", "P") else image
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    ImageOps.exif_transpose(small, in_place=True)
    encoded = BytesIO()
    small.save(encoded, image_format, quality=_QUALITY)
    return SizedImage(encoded.getvalue(), small.width, small.height)


def _refuse_too_many_bytes(name: str, data: bytes, hint: str) -> None:
    if len(data) > MAX_IMAGE_BYTES:
        raise FileRefused(f"{name} is larger than {MAX_IMAGE_BYTES // 1_000_000} MB.", hint=hint)
