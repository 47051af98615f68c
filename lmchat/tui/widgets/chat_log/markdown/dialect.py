"""Markdown rules beyond the parser's: mathematics, addresses, whole tables, emphasis as models write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from markdown_it import MarkdownIt
from markdown_it.common.utils import mdTrim
from markdown_it.parser_block import RuleFuncBlockType
from markdown_it.rules_block import StateBlock, reference, table
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_inline import StateInline, image, link
from markdown_it.rules_inline.state_inline import Delimiter

from lmchat.tui.widgets.chat_log.blocks import MOST_COLUMNS
from lmchat.tui.widgets.chat_log.markdown.inline import end_of_math, rest_of_address

_CODE = r"(`+)(?=[^`])(.*?[^`])\1(?!`)"


def whole_table(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a table; the last cell of a row keeps the text that the parser would drop."""
    begin, below = len(state.tokens), min(first + 1, last - 1)
    if state.src.count("|", state.bMarks[below], state.eMarks[below]) > MOST_COLUMNS + 1:
        return False
    if not table(state, first, last, silent):
        return False
    columns = sum(token.type == "th_open" for token in state.tokens[begin:])
    cells: Iterator[str] = iter(())
    for token in state.tokens[begin:]:
        if token.type == "tr_open" and token.map:
            line = token.map[0]
            text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
            cells = iter(_row_cells(text, columns))
        elif token.type == "inline":
            token.content = next(cells, "")
    return True


def _row_cells(text: str, columns: int) -> list[str]:
    """Return the cells of a row; a bar within code only divides where there are too few cells without it."""
    cells = _split_cells(text)
    if len(cells) > columns:
        coded = _split_cells(re.sub(_CODE, lambda found: found[0].replace("|", "\\|"), text))
        cells = coded if len(coded) >= columns else cells
    return [*cells[: columns - 1], " | ".join(cells[columns - 1 :])]


def _split_cells(text: str) -> list[str]:
    cells = escapedSplit(mdTrim(text))
    cells = cells[1:] if cells and not cells[0] else cells
    cells = cells[:-1] if cells and not cells[-1] else cells
    return [mdTrim(cell) for cell in cells]


# Patterns are texts: `re` compiles each when it is first wanted, and most answers want none of them.
_MOST_NESTED_LINES = 20_000  # lines, times their level
_CHAINS = ("paragraph", "reference", "blockquote", "list")
_BEGINNINGS = frozenset("`~>*+-_#<$\\|:0123456789")
"""First signs of lines that may begin another block, beside the head of a table."""
_DASHES = "|:-"
MOST_LEVELS = (
    40  # deeper nesting (a list takes two levels) is shown as source; the parser would drop it
)
_MATH_BEGINS = r"(?:(\$\$)|(\\\[)(?![^\[\]\\]*\])|\\begin\{([a-z]+\*?)\})"
_MATH_END = r"\s*[.,;:]?\s*$"
_SCHEME = r"(?i)(?:^|[^a-z0-9.+-])(https?)$"
_DUNDER = r"__[a-z][a-z0-9_]{0,80}__(?=\(|\.[a-z])"
_DUNDER_MEMBER = r"__[a-z][a-z0-9_]{0,80}__"
_OPERANDS = r"[A-Za-z0-9)\]][A-Za-z0-9(]"
_STOPS = ".:!?,;)]%\u2026"
_ASTERISK = ord("*")
_LAST_END = -1  # key of the parser's cache, whose other keys are places in the text
_MOST_LOOKED_AT = 60
_IDEOGRAPH = (
    "[\u2e80-\u303f\u3041-\u31ff\u3400-\u9fff\uf900-\ufaff\uff01-\uffee\U00020000-\U0003fffd]"
)


