"""Markdown as blocks and words by markdown-it, and code, links and JSON values in a text.

One parser cuts a text into blocks, the other one parses the text inside of a block. Both are
imported with the first message that needs them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, NoReturn, Protocol

from msgspec import Struct

from lmchat.safe_text import safe_line

# pattern of the opening line of a code block: "```python" or "~~~"; "``` a `b`" is inline code
_FENCE = r"(?P<indent> {0,3})(?P<marks>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)$"
_CODE_INDENT = 4  # blanks from which on a line is code, not the end of a fence
# the "&" of "&#123456789" or "&#x1234567", which are longer than the number of any character;
# Python refuses to read a number of thousands of digits
_LONG_REFERENCE = "&(?=#(?:[0-9]{8}|[xX][0-9a-fA-F]{7}))"


class Fence(Struct, frozen=True):
    """Opening line of a fenced code block (CommonMark 4.5)."""

    indent: str  # up to three blanks
    marks: str  # three or more backticks or tildes
    info: str  # its first word is usually the language

    def is_closed_by(self, line: str) -> bool:
        """Return whether a line ends the block.

        It holds only marks of this kind, at least as many as the opening line, and is indented by
        less than four blanks.
        """
        indent = len(line) - len(line.lstrip(" "))
        if indent >= _CODE_INDENT:
            return False
        marks = line.rstrip(" \t").lstrip(" ")
        has_only_marks = not marks.strip(self.marks[0])
        return has_only_marks and len(marks) >= len(self.marks)


def opening_fence(line: str) -> Fence | None:
    """Return the code fence that a line opens; None if it opens none."""
    match = re.match(_FENCE, line.rstrip("\n"))
    if match is None:
        return None
    return Fence(match["indent"], match["marks"], match["info"].strip())


def unclosed_fence(text: str) -> Fence | None:
    """Return the code fence that is still open at the end of a text; None if all are closed."""
    fence: Fence | None = None
    for line in text.split("\n"):
        if fence is None:
            fence = opening_fence(line)
        elif fence.is_closed_by(line):
            fence = None
    return fence


def unescaped(text: str) -> str:
    """Return text with characters in place of HTML references, such as `&amp;` and `&#62;`.

    An unknown name stays, and so does a number with more digits than that of any character.
    """
    from html import unescape

    # `unescape` turns the "&amp;" before a long number back into "&"
    return unescape(re.sub(_LONG_REFERENCE, "&amp;", text))


MAX_CHARS = 1_000_000  # more than any model writes in one answer
MAX_DEPTH = 64  # of lists and objects in each other
_MAX_TRIES = 200  # opening brackets in prose that are tried as the beginning of JSON
_MAX_VALUES = 20
_NO_JSON = ("NaN", "Infinity")  # JSON to Python, but the beginning of a sentence to people
_BRACKET = re.compile(r"[\[{]")
_CUT_VALUE = re.compile(r"t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|\.|[eE][+-]?|u?[0-9a-fA-F]{0,3}|")
"""Last characters of JSON that is cut within a value, or before it.

