"""Row of key hints, and the spelling of keys in it.

A hint is a key and a word for what it does. Keys have a name in Textual, `ctrl+b`, and a written
form for people, `^B`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from textual import events
from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from lmchat.commands.table import BY_ID, keys_of
from lmchat.safe_text import SafeText, safe_line
from lmchat.tui.actions import Post
from lmchat.tui.icons import icons_for
from lmchat.tui.widgets.line import MUTED, STRONG, content, fit

Hint = tuple[str, str]  # key or slash command as written, and the word for what it does

PROMPT_COMMANDS = ("model", "new", "find", "export", "sessions", "telemetry")
"""The commands that are hinted at in the prompt, most important first: not all have room."""

# how keys are written, by Textual's name of them
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
_BETWEEN = "  "  # between two hints
_LEAST_COLUMNS = 40  # smallest terminal that lmchat is made for
_LEAST_ROWS = 12
_TOO_SMALL: Hint = (f"{_LEAST_COLUMNS} × {_LEAST_ROWS}", "needed")


def written(keys: str) -> SafeText:
    """Return comma-separated keys, in Textual's names, as people write them: `^B, F2`."""
    names = [key.strip() for key in keys.split(",")]
    return safe_line(", ".join(_written(name) for name in names if name))


def spelled_out(keys: str) -> str:
    """Return the first of comma-separated keys as sentences name it: `Ctrl+S`."""
    first = written(keys.partition(",")[0])
    is_control = len(first) == 2 and first.startswith("^")  # noqa: PLR2004 - ^ and a letter
    return f"Ctrl+{first[1]}" if is_control else first


def _written(key: str) -> str:
    """Return a key as people write it: `^B` for `ctrl+b`, `Alt+↑` for `alt+up`, `F2` for `f2`."""
    *modifiers, last = key.split("+")
    word = _WORDS.get(last, last)
    is_plain_name = last not in _WORDS and len(last) > 1 and last.isalnum()  # as `f2` or `tab`
    if is_plain_name:
        word = last.title()
    if modifiers == ["ctrl"] and len(word) == 1:
        return f"^{word.upper()}"
    return "+".join([*(_MODIFIERS.get(name, name) for name in modifiers), word])


def key_name(text: str) -> str:
    """Return Textual's name of a written key: `ctrl+b` for `^B`, `alt+up` for `Alt+↑`.

    Return an empty text if `text` is no single key, such as `40 × 12`.
    """
    modifier, plus, rest = text.partition("+")
    if plus and modifier in _MODIFIERS.values():
        name = key_name(rest)
        return f"{modifier.lower()}+{name}" if name else ""
    if text in _NAMES:
        return _NAMES[text]
    if text.startswith("^") and len(text) == 2:  # noqa: PLR2004 - ^ and a letter
        return f"ctrl+{text[1].lower()}"
    if not text.isalnum():
        return ""
    return text.lower() if len(text) > 1 else text  # a single capital is a key of its own


def command_hint(command_id: str, overrides: Mapping[str, str]) -> Hint:
    """Return the first key of a command with its label; if tmux takes that, the last key."""
    command = BY_ID[command_id]
    keys = keys_of(command, overrides).split(",")
    is_taken_by_tmux = keys[0] == "ctrl+b" and "TMUX" in os.environ
    return written(keys[-1] if is_taken_by_tmux else keys[0]), command.label


class KeyBar(Widget):
    """Row with hints at the left and at the right; `fitting` chooses them where room is short."""

    class CommandClicked(Post):
        """A slash command was clicked."""

        line: str

    def __init__(self) -> None:
        super().__init__()
        self._left: Sequence[Hint] = ()
        self._right: Sequence[Hint] = ()

    def show(self, hints: Sequence[Hint], right: Sequence[Hint] = ()) -> None:
        """Show hints at the left, and others at the right; redraw only if one has changed."""
        new_left = tuple(hints)
        new_right = tuple(right)
        if (new_left, new_right) != (self._left, self._right):
            self._left = new_left
            self._right = new_right
            self.refresh()

    def render(self) -> Content:
        width = self.content_size.width
        columns, rows = self.app.size
        # on too small a terminal, the first hint is the size that is needed; if it is too narrow,
        # there are no hints at the right
        is_too_small = columns < _LEAST_COLUMNS or rows < _LEAST_ROWS
        wanted_left = (_TOO_SMALL, *self._left) if is_too_small else self._left
        wanted_right = self._right if columns >= _LEAST_COLUMNS else ()
        left, right = fitting(wanted_left, wanted_right, width)
        return fit([_join(left)], _join(right), width, icons_for(self).cut)

    def on_click(self, event: events.Click) -> None:
        """Act on the hint under the pointer, if there is one.

        A slash command is posted; for a key, lmchat acts as if the key was pressed.
        """
        hint = str(event.style.meta.get("hint", ""))  # set by `_as_content`
        if hint.startswith("/"):
            self.post_message(self.CommandClicked(hint))
            return
        last_key = hint.rsplit(" ", maxsplit=1)[-1]  # a hint may have two, as `[ ]`
        key = key_name(last_key)
        if key:
            self.app.simulate_key(key)


def fitting(
    left: Sequence[Hint], right: Sequence[Hint], width: int
) -> tuple[list[Hint], list[Hint]]:
    """Return the left hints and the right hints that fit together into `width` cells.

    Left hints are dropped first, from the last one on. If the right hints alone are too wide, they
    are dropped from their first one on.
    """
    kept_left = list(left)
    kept_right = list(right)
    room = width
    if kept_right:
        room -= _join(kept_right).cell_length + len(_BETWEEN)
    while kept_left and _join(kept_left).cell_length > room:
        kept_left.pop()
    while kept_right and _join(kept_right).cell_length > width:
        kept_right.pop(0)
    return kept_left, kept_right


def _join(hints: Sequence[Hint]) -> Content:
    """Return hints as one line; each hint has its key in the metadata of its style."""
    return Content(_BETWEEN).join(map(_as_content, hints))


def _as_content(hint: Hint) -> Content:
    """Return a hint with its key as metadata, from which `on_click` knows what was clicked."""
    key, word = hint
    piece = content(((key, STRONG), (f" {word}" if word else "", MUTED)))
    return piece.stylize(Style.from_meta({"hint": key}))
