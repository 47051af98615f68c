"""The Markdown parser, imported with the first message that needs it.

One parser cuts a text into blocks, the other one parses the text inside of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any, Protocol

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

    from lmchat.tui.widgets.chat_log.markdown.dialect import MOST_LEVELS, add_rules

    parser = add_rules(MarkdownIt("gfm-like", {"linkify": False, "maxNesting": 2 * MOST_LEVELS}))
    parser.core.ruler.disable(_NOT_NEEDED)
    return parser


@cache
def _inline_parser() -> Any:
    """Return the parser for the text inside of a block."""
    from markdown_it import MarkdownIt

    from lmchat.tui.widgets.chat_log.markdown.dialect import add_rules

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


def code_blocks(text: str) -> list[str]:
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