`fal` of `false`, `-` and `e+` of a number, `u00` of an escape such as `\\u00e9`, or nothing.
"""
_LEAD = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
"""Indentation and list marker before a fence, as `  - ` or `12. `."""
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_TOO_LARGE = "a number in it is too large"
_MAX_NAME_CHARS = 60  # of a name that a message quotes


class UnfitError(ValueError):
    """There is no usable JSON value; the message is part of a sentence."""


def strict_json(text: str) -> Any:
    """Return the JSON value that a text consists of.

    Raises `UnfitError` for a name that an object has twice, for `NaN` and `Infinity`, for a number
    that is too large and for too many levels; raises `JSONDecodeError` if the text is no JSON.
    """
    value = _decode_within_limits(_decoder.decode, text)
    _require_depth(value)
    return value


def find_value(text: str, fits: Callable[[Any], bool]) -> Any:
    """Return the JSON value in an answer.

    The answer as a whole is tried first, then the part behind `</think>`. If neither is JSON, the
    values in its fenced blocks are results; without those, the objects and lists between words.
    A single result is returned whether it fits or not. Of several, it is the one for which
    `fits` is true.

    Raises `UnfitError` without a result, if not exactly one of several fits, for a text that is
    too long, and for a value that `strict_json` refuses with this error.
    """
    if len(text) > MAX_CHARS:
        raise UnfitError(f"it has {len(text)} characters, {MAX_CHARS} are allowed")

    # the whole text first: a string in its JSON may contain the tag
    without_thought = text.rpartition("</think>")[2]
    for probed in (text, without_thought):
        whole = probed.strip().removeprefix("\ufeff")
        if whole.startswith(_NO_JSON):
            continue
        with suppress(json.JSONDecodeError):
            return strict_json(whole)

    values = _values_in_fences(without_thought) or _values_in_prose(without_thought)
    if not values:
        raise UnfitError("it has no JSON value")
    if len(values) == 1:
        return values[0]
    fitting = [value for value in values if fits(value)]
    if len(fitting) != 1:
        raise UnfitError(f"it has {len(values)} JSON values, but must have one")
    return fitting[0]


def _values_in_fences(text: str) -> list[Any]:
    """Return the values of the fenced blocks that hold JSON and nothing else.

    Only the first `_MAX_VALUES` blocks are read.
    """
    values: list[Any] = []
    for block in fenced_texts(text)[:_MAX_VALUES]:
        with suppress(json.JSONDecodeError):
            values.append(strict_json(block.strip()))
    return values


def _values_in_prose(text: str) -> list[Any]:
    """Return the objects and lists between words.

    A bracket that begins no JSON is skipped; at most `_MAX_TRIES` brackets are tried. The search
    ends when more than `_MAX_VALUES` values are found. It also ends at JSON that the end of the
    answer cuts off: the objects within it are only parts of the value that was meant.
    """
    values: list[Any] = []
    position = 0
    for _ in range(_MAX_TRIES):
        bracket = _BRACKET.search(text, position)
        if bracket is None or len(values) > _MAX_VALUES:
            break
        decode_here = partial(_decoder.raw_decode, idx=bracket.start())
        try:
            value, position = _decode_within_limits(decode_here, text)
        except json.JSONDecodeError as error:
            if _is_cut(error, text):
                break
            position = bracket.end()
        else:
            _require_depth(value)
            values.append(value)
    return values


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    """Return whether JSON is invalid only because the text ends within it.

    The place of the error is where the decoder had to stop. For JSON that is cut, the rest of
    the text is empty there, or the beginning of a value.
    """
    if "Unterminated string" in error.msg:
        return True
    # stripped here: as part of the pattern, many blanks would be slow to match
    invalid = text[error.pos :].strip()
    return _CUT_VALUE.fullmatch(invalid) is not None


def _decode_within_limits(decode: Callable[[str], Any], text: str) -> Any:
    """Return what a method of the decoder returns for a text.

    Raises `UnfitError` for more levels than Python can read and for a number that is too large, and
    `JSONDecodeError` for text that is no JSON.
    """
    try:
        return decode(text)
    except (json.JSONDecodeError, UnfitError):  # both are also a `ValueError`
        raise
    except RecursionError:
        raise UnfitError(_TOO_DEEP) from None
    except ValueError:  # Python refuses to read more than 4300 digits
        raise UnfitError(_TOO_LARGE) from None


def _require_depth(value: Any) -> None:
    """Raise `UnfitError` if lists and objects are nested deeper than `MAX_DEPTH`; no recursion.

    Each round replaces the values of one level by those within them.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        next_level: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                next_level += container.values()
            elif isinstance(container, list):
                next_level += container
        level = next_level
    if any(isinstance(inner, dict | list) for inner in level):
        raise UnfitError(_TOO_DEEP)


def fenced_texts(text: str) -> list[str]:
    """Return the texts of the fenced blocks, without fences and the indentation of the fences.

    Blank blocks are left out. A block that is not closed ends with the text.
    """
    blocks: list[str] = []
    # `_take_block` takes lines from the same iterator, so the loop continues behind the block
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        lead = _LEAD.match(line)
        lead_width = lead.end() if lead else 0
        fence = opening_fence(line[lead_width:])
        if fence is not None:
            blocks.append("\n".join(_take_block(fence, lines, lead_width)))
    return [block for block in blocks if block.strip()]


def _take_block(fence: Fence, lines: Iterator[str], lead_width: int) -> list[str]:
    """Take the lines of a block and its closing fence from `lines`; return those of the block.

    Without a closing fence, all lines are taken. Of each line, at most `lead_width` blanks are
    removed, which is the width of the indentation and list marker before the opening fence.
    """
    code: list[str] = []
    for line in lines:
        if fence.is_closed_by(line.strip(" \t")):
            return code
        indent = len(line) - len(line.lstrip(" \t"))
        code.append(line[min(indent, lead_width) :])

    # the answer was cut short, perhaps within the closing fence: after some of its blanks or marks
    last_line = code[-1] if code else ""
    has_only_marks = not last_line.strip().strip(fence.marks[0])
    # an empty last line is no part of a fence, but the line break at the end of the code
    is_cut_fence = last_line != "" and has_only_marks
    return code[:-1] if is_cut_fence else code


