"""Markdown rules beyond the parser's: mathematics, addresses, tables, emphasis of models.

A rule is a function that takes what begins at the parser's position, or returns False. It adds
tokens, and moves the position behind what it took. With `silent`, it adds nothing, and only returns
whether it would take it. Block rules get the first line, and the line after the last one that they
may take; `bMarks`, `tShift` and `eMarks` say where a line begins, how far it is indented, and where
it ends.
"""

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

# Patterns are texts: `re` compiles each when it is first used, and most answers use none of them.
_CODE = r"(`+)(?=[^`])(.*?[^`])\1(?!`)"
# groups: `$$`; `\[`, but not that of `\[words]`; the name of an environment
_MATH_BEGINS = r"(?:(\$\$)|(\\\[)(?![^\[\]\\]*\])|\\begin\{([a-z]+\*?)\})"
_MATH_END = r"\s*[.,;:]?\s*$"  # what may follow mathematics in its last line
_SCHEME = r"(?i)(?:^|[^a-z0-9.+-])(https?)$"  # not the end of a longer scheme
_DUNDER = r"__[a-z][a-z0-9_]{0,80}__(?=\(|\.[a-z])"  # before a bracket, or a dot and a letter
_DUNDER_MEMBER = r"__[a-z][a-z0-9_]{0,80}__"
_OPERANDS = r"[A-Za-z0-9)\]][A-Za-z0-9(]"  # the signs around an asterisk that multiplies
_IDEOGRAPH = (
    "[\u2e80-\u303f\u3041-\u31ff\u3400-\u9fff\uf900-\ufaff\uff01-\uffee\U00020000-\U0003fffd]"
)
_STOPS = ".:!?,;)]%\u2026"
_ASTERISK = ord("*")
# kinds of blocks that another block can interrupt; for each, the parser has a chain of rules that
# tell whether a line does so
_CHAINS = ("paragraph", "reference", "blockquote", "list")
_BEGINNINGS = frozenset("`~>*+-_#<$\\|:0123456789")  # first signs of lines that may begin a block
_DASHES = "|:-"  # first signs of the line below the head of a table
_LAST_END = -1  # key of the parser's cache, whose other keys are places in the text
_MOST_DELIMITERS = 60  # that are searched for the beginning of emphasis
_MOST_NESTED_LINES = 20_000  # lines times their level: each level goes through all of its lines
MOST_LEVELS = 40  # deeper nesting is shown as source, a list takes two levels; the parser drops it


