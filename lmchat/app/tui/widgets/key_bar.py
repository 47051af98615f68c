"""Row of key hints, and how keys are written: `^B` for what Textual calls `ctrl+b`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from lmchat.app.commands.table import BY_ID, keys_of
from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.widgets.line import MUTED, STRONG, content, fit
from lmchat.base.safe_text import SafeText, safe_line

# A key and the word for what it does. Here, Textual's name of the key, or the id of a command whose
# key is not shown; in dialogs, the key as people write it.
Hint = tuple[str, str]

# by Textual's names
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
_BETWEEN = "  "  # between two hints


def written(keys: str, *, ctrl: str = "^") -> SafeText:
    """Write comma-separated keys as people do: `^B, F2`.

    `ctrl` is how Ctrl is written before a letter.
    """
    names = [key.strip() for key in keys.split(",")]
    return safe_line(", ".join(_written(name, ctrl) for name in names if name))


def _written(key: str, ctrl: str = "^") -> str:
    """Write `^B` for `ctrl+b`, `Alt+↑` for `alt+up`, `F2` for `f2`."""
    *modifiers, last = key.split("+")
    # names such as `f2` or `tab` get a capital; a letter stays
    word = _WORDS.get(last) or (last.title() if len(last) > 1 and last.isalnum() else last)
    if modifiers == ["ctrl"] and len(word) == 1:
        return f"{ctrl}{word.upper()}"
    return "+".join([*map(str.title, modifiers), word])


def command_hint(command_id: str, overrides: Mapping[str, str]) -> Hint:
    """Return the first key of a command, or "", and its label.

    `overrides` are the keys of the configuration, by command id.
    """
    command = BY_ID[command_id]
    return keys_of(command, overrides).partition(",")[0], command.label


class KeyBar(Widget):
    """Key hints: at the left as many as there is room for, and others at the right.

    A hint has one key by Textual's name, two with a blank between them, or the id of a command. A
    click runs the command or presses the key, or the last one of two: what a key does depends on
    the focus, and some are no rows of the table of commands.
    """

    _hints: reactive[tuple[Sequence[Hint], Sequence[Hint]]] = reactive(((), ()))  # left and right

    def show(self, hints: Sequence[Hint], right: Sequence[Hint] = ()) -> None:
        self._hints = (tuple(hints), tuple(right))

    def render(self) -> Content:
        """Leave out hints without room: the first one last, and before it those at the right."""
        width = self.content_size.width
        left_hints, right_hints = (list(map(_drawn, hints)) for hints in self._hints)
        between = Content(_BETWEEN)
        while right_hints and between.join([*left_hints[:1], *right_hints]).cell_length > width:
            right_hints.pop(0)
        right = between.join(right_hints)
        room = width - right.cell_length - (len(_BETWEEN) if right else 0)
        while left_hints and between.join(left_hints).cell_length > room:
            left_hints.pop()
        return fit([between.join(left_hints)], right, width)

    def on_click(self, event: events.Click) -> None:
        keys = str(event.style.meta.get("keys", ""))  # set by `_drawn`
        if keys in BY_ID:
            self.post_message(RunCommand(keys))
        else:  # the last of two
            self.app.simulate_key(keys.rpartition(" ")[2])


def _drawn(hint: Hint) -> Content:
    """Add the keys as metadata for `on_click`."""
    keys, word = hint
    names = " ".join(map(_written, keys.split()))  # one key or two
    piece = content(((word, MUTED),) if keys in BY_ID else ((names, STRONG), (f" {word}", MUTED)))
    return piece.stylize(Style.from_meta({"keys": keys}))
