"""Row of key hints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events
from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from lmchat.text import safe_line
from lmchat.tui.icons import icons_for
from lmchat.tui.messages import Post
from lmchat.tui.widgets.line import MUTED, STRONG, content, fit

_WORDS: Mapping[str, str] = {
    "escape": "Esc",
    "delete": "Del",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "equals_sign": "=",
    "slash": "/",
    "question_mark": "?",
    "comma": ",",
}
_NAMES: Mapping[str, str] = {word: name for name, word in _WORDS.items()}
_MODIFIERS: Mapping[str, str] = {"ctrl": "Ctrl", "alt": "Alt", "shift": "Shift"}


def written(keys: str) -> str:
    """Write Textual's names, comma-separated, as people do: `ctrl+b,f2` as `^B, F2`."""
    return safe_line(", ".join(_written(key.strip()) for key in keys.split(",") if key.strip()))


def key_name(text: str) -> str:
    """Return Textual's name of one written key; empty where the text stands for no key or for several."""
    if text.startswith("^") and len(text) == 2:  # noqa: PLR2004 - ^ and a letter
        return f"ctrl+{text[1].lower()}"
    name = text.lower() if len(text) > 1 else text
    return _NAMES.get(text) or (name if name.isalnum() else "")


def _written(key: str) -> str:
    *modifiers, last = key.split("+")
    word = _WORDS.get(last) or (last.title() if len(last) > 1 and last.isalnum() else last)
    if modifiers == ["ctrl"] and len(word) == 1:
        return f"^{word.upper()}"
    return "+".join([*(_MODIFIERS.get(name, name) for name in modifiers), word])


Hint = tuple[str, str]  # key or slash command as written, and the word for what it does

_BETWEEN = "  "
_LEAST_COLUMNS, _LEAST_ROWS = 40, 12
_TOO_SMALL = (f"{_LEAST_COLUMNS} × {_LEAST_ROWS}", "needed")  # hint on a terminal that is too small


class KeysRow(Widget):
    """Hints that are dropped whole where room is short: the left ones from the end, then the right ones."""

    class CommandClicked(Post):
        """A slash command was clicked."""

        line: str

    def __init__(self) -> None:
        super().__init__()
        self._left: tuple[Hint, ...] = ()
        self._right: tuple[Hint, ...] = ()

    def show(self, hints: Sequence[Hint], right: Sequence[Hint] = ()) -> None:
        new = (tuple(hints), tuple(right))
        if new != (self._left, self._right):
            self._left, self._right = new
            self.refresh()

    def render(self) -> Content:
        left, right = self._fitting(self.content_size.width)
        return fit([_join(left)], _join(right), self.content_size.width, icons_for(self).cut)

    def on_click(self, event: events.Click) -> None:
        hint = str(event.style.meta.get("hint", ""))
        if hint.startswith("/"):
            self.post_message(self.CommandClicked(hint))
        elif key := key_name(hint.rsplit(" ", maxsplit=1)[-1]):  # of `[ ]` the one that goes on
            self.app.simulate_key(key)

    def _fitting(self, width: int) -> tuple[list[Hint], list[Hint]]:
        columns, rows = self.app.size
        if columns >= _LEAST_COLUMNS and rows >= _LEAST_ROWS:
            return fitting(self._left, self._right, width)
        return fitting(
            (_TOO_SMALL, *self._left), self._right if columns >= _LEAST_COLUMNS else (), width
        )


def fitting(
    left: Sequence[Hint], right: Sequence[Hint], width: int
) -> tuple[list[Hint], list[Hint]]:
    """Return the hints that fit."""
    kept, last = list(left), list(right)
    room = width - _length(last) - (len(_BETWEEN) if last else 0)
    while kept and _length(kept) > room:
        kept.pop()
    while last and _length(last) > width:
        last.pop(0)
    return kept, last


def _length(hints: Sequence[Hint]) -> int:
    return _join(hints).cell_length


def _join(hints: Sequence[Hint]) -> Content:
    """Return hints in a row; each carries its key for a click."""
    pieces = [content(((key, STRONG), (f" {word}" if word else "", MUTED))) for key, word in hints]
    keys = [Style.from_meta({"hint": key}) for key, _ in hints]
    return Content(_BETWEEN).join(
        piece.stylize(key) for piece, key in zip(pieces, keys, strict=True)
    )