def teach(parser: MarkdownIt) -> MarkdownIt:
    """Give a parser these rules, and return it."""
    block, inline = parser.block.ruler, parser.inline.ruler
    block.before("table", "deep", deep)
    block.before(
        "table", "math", math_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    block.at("table", whole_table, {"alt": ["paragraph", "reference"]})
    block.at("reference", shown_reference)
    _ask_once(parser)
    inline.after("text", "address", address)
    inline.before("escape", "math", math)
    inline.before("emphasis", "dunder", dunder)
    inline.at("emphasis", emphasis)
    inline.at("link", likely_link)
    inline.at("image", likely_image)
    return parser


def _ask_once(parser: MarkdownIt) -> None:
    """Ask one rule instead of eight whether a line ends the block above it: mostly, its first sign tells."""
    block = parser.block.ruler
    ends = {chain: block.getRules(chain) for chain in _CHAINS}
    for name, rule in zip(block.get_active_rules(), block.getRules(), strict=True):
        block.at(name, rule)  # no chain has it any more
    for chain, rules in ends.items():
        block.push(f"end of {chain}", partial(_ends, rules), {"alt": [chain]})


def _ends(
    rules: list[RuleFuncBlockType], state: StateBlock, line: int, last: int, silent: bool
) -> bool:
    if not silent:
        return False
    begin, below = state.bMarks[line] + state.tShift[line], line + 1
    may_begin = begin < state.eMarks[line] and state.src[begin] in _BEGINNINGS
    if not may_begin and below < last:
        begin = state.bMarks[below] + state.tShift[below]
        may_begin = (
            begin < state.eMarks[below] and state.src[begin] in _DASHES
        )  # below the head of a table
    return may_begin and any(rule(state, line, last, True) for rule in rules)


def deep(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take what is nested too deep as one piece of text, also where so many lines are nested deep.

    Each level goes through all of its lines.
    """
    is_deep = state.level >= MOST_LEVELS or state.level * (last - first) > _MOST_NESTED_LINES
    if silent or not is_deep:
        return False
    _push(state, "deep", first, last)
    return True


def math_block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    r"""Take `$$`, `\[` or `\begin{}` at the beginning of a line, up to its end or to a blank line."""
    if state.is_code_block(first):
        return False
    begin, stop = state.bMarks[first] + state.tShift[first], state.eMarks[first]
    found = re.compile(_MATH_BEGINS).match(state.src, begin, stop)
    if not found:
        return False
    end = "$$" if found[1] else "\\]" if found[2] else f"\\end{{{found[3]}}}"
    place = state.src.find(end, found.end(), stop)
    if place >= 0 and not re.match(_MATH_END, state.src[place + len(end) : stop]):
        return False
    line = first + 1
    is_over = place >= 0
    while (
        not is_over
        and line < last
        and not state.isEmpty(line)
        and state.sCount[line] >= state.blkIndent
    ):
        is_over = end in state.src[state.bMarks[line] : state.eMarks[line]]
        line += 1
    if not silent:
        _push(state, "math_block", first, line)
    return True


def _push(state: StateBlock, kind: str, first: int, last: int) -> None:
    token = state.push(kind, "", 0)
    token.content = state.getLines(first, last, state.blkIndent, keepLastLF=True)
    token.map = [first, last]
    state.line = last


def shown_reference(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a definition as a token of its own, but no footnote."""
    begin = state.bMarks[first] + state.tShift[first]
    if state.src.startswith("[^", begin) or not reference(state, first, last, silent):
        return False
    if not silent:
        _push(state, "definition", first, state.line)
    return True


def math(state: StateInline, silent: bool) -> bool:
    """Take mathematics as they are."""
    start, source = state.pos, state.src
    stop = end_of_math(source, start, state.posMax) if source[start] in "$\\" else 0
    if not stop:
        return False
    if not silent:
        state.push("math_inline", "", 0).content = source[start:stop]
    state.pos = stop
    return True


def address(state: StateInline, silent: bool) -> bool:
    """Take `https://…` as a link, without what ends the sentence around it."""
    pos = state.pos
    if state.linkLevel > 0 or not state.src.startswith("://", pos):
        return False
    scheme = re.search(_SCHEME, state.pending[-6:])  # as in `-https`
    rest = rest_of_address(state.src[pos + 3 : state.posMax]) if scheme else ""
    if not scheme or not rest:
        return False
    shown = f"{scheme[1]}://{rest}"
    if not silent:
        state.pending = state.pending[: -len(scheme[1])]
        token = state.push("link_open", "a", 1)
        token.attrs = {"href": state.md.normalizeLink(shown)}
        state.push("text", "", 0).content = shown
        state.push("link_close", "a", -1)
    state.pos = pos + 3 + len(rest)
    return True


def dunder(state: StateInline, silent: bool) -> bool:
    """Take names like `__init__.py` as they stand."""
    start = state.pos
    is_member = start > 1 and state.src[start - 1] == "." and state.src[start - 2].isalnum()
    pattern = re.compile(_DUNDER if not is_member else _DUNDER_MEMBER)
    found = pattern.match(state.src, start, state.posMax)
    if not found:
        return False
    if not silent:
        state.pending += found[0]
    state.pos = found.end()
    return True


def likely_link(state: StateInline, silent: bool) -> bool:
    """Take a link, where the text has what each link has."""
    return _has_target(state) and link(state, silent)


def likely_image(state: StateInline, silent: bool) -> bool:
    """Take an image, where the text has what each image has."""
    return _has_target(state) and image(state, silent)


def _has_target(state: StateInline) -> bool:
    """Whether an address or a name of a reference may follow: the parser looks for an end of each bracket."""
    end = "]" if state.env.get("references") else "]("
    last = state.cache.get(_LAST_END)
    if last is None:
        last = state.cache[_LAST_END] = state.src.rfind(end)
    return state.pos < last


def emphasis(state: StateInline, silent: bool) -> bool:
    """Take `*` and `_` as the parser does, except between operands and beside ideographs."""
    start, marker = state.pos, state.src[state.pos]
    if silent or marker not in "_*":
        return False
    scanned = state.scanDelims(start, marker == "*")
    can_open, can_close = scanned.can_open, scanned.can_close
    before = state.src[start - 1 : start].strip()
    after = state.src[start + scanned.length : start + scanned.length + 1].strip()
    if marker == "*" and before and after:  # beside a blank the parser is right
        if not (before + after).isascii() and re.search(_IDEOGRAPH, before + after):
            can_open = can_close = True
        elif re.match(_OPERANDS, before + after):
            can_open, can_close = False, can_close and _is_open(state, scanned.length)
        elif before in _STOPS and after.isalnum() and _is_open(state, scanned.length):
            can_open, can_close = False, True  # as in `**Note:**text`
    for _ in range(scanned.length):
        token = state.push("text", "", 0)
        token.content = marker
        place = len(state.tokens) - 1
        state.delimiters.append(
            Delimiter(ord(marker), scanned.length, place, -1, can_open, can_close)
        )
    state.pos += scanned.length
    return True


def _is_open(state: StateInline, length: int) -> bool:
    depth = 0
    for one in state.delimiters[-_MOST_LOOKED_AT:]:
        if one.marker == _ASTERISK and one.length == length:
            if one.close and depth:
                depth -= 1
            elif one.open:
                depth += 1
    return depth > 0
