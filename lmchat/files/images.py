"""Images to attach. Their size is checked before they are decoded.

Pillow, which reads and scales images, is an extra of lmchat: without it, no image is decoded.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from io import BytesIO

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
LONGEST_SIDE = 2048  # pixels; no model sees more of them, most see fewer
MAX_PIXELS = 100_000_000  # an image of a few kB may unpack to gigabytes
_PIXELS_PER_TOKEN = 750  # as Anthropic counts
_MOST_TOKENS = 1600  # as Anthropic counts, about
_QUALITY = 90  # of JPEG and WebP; larger values make much larger files


def image_type(data: bytes) -> str:
    """Return the media type of a PNG, JPEG, WebP or GIF image; "" for any other content."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    for beginning, media_type in _IMAGE_TYPES.items():
        if data.startswith(beginning):
            return media_type
    return ""


class SizedImage(Struct, frozen=True):
    """Content of an image that is small enough to be sent."""

    data: bytes
    width: int = 0  # pixels; 0 where they are not known
    height: int = 0

    @property
    def tokens(self) -> int:
        """Estimate of its tokens in a request; the most for an unknown size."""
        if not self.width:
            return _MOST_TOKENS
        return min(self.width * self.height // _PIXELS_PER_TOKEN, _MOST_TOKENS)


def fit_image(name: str, data: bytes) -> SizedImage:
    """Return an image to attach; it is decoded to find out whether it is damaged.

    If a side is longer than `LONGEST_SIDE`, the image is scaled down. Without Pillow it is neither
    decoded nor scaled, and its width and height stay unknown. Raises `FileRefused` if the image is
    damaged, has too many pixels, or after scaling is still larger than `MAX_IMAGE_BYTES`.
    """
    if find_spec("PIL") is None:
        fitted = SizedImage(data)
        hint = 'To scale images down: pip install "lmchat[images]"'
    else:
        fitted = _decoded(name, data)
        hint = "Save a smaller copy of it."
    if len(fitted.data) > MAX_IMAGE_BYTES:
        raise FileRefused(f"{name} is larger than {MAX_IMAGE_BYTES // 1_000_000} MB.", hint=hint)
    return fitted


def _decoded(name: str, data: bytes) -> SizedImage:
    """Return an image with its size; a large one as a copy in the same format, scaled down.

    The copy is upright: a camera may store an image lying on its side, with a note how to turn it
    (EXIF).
    """
    from PIL import Image, ImageOps  # noqa: PLC0415 - an extra

    # Pillow only warns of more pixels than this; the warning is made an error
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    image_format = image_type(data).removeprefix("image/").upper()
    try:
        with Image.open(BytesIO(data), formats=[image_format]) as image:
            image.load()  # fails if it is truncated
            if max(image.size) <= LONGEST_SIDE:
                return SizedImage(data, image.width, image.height)
            # images of two colours or with a palette cannot be scaled smoothly
            small = image.convert("RGBA") if image.mode in ("1", "P") else image
            small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            ImageOps.exif_transpose(small, in_place=True)
            encoded = BytesIO()
            small.save(encoded, image_format, quality=_QUALITY)
            return SizedImage(encoded.getvalue(), small.width, small.height)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels."
        raise FileRefused(message, hint="Save a smaller copy of it.") from error
    except Exception as error:  # a decoder may raise anything
        message = f"{name} is damaged or cut off."
        raise FileRefused(message, hint="Copy or download it again.") from error