def table_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a table, and give its rows other cells than the parser: no text is dropped.

    The parser drops what follows the last column; here it belongs to the last cell. A table with
    more than `MOST_COLUMNS` columns is left to be a paragraph.
    """
    old_count = len(state.tokens)
    dashes_line = min(first + 1, last - 1)  # its bars tell the number of columns
    dashes_begin = state.bMarks[dashes_line]
    dashes_end = state.eMarks[dashes_line]
    if state.src.count("|", dashes_begin, dashes_end) > MOST_COLUMNS + 1:
        return False
    if not table(state, first, last, silent):
        return False

    table_tokens = state.tokens[old_count:]
    columns = sum(token.type == "th_open" for token in table_tokens)
    cells: Iterator[str] = iter(())
    for token in table_tokens:
        if token.type == "tr_open" and token.map:
            line = token.map[0]
            row_begin = state.bMarks[line] + state.tShift[line]
            row_text = state.src[row_begin : state.eMarks[line]]
            cells = iter(_row_cells(row_text, columns))
        elif token.type == "inline":  # the text of a cell
            token.content = next(cells, "")
    return True


def _row_cells(text: str, columns: int) -> list[str]:
    """Return the cells of a row, at most `columns`; those that are too many belong to the last one.

    In a row with too many cells, a bar within code does not divide cells, unless there are too few
    cells then.
    """
    cells = _split_cells(text)
    if len(cells) > columns:
        escaped = re.sub(_CODE, lambda code: code[0].replace("|", "\\|"), text)
        cells_with_bars = _split_cells(escaped)
        if len(cells_with_bars) >= columns:
            cells = cells_with_bars
    return [*cells[: columns - 1], " | ".join(cells[columns - 1 :])]


def _split_cells(text: str) -> list[str]:
    """Return the cells of a row, without the empty ones before its first and after its last bar."""
    cells = escapedSplit(mdTrim(text))
    if cells and not cells[0]:
        del cells[0]
    if cells and not cells[-1]:
        del cells[-1]
    return [mdTrim(cell) for cell in cells]


def add_rules(parser: MarkdownIt) -> MarkdownIt:
    """Add these rules to a parser; return it."""
    block = parser.block.ruler
    inline = parser.inline.ruler
    # `alt` names the kinds of blocks that a block of the rule can interrupt
    block.before("table", "deep", deep_nesting_rule)
    block.before("table", "math", math_block_rule, {"alt": list(_CHAINS)})
    block.at("table", table_rule, {"alt": ["paragraph", "reference"]})
    block.at("reference", reference_rule)
    _merge_end_rules(parser)  # after all block rules: it asks them
    inline.after("text", "address", address_rule)
    inline.before("escape", "math", math_rule)
    inline.before("emphasis", "dunder", dunder_rule)
    inline.at("emphasis", emphasis_rule)
    inline.at("link", link_rule)
    inline.at("image", image_rule)
    return parser


def _merge_end_rules(parser: MarkdownIt) -> None:
    """Let one rule, instead of eight, find out whether a line ends the block above it.

    The parser asks the rules of a chain for that. Each chain gets a single rule, which asks the
    others only if the first sign of the line may begin a block.
    """
    block = parser.block.ruler
    ends = {chain: block.getRules(chain) for chain in _CHAINS}
    for name, rule in zip(block.get_active_rules(), block.getRules(), strict=True):
        block.at(name, rule)  # without `alt`, which takes the rule out of all chains
    for chain, rules in ends.items():
        block.push(f"end of {chain}", partial(_ends_block, rules), {"alt": [chain]})


def _ends_block(
    rules: list[RuleFuncBlockType], state: StateBlock, line: int, last: int, silent: bool
) -> bool:
    """Return whether a line begins a block by any of some rules.

    It takes no lines: when it is asked to (not `silent`), return False.
    """
    if not silent:
        return False
    may_begin = _first_sign(state, line) in _BEGINNINGS
    # the head of a table may begin with any sign, and the line of dashes below it tells
    may_be_head = not may_begin and line + 1 < last and _first_sign(state, line + 1) in _DASHES
    if not may_begin and not may_be_head:
        return False
    return any(rule(state, line, last, True) for rule in rules)


def _first_sign(state: StateBlock, line: int) -> str:
    """Return the first sign of a line after its indent, or a blank if the line is empty."""
    begin = state.bMarks[line] + state.tShift[line]
    return state.src[begin] if begin < state.eMarks[line] else " "


def deep_nesting_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take blocks that are nested too deep, or too many lines of nested ones, as one text."""
    is_deep = state.level >= MOST_LEVELS or state.level * (last - first) > _MOST_NESTED_LINES
    if silent or not is_deep:
        return False
    _push(state, "deep", first, last)
    return True


def math_block_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    r"""Take `$$`, `\[` or `\begin{}` at the beginning of a line, and what follows up to its end.

    A blank line ends it too, and a line that is indented less than the block around it.
    """
    if state.is_code_block(first):
        return False
    begin = state.bMarks[first] + state.tShift[first]
    stop = state.eMarks[first]
    opening = re.compile(_MATH_BEGINS).match(state.src, begin, stop)
    if opening is None:
        return False
    closing = _closing_of_display(opening)
    place = state.src.find(closing, opening.end(), stop)
    has_ended = place >= 0
    if has_ended and not re.match(_MATH_END, state.src[place + len(closing) : stop]):
        return False  # words follow in its line: it is a part of a paragraph

    line = first + 1
    while not has_ended and line < last and _continues_block(state, line):
        has_ended = closing in state.src[state.bMarks[line] : state.eMarks[line]]
        line += 1
    if not silent:
        _push(state, "math_block", first, line)
    return True


def _closing_of_display(opening: re.Match[str]) -> str:
    """Return the text that ends the mathematics that a match of `_MATH_BEGINS` begins."""
    dollars, bracket, environment = opening.groups()
    if dollars:
        return "$$"
    return "\\]" if bracket else f"\\end{{{environment}}}"


def _continues_block(state: StateBlock, line: int) -> bool:
    """Return whether a line is neither blank nor indented less than the block around it."""
    return not state.isEmpty(line) and state.sCount[line] >= state.blkIndent


def _push(state: StateBlock, kind: str, first: int, last: int) -> None:
    """Add lines as one token of a type; the parser continues with line `last`."""
    token = state.push(kind, "", 0)
    token.content = state.getLines(first, last, state.blkIndent, keepLastLF=True)
    token.map = [first, last]
    state.line = last


