"""Quotes and list items around a part of a block, and the lines that open them again."""

from __future__ import annotations

import re

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import GLUE, HEAD_LINES, Block
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
_HTML_OPENINGS = (
    (re.compile(r"<(script|pre|style|textarea)(?=\s|>|$)", re.IGNORECASE), "<pre>"),
    (re.compile(r"<!--"), "<!--"),
    (re.compile(r"<\?"), "<?"),
    (re.compile(r"<!\[CDATA\["), "<![CDATA["),
    (re.compile(r"<![A-Za-z]"), "<!A"),
)
_MATH = re.compile(r"\$\$|\\\[|\\begin\{[a-z]+\*?\}")


class Level(Struct, frozen=True):
    """A quote, or an item of a list."""

    opening: str
    """Start of its first line."""
    rest: str
    """Start of its other lines."""
    number: int | None = None
    """The number that an item of a list is shown with; None for a quote."""
    box: str = ""
    """The box of a task."""


class Nest(Struct, frozen=True):
    """Containers around the next line."""

    levels: tuple[Level, ...] = ()
    """The outermost first."""
    leaf: str = ""
    """Lines that open the innermost block again, or the beginning of its line."""

    @property
    def head(self) -> str:
        """Lines that open all of it again; they are not shown."""
        lines, before = "", ""
        for level in self.levels:
            lines += before + level.opening
            before += level.rest
            lines += (f"{level.box} task\n{before}" if level.box else "") + _FILLER
        return lines + self.leaf

    @property
    def rest(self) -> str:
        """Start of each line in it."""
        return "".join(level.rest for level in self.levels)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the list items around it."""
        return tuple(level.number for level in self.levels if level.number is not None)

    def glued(self, before: str = "", *, is_word: bool) -> Nest:
        """Return it for the rest of a line, which is a paragraph if it begins with a letter."""
        return Nest(self.levels, self.rest + before + ("" if is_word else GLUE))

    def with_leaf(self, *lines: str) -> Nest:
        """Return it within a block that these lines open."""
        return Nest(self.levels, "".join(f"{self.rest}{line}\n" for line in lines))


class Depth(Struct):
    """A container that was found on the way to the last block."""

    level: Level
    """The quote or item."""
    start: int
    """The line that it begins on."""
    size: int
    """Characters that open it there."""


def is_joined(above: Token, token: Token) -> bool:
    """Whether a list follows a paragraph or a list, or a definition another, where there is no blank line."""
    is_list = above.type in ABOVE_LISTS and token.type.endswith("_list_open")
    return is_list or above.type == token.type == "definition"


def path(tokens: list[Token]) -> list[int]:
    """Return the places of the last block, of the last one in it, and so on."""
    found: list[int] = []
    level, start = 0, 0
    while True:
        inner = [
            place
            for place in range(start, len(tokens))
            if tokens[place].level == level and tokens[place].map and tokens[place].nesting >= 0
        ]
        if not inner:
            return found
        found.append(inner[-1])
        if tokens[inner[-1]].type not in _INNER:
            return found
        level, start = level + 1, inner[-1] + 1


def before(tokens: list[Token], places: list[int], depth: int) -> int | None:
    """Return the place of the block before one on a path, in the same container."""
    parent, place = places[depth - 1], places[depth]
    level = tokens[place].level
    for other in range(place - 1, parent, -1):
        if tokens[other].level == level and tokens[other].map and tokens[other].nesting >= 0:
            return other
    return None


def depths(
    nest: Nest, tokens: list[Token], places: list[int], lines: list[str], ordinal: int | None = None
) -> list[Depth]:
    """Return the containers among some places of a path; `nest` is around the first line.

    `ordinal` is the number of the first item, where the path begins with a list that goes on.
    """
    first = nest.head.count("\n")
    found: list[Depth] = []
    for depth, place in enumerate(places):
        token = tokens[place]
        if token.type not in _CONTAINERS:
            continue
        start = span(token)[0]
        if start < first:
            found.append(Depth(nest.levels[len(found)], start, 0))
            continue
        line = _plain(lines[start - first])
        position = _inside(line, found, start)
        if token.type == "blockquote_open":
            match = _QUOTE.match(line, position)
            found.append(Depth(Level("> ", "> "), start, match.end() - position if match else 0))
            continue
        parent = places[depth - 1]
        base = ordinal if depth == 1 else None
        if len(found) < len(nest.levels) and span(tokens[parent])[0] < first:
            base = nest.levels[len(found)].number
        opening = _opening(line, position)
        box = _BOX.match(tokens[place + 2].content) if tokens[place + 1].type == "paragraph_open" else None
        number = _number(tokens, parent, place, base)
        level = Level(opening, " " * len(opening), number, box[0] if box else "")
        found.append(Depth(level, start, len(opening)))
    return found


def nest_of(found: list[Depth]) -> Nest:
    """Return the nest that some containers make."""
    return Nest(tuple(depth.level for depth in found))


def reopened(found: list[Depth], token: Token, lines: list[str]) -> Nest:
    """Return the nest within a block that goes over many lines, and begins with these."""
    nest, start = nest_of(found), span(token)[0]
    texts = [
        line[_inside(line, found, start + number) :]
        for number, line in enumerate(map(_plain, lines[:HEAD_LINES]))
    ]
    match token.type:
        case "fence":
            blanks = len(texts[0]) - len(texts[0].lstrip(" "))
            return nest.with_leaf(f"{' ' * blanks}{token.markup}{token.info}")
        case "code_block":
            return nest.with_leaf("    x")
        case "table_open":
            return nest.with_leaf(*texts)
        case "math_block":
            math = _MATH.match(texts[0].strip())
            return nest.with_leaf(math[0] if math else "$$")
        case _:
            text = texts[0].strip()
            return nest.with_leaf(next((mark for kind, mark in _HTML_OPENINGS if kind.match(text)), "<div>"))


def without_blanks(found: list[Depth], lines: list[str], end: int) -> int:
    """Return the end of lines in some containers without trailing blank lines."""
    while end > 0 and not (line := _plain(lines[end - 1]))[_inside(line, found, -1) :].strip():
        end -= 1
    return end


def span(token: Token) -> tuple[int, int]:
    """Return the first line of a block, and the one behind its last."""
    start, end = token.map or (0, 0)
    return start, end


def _plain(line: str) -> str:
    return line.rstrip("\n").expandtabs(4)


def _inside(line: str, found: list[Depth], start: int) -> int:
    """Return where in a line the content of some containers begins."""
    position = 0
    for depth in found:
        if depth.start == start:
            position += depth.size
        elif depth.level.number is None:
            match = _QUOTE.match(line, position)
            position = match.end() if match else position
        else:
            text = line[position : position + len(depth.level.rest)]
            position += len(text) - len(text.lstrip(" "))  # a lazy line has fewer
    return position


def _opening(line: str, position: int) -> str:
    """Return the mark of an item with the blanks around it."""
    match = _ITEM.match(line, position)
    if match is None:
        return "- "
    pad = len(match[2])
    return match[1] + " " * (pad if 0 < pad <= _MAX_PAD and match.end() < len(line) else 1)


def _number(tokens: list[Token], list_place: int, place: int, base: int | None) -> int:
    """Return the number that an item is shown with."""
    first = int(tokens[list_place].attrs.get("start", 1)) if base is None else base
    level = tokens[place].level
    return first + sum(
        token.type == "list_item_open" and token.level == level for token in tokens[list_place:place]
    )


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
        """Whether all of a token is in the blocks before."""
        return token.map is not None and token.map[1] <= self.lines

    def goes_on(self, token: Token) -> bool:
        """Whether a token began in the blocks before."""
        return token.map is not None and token.map[0] < self.lines + self.is_glued

    def number(self, token: Token, ordinal: int | None) -> int:
        """Return the number of the first item of a list."""
        if self.goes_on(token):
            return next(self._numbers, 1)
        return int(token.attrs.get("start", 1)) if ordinal is None else ordinal

    def content(self, token: Token) -> str:
        """Return the text of a block of lines, as far as it is shown."""
        lines = token.content.split("\n")
        hidden = max(self.lines - span(token)[0], 0) if token.type != "fence" else 0
        return "\n".join(lines[hidden:])
