"""What an empty log shows: a name, a sentence about the model, and keys to start with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from lmchat.base.units import SIGNS

StyledWords = tuple[str, str]  # words, and the name of their style in the log

LOOKING: tuple[StyledWords, ...] = (("Looking for a server…", ""),)
_TITLE = "lmchat"
# command, its usual key, and what it does; without a command, what can be typed
_KEYS = (
    (("model", "^O", "choose a model"), ("", "@", "add a file")),
    (("search", "^K", "search sessions"), ("", "!", "run a shell command")),
    (("sessions", "^B", "open a session"), ("", "/", "commands")),
)
_FEW_KEYS = ((("", "@", "add a file"), ("", "/", "commands")),)
_SENTENCE_PIECES = 2  # a name and what it does; a hint follows
_LEAST_HEIGHT = 12  # rows of a log with room for all keys
_WIDTH = 50  # cells; it must not move when the sentence changes
_MARGIN = 2  # least cells at either side
_KEY_GAP = "  "
_COLUMN_GAP = " " * 6


def greeting_rows(
    sentence: Sequence[StyledWords], user_keys: Mapping[str, str], width: int, height: int
) -> list[list[StyledWords]]:
    """Return the rows of an empty log, down to the last with words.

    Where room is short, the hint goes, and a long name is cut.
    """
    text = [*sentence]
    room = width - 2 * _MARGIN
    if _width_of(text) > room:
        del text[_SENTENCE_PIECES:]
    if _width_of(text) > room:
        words, style = text[0]
        name_width = max(room - _width_of(text[1:]) - 1, 0)
        text[0] = (set_cell_size(words, name_width) + SIGNS.cut, style)
    keys = _key_rows(_KEYS, user_keys)
    if height < _LEAST_HEIGHT or max(map(_width_of, keys)) > room:
        keys = _key_rows(_FEW_KEYS, user_keys)
    rows: list[list[StyledWords]] = [[(_TITLE, "strong")], [], text, [], *keys]
    if len(rows) > height:
        rows = [text]
    left = max((width - _WIDTH) // 2, _MARGIN)
    left = max(min(left, width - _MARGIN - max(map(_width_of, rows))), 0)
    top = max((height - len(rows)) // 2, 0)
    return [*([] for _ in range(top)), *([(" " * left, ""), *row] for row in rows)]


def _key_rows(
    table: Sequence[Sequence[tuple[str, str, str]]], user_keys: Mapping[str, str]
) -> list[list[StyledWords]]:
    rows: list[list[StyledWords]] = [[] for _ in table]
    for column in zip(*table, strict=True):
        keys = [user_keys.get(command_id) or key for command_id, key, _ in column]
        key_width = max(map(cell_len, keys))
        words_width = max(cell_len(words) for *_, words in column)
        for row, key, (*_, words) in zip(rows, keys, column, strict=True):
            gap = _COLUMN_GAP if row else ""
            row += [
                (gap + set_cell_size(key, key_width), "strong"),
                (_KEY_GAP + set_cell_size(words, words_width), "muted"),
            ]
    return rows


def _width_of(row: Sequence[StyledWords]) -> int:
    return cell_len("".join(words for words, _ in row).rstrip())
