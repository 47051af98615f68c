"""Quotes and list items around a part of a block, and the lines that open them again."""

from __future__ import annotations

import re

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import HEAD_LINES, Block
from lmchat.tui.widgets.chat_log.markdown.parser import Token

_CONTAINERS = ("blockquote_open", "list_item_open")
_INNER = (*_CONTAINERS, "bullet_list_open", "ordered_list_open")
ABOVE_LISTS = ("paragraph_open", "bullet_list_open", "ordered_list_open")
"""Blocks that a list may follow without a blank row."""
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( *(?:[-+*]|\d{1,9}[.)]))( *)")
_FILLER = "___\n"
"""A rule: it ends where its line ends, and no mark of a list can be taken for a part of it."""
_BOX = re.compile(r"\[[ xX]\](?=[ \t]|$)")
_MAX_PAD = 4


class Level(Struct, frozen=True):
    """A quote or a list item."""

    opening: str
    rest: str
    number: int | None = None
    box: str = ""
    start: int = 0
    size: int = 0


def head_of(levels: list[Level]) -> str:
    """Return lines that open some levels again, the outermost first; they are not shown."""
    lines = before = ""
    for level in levels:
        lines += before + level.opening
        before += level.rest
        lines += (f"{level.box} task\n{before}" if level.box else "") + _FILLER
    return lines


def rest_of(levels: list[Level]) -> str:
    """Return the start of each line in some levels."""
    return "".join(level.rest for level in levels)


def span(token: Token) -> tuple[int, int]:
    """Return the first line of a block and the one behind it."""
    start, end = token.map or (0, 0)
    return start, end


def is_joined(above: Token, token: Token) -> bool:
    """Whether a block follows another without a blank row, if there is no blank line."""
    is_list = above.type in ABOVE_LISTS and token.type.endswith("_list_open")
    return is_list or above.type == token.type == "definition"


def path(tokens: list[Token]) -> list[int]:
    """Return the places of the last block, of the last one in it, and so on."""
    found: list[int] = []
    while not found or tokens[found[-1]].type in _INNER:
        start = found[-1] + 1 if found else 0
        inner = [place for place in range(start, len(tokens)) if _is_block(tokens[place], len(found))]
        if not inner:
            break
        found.append(inner[-1])
    return found


def before(tokens: list[Token], places: list[int], depth: int) -> int | None:
    """Return the place of the block before one on a path, in the same container."""
    others = range(places[depth] - 1, places[depth - 1], -1)
    return next((other for other in others if _is_block(tokens[other], depth)), None)


def _is_block(token: Token, level: int) -> bool:
    return token.level == level and token.map is not None and token.nesting >= 0


def levels_of(
    tokens: list[Token], places: list[int], lines: list[str], hidden: int, numbers: tuple[int, ...]
) -> list[Level]:
    """Return the containers among some places of a path.

    The first `hidden` lines open again what is in closed blocks; `numbers` are those of its lists.
    """
    found: list[Level] = []
    known = list(numbers)
    for depth, place in enumerate(places):
        token = tokens[place]
        if token.type not in _CONTAINERS:
            continue
        start = span(token)[0]
        line = _plain(lines[start])
        position = _inside(line, found, start)
        if token.type == "blockquote_open":
            match = _QUOTE.match(line, position)
            found.append(Level("> ", "> ", start=start, size=match.end() - position if match else 0))
            continue
        list_place = places[depth - 1]
        number = int(tokens[list_place].attrs.get("start", 1))
        if known and (depth == 1 or span(tokens[list_place])[0] < hidden):
            number = known.pop(0)
        number += sum(
            other.type == "list_item_open" and other.level == token.level
            for other in tokens[list_place:place]
        )
        opening = _opening(line, position)
        box = _BOX.match(tokens[place + 2].content) if tokens[place + 1].type == "paragraph_open" else None
        rest = " " * len(opening)
        found.append(Level(opening, rest, number, box[0] if box else "", start, len(opening)))
    return found


def first_lines(levels: list[Level], token: Token, lines: list[str]) -> str:
    """Return the first line of a block, or the head of a table, to open it again."""
    start = span(token)[0]
    texts = lines[start : start + (HEAD_LINES if token.type == "table_open" else 1)]
    inner = (line[_inside(line, levels, start + number) :] for number, line in enumerate(map(_plain, texts)))
    return "".join(f"{rest_of(levels)}{text}\n" for text in inner)


def without_blanks(levels: list[Level], lines: list[str], end: int) -> int:
    """Return the end of lines in some containers without trailing blank lines."""
    while end > 0 and not (line := _plain(lines[end - 1]))[_inside(line, levels, -1) :].strip():
        end -= 1
    return end


def _plain(line: str) -> str:
    return line.rstrip("\n").expandtabs(4)


def _inside(line: str, levels: list[Level], start: int) -> int:
    position = 0
    for level in levels:
        if level.start == start:
            position += level.size
        elif level.number is None:
            match = _QUOTE.match(line, position)
            position = match.end() if match else position
        else:
            text = line[position : position + len(level.rest)]
            position += len(text) - len(text.lstrip(" "))  # a lazy line has fewer
    return position


def _opening(line: str, position: int) -> str:
    match = _ITEM.match(line, position)
    if match is None:
        return "- "
    pad = len(match[2])
    return match[1] + " " * (pad if 0 < pad <= _MAX_PAD and match.end() < len(line) else 1)


class Rest:
    """Shown part of a block: the lines that open it again are in the blocks before."""

    def __init__(self, block: Block | None = None) -> None:
        head = block.head if block else ""
        self.lines = head.count("\n")
        """Lines that are not shown."""
        self.is_glued = bool(head) and not head.endswith("\n")
        self.is_attached = bool(block and block.is_attached)
        """Whether what is first shown follows what is not without a blank row."""
        self._numbers = iter(block.numbers if block else ())

    def is_over(self, token: Token) -> bool:
        return token.map is not None and token.map[1] <= self.lines

    def goes_on(self, token: Token) -> bool:
        return token.map is not None and token.map[0] < self.lines + self.is_glued

    def number(self, token: Token) -> int:
        is_known = self.goes_on(token) or not (self.lines or self.is_glued)
        start = int(token.attrs.get("start", 1))
        return next(self._numbers, start) if is_known else start

    def content(self, token: Token) -> str:
        lines = token.content.split("\n")
        hidden = max(self.lines - span(token)[0], 0) if token.type != "fence" else 0
        return "\n".join(lines[hidden:])
