"""Keys as people write them, and as Textual names them."""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.text import safe_line

_WORDS: Mapping[str, str] = {
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "space": "Space",
    "delete": "Del",
    "backspace": "Backspace",
    "home": "Home",
    "end": "End",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
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
    if text in _NAMES:
        return _NAMES[text]
    if text.startswith("^") and len(text) == 2:  # noqa: PLR2004 - ^ and a letter
        return f"ctrl+{text[1].lower()}"
    if text.startswith("F") and text[1:].isdigit():
        return text.lower()
    return text if len(text) == 1 and text.isalnum() else ""


def _written(key: str) -> str:
    *modifiers, last = key.split("+")
    word = _WORDS.get(last) or (last.upper() if last[:1] == "f" and last[1:].isdigit() else last)
    if modifiers == ["ctrl"] and len(word) == 1:
        return f"^{word.upper()}"
    return "+".join([*(_MODIFIERS.get(name, name) for name in modifiers), word])