def reference_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a link definition, also as a token, so that it is shown; but no footnote `[^1]:`."""
    begin = state.bMarks[first] + state.tShift[first]
    if state.src.startswith("[^", begin) or not reference(state, first, last, silent):
        return False
    if not silent:
        _push(state, "definition", first, state.line)
    return True


def math_rule(state: StateInline, silent: bool) -> bool:
    """Take mathematics as one token, whose signs mean no Markdown."""
    start = state.pos
    source = state.src
    if source[start] not in "$\\":
        return False
    stop = end_of_math(source, start, state.posMax)
    if not stop:
        return False
    if not silent:
        state.push("math_inline", "", 0).content = source[start:stop]
    state.pos = stop
    return True


def address_rule(state: StateInline, silent: bool) -> bool:
    """Take `://…` as a link, with the scheme before it, which is in the pending text already.

    What ends the sentence around an address is not taken. Within a link, take nothing.
    """
    pos = state.pos
    if state.linkLevel > 0 or not state.src.startswith("://", pos):
        return False
    scheme = re.search(_SCHEME, state.pending[-6:])  # `https` and the sign before it
    if scheme is None:
        return False
    begin = pos + len("://")
    host_and_path = rest_of_address(state.src[begin : state.posMax])
    if not host_and_path:
        return False
    address = f"{scheme[1]}://{host_and_path}"
    if not silent:
        state.pending = state.pending[: -len(scheme[1])]
        token = state.push("link_open", "a", 1)
        token.attrs = {"href": state.md.normalizeLink(address)}
        state.push("text", "", 0).content = address
        state.push("link_close", "a", -1)
    state.pos = begin + len(host_and_path)
    return True


def dunder_rule(state: StateInline, silent: bool) -> bool:
    """Take names like `__init__.py`, `__init__(` and `self.__name__` as text, not as emphasis.

    A bracket or a dot must follow, unless a name and a dot are before it.
    """
    start = state.pos
    is_member = start > 1 and state.src[start - 1] == "." and state.src[start - 2].isalnum()
    pattern = re.compile(_DUNDER_MEMBER if is_member else _DUNDER)
    name = pattern.match(state.src, start, state.posMax)
    if name is None:
        return False
    if not silent:
        state.pending += name[0]
    state.pos = name.end()
    return True


def link_rule(state: StateInline, silent: bool) -> bool:
    """Take a link, unless the rest of the text has no end of one."""
    return _may_have_target(state) and link(state, silent)


def image_rule(state: StateInline, silent: bool) -> bool:
    """Take an image, unless the rest of the text has no end of one."""
    return _may_have_target(state) and image(state, silent)


def _may_have_target(state: StateInline) -> bool:
    """Return whether the end of a link follows the position.

    Without this, the parser would search it for each bracket. The place of the last end is cached.
    """
    last = state.cache.get(_LAST_END)
    if last is None:
        # with definitions, `[words]` is a link too
        end = "]" if state.env.get("references") else "]("
        last = state.src.rfind(end)
        state.cache[_LAST_END] = last
    return state.pos < last


def emphasis_rule(state: StateInline, silent: bool) -> bool:
    """Take `*` and `_` as the parser does, except for asterisks between two other signs.

    These are judged by `_can_open_and_close`. With `silent`, take nothing, as the parser's rule.
    """
    start = state.pos
    marker = state.src[start]
    if silent or marker not in "_*":
        return False
    scanned = state.scanDelims(start, marker == "*")
    length = scanned.length
    before = state.src[start - 1 : start].strip()
    after = state.src[start + length : start + length + 1].strip()
    can_open = scanned.can_open
    can_close = scanned.can_close
    if marker == "*" and before and after:  # beside a blank the parser is right
        around = before + after
        can_open, can_close = _can_open_and_close(
            state, around, length, can_open=can_open, can_close=can_close
        )
    for _ in range(length):
        token = state.push("text", "", 0)
        token.content = marker
        place = len(state.tokens) - 1
        delimiter = Delimiter(ord(marker), length, place, -1, can_open, can_close)
        state.delimiters.append(delimiter)
    state.pos += length
    return True


def _can_open_and_close(
    state: StateInline, around: str, length: int, *, can_open: bool, can_close: bool
) -> tuple[bool, bool]:
    """Return whether some asterisks can open emphasis, and whether they can close it.

    `around` is the sign before them and the sign after them. Between operands, and after stops,
    asterisks only close emphasis that is open. Beside an ideograph, they can do both. Elsewhere,
    `can_open` and `can_close` are returned, which the parser found.
    """
    before = around[0]
    after = around[1]
    if not around.isascii() and re.search(_IDEOGRAPH, around):
        return True, True
    if re.match(_OPERANDS, around):  # as in `2**3`
        return False, can_close and _is_open(state, length)
    if before in _STOPS and after.isalnum() and _is_open(state, length):
        return False, True  # as in `**Note:**text`
    return can_open, can_close


def _is_open(state: StateInline, length: int) -> bool:
    """Return whether emphasis of this many asterisks is open, by the last `_MOST_DELIMITERS`."""
    depth = 0
    for delimiter in state.delimiters[-_MOST_DELIMITERS:]:
        if delimiter.marker != _ASTERISK or delimiter.length != length:
            continue
        if delimiter.close and depth:
            depth -= 1
        elif delimiter.open:
            depth += 1
    return depth > 0