def _refuse_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the names and values of a JSON object as a dict.

    Raises `UnfitError` if a name is there more than once.
    """
    json_object = dict(pairs)
    if len(json_object) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        quoted = safe_line(repr(repeated), limit=_MAX_NAME_CHARS)
        raise UnfitError(f"an object in it has the name {quoted} twice")
    return json_object


def _refuse_constant(name: str) -> NoReturn:
    """Raise `UnfitError` for `NaN` and `Infinity`, which Python would read."""
    raise UnfitError(f"{name} in it is not JSON")


def _finite_float(digits: str) -> float:
    """Return a number with a decimal point or exponent.

    Raises `UnfitError` if it is too large for a float, which would then be infinite.
    """
    value = float(digits)
    if not math.isfinite(value):
        raise UnfitError(_TOO_LARGE)
    return value


_decoder = json.JSONDecoder(
    object_pairs_hook=_refuse_repeated_names,
    parse_constant=_refuse_constant,  # `NaN` and `Infinity`, which Python would read
    parse_float=_finite_float,
)


# core rules that only matter for the text inside blocks: without them, cutting takes half the time
_NOT_NEEDED = ["inline", "linkify", "replacements", "smartquotes", "text_join"]
_LINK_SIGNS = ("[", "<", "://")  # a block without any of these holds no link
_NO_BLOCKS = ("inline", "thead_open", "tbody_open", "tr_open")  # tokens inside of blocks
# blocks that a list may follow without a blank row
ABOVE_LISTS = ("paragraph_open", "bullet_list_open", "ordered_list_open")

# link reference definitions by name, in the parser's own form
References = MutableMapping[str, Any]


class Token(Protocol):
    """Attributes of the parser's tokens that are used."""

    type: str
    tag: str
    level: int
    nesting: int  # 1 opens, -1 closes, 0 does neither
    map: list[int] | None  # first line, and the line after the last
    content: str
    markup: str
    info: str
    attrs: Mapping[str, Any]


@cache
def _block_parser() -> Any:
    """Return the parser that cuts a text into blocks; what is inside of them is not parsed."""
    from markdown_it import MarkdownIt

    from lmchat.markdown.extensions import MOST_LEVELS, add_rules

    parser = add_rules(MarkdownIt("gfm-like", {"linkify": False, "maxNesting": 2 * MOST_LEVELS}))
    parser.core.ruler.disable(_NOT_NEEDED)
    return parser


@cache
def _inline_parser() -> Any:
    """Return the parser for the text inside of a block."""
    from markdown_it import MarkdownIt

    from lmchat.markdown.extensions import add_rules

    return add_rules(MarkdownIt("gfm-like", {"linkify": False}))


def parse_blocks(text: str, references: References) -> list[Token]:
    """Return the blocks of a text as tokens, which are nested by `level`.

    Link definitions are tokens too, and are added to `references`. Text inside of blocks is not
    parsed: it is the content of tokens of the type `inline`.
    """
    tokens: list[Token] = _block_parser().parse(text, {"references": references})
    return tokens


def parse_inline(text: str, references: References) -> list[Token]:
    """Return the text inside a block as tokens: words, emphasis, links, code."""
    tokens: list[Token] = []
    parser = _inline_parser()
    parser.inline.parse(text, parser, {"references": references}, tokens)
    return tokens


def span(token: Token) -> tuple[int, int]:
    """Return the first line of a block and the line after its last one."""
    start, end = token.map or (0, 0)
    return start, end


def last_leaf(tokens: list[Token]) -> str:
    """Return the type of the innermost block at the end; empty if there is no block."""
    for token in reversed(tokens):
        if token.map and token.type not in _NO_BLOCKS:
            return token.type
    return ""


def closing(tokens: list[Token], position: int) -> int:
    """Return the index of the token that closes the one at `position`.

    A token that opens nothing has none: then return `position`.
    """
    opening = tokens[position]
    if opening.nesting != 1:
        return position
    while tokens[position].nesting != -1 or tokens[position].level != opening.level:
        position += 1
    return position


def code_of_blocks(text: str) -> list[str]:
    """Return the code of all fences and indented code blocks, in order."""
    return [code for code, _ in code_with_info(text)]


def code_with_info(text: str) -> list[tuple[str, str]]:
    """Return the code of all fences and indented code blocks, in order, each with its info.

    The info is what follows the opening fence, as `python`; that of an indented block is empty.
    """
    tokens = parse_blocks(text, {})
    blocks = [token for token in tokens if token.type in ("fence", "code_block")]
    return [(block.content, block.info) for block in blocks]


def links(text: str) -> dict[str, str]:
    """Return the words of all links and pictures by their address, in order.

    Of several links with one address, the first words that are not empty are returned.
    """
    references: References = {}
    words_of: dict[str, str] = {}
    for block in parse_blocks(text, references):
        if block.type == "inline" and any(sign in block.content for sign in _LINK_SIGNS):
            for target, words in _targets_and_words(parse_inline(block.content, references)):
                words_of[target] = words_of.get(target) or words.strip()
    return words_of


def _targets_and_words(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """Yield the address and the words of each link and picture.

    A picture within a link is another one, and its words are a part of the link's words.
    """
    target = ""
    words = ""
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrs.get("href", ""))
            words = ""
        elif token.type == "link_close":
            if target:
                yield target, words
            target = ""
        elif token.type == "image" and token.attrs.get("src"):
            yield str(token.attrs["src"]), token.content
        words += token.content
