"""Keys that Textual's table of escape sequences names wrongly."""

from __future__ import annotations

from typing import Any, cast

from msgspec import Struct
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.keys import Keys


class _KeyName(Struct, frozen=True):
    """Stands in for a member of `Keys`, which has none for these."""

    value: str
    """Textual's name of the key."""


def mend_keys() -> None:
    """Give the sequences their right keys; a second call changes nothing.

    Alt+Enter was Enter, Alt with a digit a letter of the Mac's keyboard, Alt with an arrow Escape and then
    the arrow. What is no matter of a table (time, pastes, doubled escapes) is mended in `key_stream`.
    """
    table = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for sequence, keys in list(table.items()):
        match keys:
            case (Keys.Escape, key):
                table[sequence] = (_KeyName(f"alt+{key.value}"),)
            case _:
                pass
    table |= {f"\x1b{digit}": (_KeyName(f"alt+{digit}"),) for digit in range(10)}
    table |= dict.fromkeys(("\x1b\r", "\x1b\n", "\x1b[27;3;13~"), (_KeyName("alt+enter"),))
    table["\x1b[27;2;13~"] = (_KeyName("shift+enter"),)
