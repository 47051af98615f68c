"""Images from outside: their size is known, and within limits, before anything decodes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, NamedTuple

from lmchat.errors import FileRefused
from lmchat.files import image_type

MAX_IMAGE_BYTES = 10_000_000
LONGEST_SIDE = 2048  # pixels; models see no more, most of them less
MAX_PIXELS = 100_000_000  # an image of a few kB may unpack to gigabytes
_PIXELS_PER_TOKEN = 750  # of Anthropic
_MOST_TOKENS = 1600  # of Anthropic, about
_LEAST_TOKENS = 85  # of OpenAI, for a small image
_PNG_END = b"IEND\xaeB`\x82"
_WEBP_CANVAS = b"VP8X"  # at byte 12; libwebp takes memory for the canvas when it opens the file


class ImageDamagedError(FileRefused):
    """An image cannot be decoded."""


class SizedImage(NamedTuple):
    """Content of an image that is small enough to be sent."""

    data: bytes
    width: int = 0  # pixels; 0 where they are not known
    height: int = 0

    @property
    def tokens(self) -> int:
        """Estimate of the tokens that it takes."""
        if not self.width:
            return _MOST_TOKENS
        return min(max(self.width * self.height // _PIXELS_PER_TOKEN, _LEAST_TOKENS), _MOST_TOKENS)


@contextmanager
def open_image(name: str, data: bytes) -> Iterator[Any]:
    """Open an image with Pillow; raises `FileRefused` before too many pixels are decoded."""
    from PIL import Image  # noqa: PLC0415 - an extra

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        _refuse_pixels(name, *_canvas(data))
        form = image_type(data).removeprefix("image/").upper()
        with Image.open(BytesIO(data), formats=[form]) as image:
            _refuse_pixels(name, *image.size)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(name) from error
    except FileRefused:
        raise
    except Exception as error:  # a decoder may raise anything
        raise _damaged(name) from error


def fit_image(name: str, data: bytes) -> SizedImage:
    """Return an image that decodes, scaled down where it is too large; raises `FileRefused`."""
    if image_type(data) == "image/png" and _PNG_END not in data:
        raise _damaged(name)
    if not _can_decode():
        return _within_bytes(
            name, SizedImage(data), 'To scale images down: pip install "lmchat[images]"'
        )
    with open_image(name, data) as image:
        if max(image.size) <= LONGEST_SIDE:
            image.load()  # fails if it is truncated
            found = SizedImage(data, *image.size)
        else:
            found = _scaled(image)
    return _within_bytes(name, found, "Save a smaller copy of it.")


def measure_image(name: str, data: bytes) -> SizedImage:
    """Return an image as it is, which may be damaged; raises `FileRefused` if it is too large."""
    found = SizedImage(data)
    if _can_decode():
        with suppress(ImageDamagedError), open_image(name, data) as image:
            found = SizedImage(data, *image.size)
    return _within_bytes(name, found, "Save a smaller copy of it.")


def check_imported_image(name: str, data: bytes) -> SizedImage:
    """Return an image of a chat within the same limits; raises `FileRefused`.

    A small one is not decoded, and kept though it may be damaged.
    """
    if not _can_decode():
        return measure_image(name, data)
    with suppress(ImageDamagedError):
        with open_image(name, data) as image:
            is_large = max(image.size) > LONGEST_SIDE
        if is_large or len(data) > MAX_IMAGE_BYTES:
            return fit_image(name, data)
    return measure_image(name, data)


def _can_decode() -> bool:
    try:
        import PIL  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True


def _scaled(image: Any) -> SizedImage:
    from PIL import ImageOps  # noqa: PLC0415 - an extra

    form = image.format
    small = image.convert("RGBA") if image.mode in ("1", "P") else image
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    ImageOps.exif_transpose(small, in_place=True)
    out = BytesIO()
    small.save(out, form, quality=90)
    return SizedImage(out.getvalue(), *small.size)


def _within_bytes(name: str, image: SizedImage, hint: str) -> SizedImage:
    if len(image.data) > MAX_IMAGE_BYTES:
        raise FileRefused(f"{name} is larger than {MAX_IMAGE_BYTES // 1_000_000} MB.", hint=hint)
    return image


def _canvas(data: bytes) -> tuple[int, int]:
    """Return the size of a WebP image with a canvas, else nothing."""
    if image_type(data) != "image/webp" or data[12:16] != _WEBP_CANVAS:
        return 0, 0
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1


def _refuse_pixels(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(name)


def _damaged(name: str) -> ImageDamagedError:
    return ImageDamagedError(f"{name} is damaged or cut off.", hint="Copy or download it again.")


def _too_many_pixels(name: str) -> FileRefused:
    words = f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels."
    return FileRefused(words, hint="Save a smaller copy of it.")
