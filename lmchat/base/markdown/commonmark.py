"""Markdown parsed by markdown-it: blocks, the text inside of them, code blocks, links.

One parser cuts a text into blocks, another one parses the text inside of them; both are imported
when first needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any, Protocol

# the "&" of a number longer than that of any character: Python refuses to read thousands of digits
_LONG_REFERENCE = "&(?=#(?:[0-9]{8}|[xX][0-9a-fA-F]{7}))"


def unescaped(text: str) -> str:
    """Put characters in place of HTML references, such as `&amp;`."""
    from html import unescape

    # `unescape` turns the "&amp;" before a long number back into "&"
    return unescape(re.sub(_LONG_REFERENCE, "&amp;", text))


# only matter inside blocks: without them, cutting takes half the time
_NOT_NEEDED = ["inline", "linkify", "replacements", "smartquotes", "text_join"]
ADDRESS_SIGNS = ("://", "www.")  # each address without brackets has one
_LINK_SIGNS = ("[", "<", *ADDRESS_SIGNS)  # a block without any of these has no link
_WITHIN_BLOCKS = ("inline", "thead_open", "tbody_open", "tr_open")  # text, and parts of a table
# a list may follow these without a blank row
ABOVE_LISTS = ("paragraph_open", "bullet_list_open", "ordered_list_open")

# link definitions by name, in the parser's form
References = MutableMapping[str, Any]


class Token(Protocol):
    """Attributes of the parser's tokens that are used."""

    type: str  # such as `paragraph_open`, `paragraph_close`, `fence`, `inline`
    tag: str  # of HTML, such as `h1`
    level: int  # number of blocks around it; 0 at the outermost level
    nesting: int  # 1 opens a block or a mark, -1 closes it, 0 does neither
    map: list[int] | None  # first line, and the line after the last; None if it closes a block
    content: str  # text of an `inline` token, a code block, HTML or a formula
    markup: str  # of an ordered list: the sign behind its numbers
    info: str  # of a fence: what follows its opening marks
    attrs: Mapping[str, Any]
    children: list[Any] | None  # of an image: the tokens of its words


@cache
def _block_parser() -> Any:
    from markdown_it import MarkdownIt

    from lmchat.base.markdown.extensions import MOST_LEVELS, add_rules

    # the parser drops blocks deeper than `maxNesting`; `deep_nesting_rule` takes them at half of it
    options = {"linkify": False, "maxNesting": 2 * MOST_LEVELS}
    parser = add_rules(MarkdownIt("gfm-like", options))
    parser.core.ruler.disable(_NOT_NEEDED)
    return parser


@cache
def _inline_parser() -> Any:
    from markdown_it import MarkdownIt

    from lmchat.base.markdown.extensions import add_rules

    # `linkify` needs another library; a rule of `add_rules` finds addresses
    return add_rules(MarkdownIt("gfm-like", {"linkify": False}))


def parse_blocks(text: str, references: References) -> list[Token]:
    """Parse no text: it is in `inline` tokens. Add link definitions to `references`."""
    tokens: list[Token] = _block_parser().parse(text, {"references": references})
    return tokens


def parse_inline(text: str, references: References) -> list[Token]:
    tokens: list[Token] = []
    parser = _inline_parser()
    parser.inline.parse(text, parser, {"references": references}, tokens)
    return tokens


def image_words(token: Token) -> str:
    """Return the words without their marks (CommonMark 6.4)."""
    return "".join(
        " " if part.type in ("softbreak", "hardbreak") else image_words(part)
        for part in token.children or ()
    ) or token.content * (token.type != "image")


def span(token: Token) -> tuple[int, int]:
    """Return the first line and the line after the last; (0, 0) if it has none."""
    start, end = token.map or (0, 0)
    return start, end


def last_block_type(tokens: list[Token]) -> str:
    """Return the type of the innermost block at the end: the marks that it lacks depend on it."""
    for token in reversed(tokens):
        if token.map and token.type not in _WITHIN_BLOCKS:  # closing tokens have no map
            return token.type
    return ""


def blocks_of(tokens: list[Token]) -> Iterator[tuple[Token, list[Token]]]:
    """Yield the first token of each outermost block, and the tokens within it."""
    start = 0
    while start < len(tokens):
        first = tokens[start]
        end = start
        if first.nesting == 1:  # up to the token that closes it
            while (tokens[end].nesting, tokens[end].level) != (-1, first.level):
                end += 1
        yield first, tokens[start + 1 : end]
        start = end + 1


def code_blocks(text: str) -> list[Token]:
    """Return fences and indented code."""
    return [token for token in parse_blocks(text, {}) if token.type in ("fence", "code_block")]


def links(text: str) -> dict[str, str]:
    """Return the words of all links and pictures by address, in the order of the text.

    A picture within a link is also listed by its own address.
    """
    references: References = {}
    words_of: dict[str, str] = {}
    for block in parse_blocks(text, references):
        if block.type != "inline" or not any(sign in block.content for sign in _LINK_SIGNS):
            continue
        target = words = ""  # of the link that is open
        for token in parse_inline(block.content, references):
            if token.type == "link_open":
                target = str(token.attrs.get("href", ""))
                words = ""
            elif token.type == "link_close" and target:
                words_of[target] = words_of.get(target) or words.strip()
            elif token.type == "image" and token.attrs.get("src"):
                source = str(token.attrs["src"])
                words_of[source] = words_of.get(source) or image_words(token).strip()
            words += image_words(token)
    return words_of
