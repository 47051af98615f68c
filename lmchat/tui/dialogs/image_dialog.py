"""Dialog with an image of a prompt, as the terminal can show it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from importlib import import_module
from math import ceil
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from lmchat import units
from lmchat.errors import FileRefused
from lmchat.files.images import open_image
from lmchat.safe_text import safe_line
from lmchat.sessions.message import FilePart
from lmchat.tui.actions import OpenFile
from lmchat.tui.app import LMChatApp
from lmchat.tui.dialogs.dialog import Dialog

_WIDGETS = "textual_image.widget"
_SHOWN_PIXELS = 2048  # of the longer side
_CELL_RATIO = 2  # height of a cell by its width
_OTHER_ROWS = 10  # of the screen: around the dialog, its title and keys, and the gaps


async def decoded(app: LMChatApp, part: FilePart, data: bytes) -> Any:
    """Return the image in a file as an image of Pillow, and prepare lmchat to show images.

    The library that shows images asks the terminal at its import what it can draw. During that,
    lmchat does not read the terminal: keys of the user would be taken for the answer. Raises
    `FileRefused` if the library is missing, or the image cannot be decoded.
    """
    try:
        image = await asyncio.to_thread(_decoded, safe_line(part.name, limit=80), data)
        if _WIDGETS not in sys.modules:
            async with app.lent_terminal():
                await asyncio.to_thread(import_module, _WIDGETS)
    except ImportError as error:
        hint = 'Run: pip install "lmchat[images]". Or press o to open it in a viewer.'
        raise FileRefused("Images cannot be shown without an extra.", hint=hint) from error
    except Exception as error:  # a decoder may raise anything
        words = f"{safe_line(part.name, limit=80)} cannot be shown."
        raise FileRefused(words, hint="Press o to open it in a viewer.") from error
    return image


def _decoded(name: str, data: bytes) -> Any:
    """Return an image of Pillow, made smaller if one side is longer than `_SHOWN_PIXELS`."""
    with open_image(name, data) as image:
        image.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS))
        return image.convert("RGBA")


class ImageDialog(Dialog[bool | None]):
    """Dialog with an image; returns True if the user wants the next one, None on Esc.

    It posts `OpenFile` to open the image in the system's viewer.
    """

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        ("o", "open"),
        ("enter,right", "next"),
    ]

    def __init__(self, part: FilePart, image: Any, left_count: int) -> None:
        """Create the dialog for an image of Pillow, after which `left_count` others follow."""
        hints = [("o", "open")]
        if left_count:
            hints.append(("Enter", f"next, {left_count} left"))
        super().__init__(part.name, hints)
        self._part = part
        self._image = image

    def compose_content(self) -> Iterable[Widget]:
        from textual_image import renderable, widget  # noqa: PLC0415 - an extra

        image_widget: type[Widget] = widget.Image
        if renderable.Image is renderable.UnicodeImage:  # chosen if stdout is no terminal
            image_widget = widget.HalfcellImage
        yield image_widget(self._image, id="image", classes="gap")

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        """Show the figures of the image, and make it as large as there is room for.

        It keeps its proportions, and has at most one column for each of its pixels.
        """
        if not self.can_show:
            return
        part = self._part
        figures = [units.size_text(part.size, is_exact=True)]
        if part.width:
            figures.append(f"{part.width}×{part.height}")
        self.show_title(*figures)

        # a cell is twice as high as it is wide: width / height of the image = columns / (rows * 2)
        width, height = self._image.size  # pixels
        most_rows = max(self.size.height - _OTHER_ROWS, 1)
        room = self.query_one("#dialog-title").size.width
        columns = max(min(width, room, most_rows * _CELL_RATIO * width // height), 1)
        image = self.query_one("#image")
        image.styles.width = columns
        image.styles.height = ceil(columns * height / (width * _CELL_RATIO))

    def action_open(self) -> None:
        self.post_message(OpenFile(self._part))

    def action_next(self) -> None:
        self.dismiss(True)
