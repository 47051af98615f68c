"""Markdown rules beyond the parser's: mathematics, addresses, emphasis in text without blanks.

A rule takes what starts at the parser's position, adds tokens and moves the position, or returns
False. With `silent`, it adds no tokens; an inline rule still moves. `bMarks`, `tShift` and `eMarks`
are start, indent and end of lines, `sCount` the indent with tabs as blanks, `blkIndent` that of the
block around. `pending` is text before `pos` that is in no token yet.
"""

from __future__ import annotations

import re
from functools import partial
from types import FunctionType

from markdown_it import MarkdownIt
from markdown_it.parser_block import RuleFuncBlockType
from markdown_it.parser_inline import RuleFuncInlineType
from markdown_it.rules_block import (
    StateBlock,
    blockquote,
    fence,
    heading,
    hr,
    html_block,
    list_block,
    reference,
    table,
)
from markdown_it.rules_inline import StateInline, emphasis, image, link, strikethrough, text
from markdown_it.token import Token

from lmchat.base.markdown.fences import opening_fence
from lmchat.base.markdown.links import rest_of_address, rest_of_www
from lmchat.base.safe_text import SELECTORS, UNSEEN

# Patterns are texts: `re` compiles each at its first use, and most answers need none. This one is
# not for `\[words]`; group 1 is the name of an environment.
_MATH_STARTS = r"\$\$|\\\[(?![^\[\]\\]*\])|\\begin\{([a-z]+\*?)\}"
_BRACKETS = {"$$": "$$", "\\[": "\\]"}  # start and end of mathematics
# `\[words\]` with a `(` behind it is a link, and dollars with a link between them are money. `$x$`
# has no blanks inside of the dollars, and no letter or digit outside of them; `\$` is a sign of the
# formula.
_MATH = (
    r"(?s)\\\(.{1,2000}?\\\)|\\\[.{1,2000}?\\\](?!\()|\$\$.{1,2000}?\$\$"
    r"|(?<![^\W_])\$(?![\s$])(?:(?!\]\()(?:\\[^`\n]|[^$`\n\\])){1,300}(?<!\s)\$(?![A-Za-z0-9_])"
)
# an escaped sign, code, backticks that start none, or the end of a cell
_IN_ROW = r"\\+\||\\.|(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)|`+|\|"
_SOURCE = r"\[[0-9]+\]:"  # a link definition whose name is a number
_NUMBER_BEFORE_ANOTHER = r"\[[0-9]+\](?=\[[0-9]+\])"
_AFTER_MATH = ("", ".", ",", ";", ":")  # what may follow mathematics in its last line
_SCHEME = r"(?i)(?:^|[^a-z0-9.+-])(https?)$"  # not the end of a longer scheme
# Letters and stops of scripts without blanks between words: Chinese, Japanese, Korean (whose
# particles follow a word directly), as in the CJK-friendly amendment to CommonMark
# (https://github.com/tats-u/markdown-cjk-friendly), Thai, Lao, Burmese and Khmer.
_WITHOUT_BLANKS = (
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe6f\uff01-\uffee\U00016fe0-\U0001b2ff\U0001f200-\U0001f2ff"
    "\U00020000-\U0003fffd]"
)
# address without a scheme (GFM 6.9); what may be before it
_WWW = r"(?<![!-')+-^`-}])www\."
# no emphasis: `__init__.py`, `__call__()`, `a.__class__`, `__pycache__/`
_NAME = (
    r"(?a)__[a-zA-Z]\w{0,60}?__(?=[(/]|\.\w)"
    r"|(?<=\w[./])__[a-zA-Z]\w{0,60}?__(?!\w)"
)
# blocks that others can interrupt; the parser has a chain of rules for each
_CHAINS = ("paragraph", "reference", "blockquote", "list")
_BEGINNINGS = frozenset("`~>*+-_#<$\\|:0123456789")  # of lines that may start a block
_NO_HEADS = (fence, blockquote, hr, list_block, heading, html_block)  # their lines head no table
_DASHES = "|:-"  # first signs of the line below a table's head
_LAST_END = -1  # key of the parser's cache; the others are places
_MOST_TOKENS = 5  # for each character; with more, a table ends: the parser fills up short rows
_MOST_NESTED_LINES = 20_000  # lines times their level, as each level goes through all of its lines
MOST_LEVELS = 40  # deeper blocks are shown as source; a list takes two


def add_rules(parser: MarkdownIt) -> MarkdownIt:
    block = parser.block.ruler
    inline = parser.inline.ruler
    block.before("table", "deep", deep_nesting_rule)
    add_rules_for_words(parser)
    # To find out whether a line ends the block above, the parser asks some eight rules of a chain.
    # Now each chain has only `_ends_block`, which asks them only if the first sign of the line may
    # start a block.
    rules_of_chain = {chain: block.getRules(chain) for chain in _CHAINS}
    for name, rule in zip(block.get_active_rules(), block.getRules(), strict=True):
        # `at` puts the same rule in its place, without the option `alt`: it is in no chain
        block.at(name, rule)
    for chain, rules in rules_of_chain.items():
        block.push(f"end of {chain}", partial(_ends_block, rules), {"alt": [chain]})
    inline.at("text", text_rule)
    inline.after("text", "address", address_rule)
    inline.at("image", partial(bounded_link_rule, image))
    return parser


def add_rules_for_words(parser: MarkdownIt) -> None:
    """Add the rules that decide which words and signs are shown, also in an HTML export."""
    block = parser.block.ruler
    inline = parser.inline.ruler
    block.before("table", "math", math_block_rule, {"alt": list(_CHAINS)})
    block.at("table", table_rule, {"alt": ["paragraph", "reference"]})
    block.at("fence", fence_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    block.at("reference", reference_rule)
    inline.at("link", partial(bounded_link_rule, link))
    inline.before("escape", "math", math_rule)
    inline.at("strikethrough", partial(marks_rule, strikethrough.tokenize))
    inline.at("emphasis", partial(marks_rule, emphasis.tokenize))


def _ends_block(
    rules: list[RuleFuncBlockType], state: StateBlock, line: int, last: int, _silent: bool
) -> bool:
    """Return whether one of `rules` would take a line, and so end the block above.

    A table ends, too, if it has far more tokens than characters: the parser fills up short rows, so
    a table of few signs could have millions of cells.
    """
    chars_so_far = state.eMarks[line]
    if state.parentType == "table" and len(state.tokens) > _MOST_TOKENS * chars_so_far:
        return True
    has_sign = _first_sign(state, line) in _BEGINNINGS
    # the head of a table may start with any sign, but dashes are below it
    is_above_dashes = line + 1 < last and _first_sign(state, line + 1) in _DASHES
    return (has_sign or is_above_dashes) and any(rule(state, line, last, True) for rule in rules)


def _first_sign(state: StateBlock, line: int) -> str:
    """Return " " for an empty line."""
    start = _start_of(state, line)
    return state.src[start] if start < state.eMarks[line] else " "


def _start_of(state: StateBlock, line: int) -> int:
    """Return the index of the first sign of a line, behind its indent."""
    return state.bMarks[line] + state.tShift[line]


def deep_nesting_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take blocks that are nested too deep as one text: the parser would drop them.

    It takes too many nested lines, too: each level goes through all of its lines.
    """
    is_deep = state.level >= MOST_LEVELS or state.level * (last - first) > _MOST_NESTED_LINES
    if silent or not is_deep:
        return False
    _push(state, "deep", first, last)
    return True


def math_block_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    r"""Take a formula that starts a line with `$$`, `\[` or `\begin{}`, up to its end.

    A blank line ends it too, and a line that is indented less than the block around it.
    """
    if state.is_code_block(first):
        return False
    start = _start_of(state, first)
    stop = state.eMarks[first]
    opening = re.compile(_MATH_STARTS).match(state.src, start, stop)
    if opening is None:
        return False
    environment = opening[1]
    closing = f"\\end{{{environment}}}" if environment else _BRACKETS[opening[0]]
    position = state.src.find(closing, opening.end(), stop)
    has_ended = position >= 0
    if has_ended and state.src[position + len(closing) : stop].strip() not in _AFTER_MATH:
        return False  # words follow: it is a part of a paragraph

    line = first + 1
    while not has_ended and line < last:
        if state.isEmpty(line) or state.sCount[line] < state.blkIndent:
            break
        has_ended = closing in state.src[state.bMarks[line] : state.eMarks[line]]
        line += 1
    if not silent:
        _push(state, "math_block", first, line)
    return True


def _push(state: StateBlock, kind: str, first: int, last: int) -> None:
    token = state.push(kind, "", 0)
    token.content = state.getLines(first, last, state.blkIndent, keepLastLF=True)
    token.map = [first, last]
    state.line = last


def reference_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a link definition as the parser does, but add a token for it; take no footnote `[^1]:`.

    Without a token, a caller would not know its lines. Definitions with numbers are the sources of
    an answer: those in a row are one token `sources`.
    """
    start = _start_of(state, first)
    if state.src.startswith("[^", start) or not reference(state, first, last, silent):
        return False
    is_source = re.compile(_SOURCE)
    kind = "definition" if is_source.match(state.src, start) is None else "sources"
    while kind == "sources" and state.line < last:
        start = _start_of(state, state.line)
        if is_source.match(state.src, start) is None or state.sCount[state.line] < state.blkIndent:
            break
        if not reference(state, state.line, last, False):
            break
    _push(state, kind, first, state.line)
    return True


def fence_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a fence as the parser does, but find its end as models write it.

    A fence of Markdown may have others in it (`Fence.depth_behind`). In a list item, the end may be
    indented less than the item.
    """
    if not fence(state, first, last, silent):
        return False
    if silent:
        return True
    opening = opening_fence(_line_of(state, first))
    token = state.tokens[-1]
    if opening is None or not (opening.holds_markdown or state.blkIndent):
        return True
    depth = 0
    # unless it is Markdown, only its last line and the one behind may differ
    line = first + 1 if opening.holds_markdown else max(first + 1, state.line - 1)
    while line < last and _start_of(state, line) < len(state.src):
        depth = opening.depth_behind(_line_of(state, line), depth)
        if depth < 0 or (state.sCount[line] < state.blkIndent and not state.isEmpty(line)):
            break
        line += 1
    state.line = line + (depth < 0)
    token.content = state.getLines(first + 1, line, state.sCount[first], keepLastLF=True)
    token.map = [first, state.line]
    return True


def _line_of(state: StateBlock, line: int) -> str:
    """Return a line without the indent of the block around it."""
    indent = " " * (state.sCount[line] - state.blkIndent)  # none if it is indented less
    return indent + state.src[_start_of(state, line) : state.eMarks[line]]


def table_rule(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a table as the parser does, but show all of its text.

    A `|` within code ends no cell. Cells without a column are a part of the last one. A line that
    starts another block is no head (GFM 4.10).
    """
    starts_other_block = _first_sign(state, first) in _BEGINNINGS - {"|"} and any(
        rule(state, first, last, True) for rule in _NO_HEADS
    )
    start = len(state.tokens)
    if starts_other_block or not _parsers_table(state, first, last, silent):
        return False
    line = 0
    cells: list[Token] = []
    for token in state.tokens[start:]:
        if token.type == "tr_open" and token.map is not None:
            line = token.map[0]
            cells = []
        elif token.type == "inline":
            cells.append(token)
        elif token.type == "tr_close":
            row = state.src[_start_of(state, line) : state.eMarks[line]].strip()
            # each cell but the first and the last ends with a sign
            if row.count("|") + 1 - row.startswith("|") - row.endswith("|") > len(cells):
                texts = cells_of(row.removeprefix("|"))
                surplus = map(str.strip, texts[len(cells) - 1 :])
                cells[-1].content = " | ".join(filter(None, surplus))
    return True


def cells_of(row: str) -> list[str]:
    """A `|` in code or behind a backslash ends no cell."""
    cells = []
    start = 0
    for sign in re.finditer(_IN_ROW, row):
        if sign[0] == "|":
            cells.append(row[start : sign.start()])
            start = sign.end()
    return [cell.replace("\\|", "|") for cell in (*cells, row[start:])]


# the parser's rule with another function that cuts rows into cells
_parsers_table = FunctionType(table.__code__, {**table.__globals__, "escapedSplit": cells_of})


def math_rule(state: StateInline, silent: bool) -> bool:
    """Take mathematics as one token; its signs are not read as Markdown."""
    if state.src[state.pos] not in "$\\":
        return False
    formula = re.compile(_MATH).match(state.src, state.pos, state.posMax)
    if formula is None:
        return False
    if not silent:
        state.push("math_inline", "", 0).content = formula[0]
    state.pos = formula.end()
    return True


def address_rule(state: StateInline, silent: bool) -> bool:
    """Take `://…` and the scheme before it, which is in `pending`, as a link."""
    pos = state.pos
    if silent or state.linkLevel > 0 or not state.src.startswith("://", pos):
        return False
    scheme = re.search(_SCHEME, state.pending[-6:])  # `https` and the sign before it
    if scheme is None:
        return False
    start = pos + len("://")
    host_and_path = rest_of_address(state.src[start : state.posMax])
    if not host_and_path:
        return False
    address = f"{scheme[1]}://{host_and_path}"
    state.pending = state.pending[: -len(scheme[1])]
    _push_link(state, address, address)
    state.pos = start + len(host_and_path)
    return True


def text_rule(state: StateInline, silent: bool) -> bool:
    """Take text as the parser does, but an address with `www.` as a link.

    Within a link, and in what may become its words (`silent`), it is text.
    """
    start = state.pos
    if silent or state.linkLevel > 0:
        return text(state, silent)
    www = re.compile(_WWW)
    if www.match(state.src, start) is not None:
        address = rest_of_www(state.src[start : state.posMax])
        if address:
            _push_link(state, f"http://{address}", address)
            state.pos = start + len(address)
            return True
    if not text(state, silent):
        return False
    found = www.search(state.src, start + 1, state.pos)
    if found is not None:
        state.pending = state.pending[: found.start() - state.pos]
        state.pos = found.start()
    return True


def _push_link(state: StateInline, address: str, text: str) -> None:
    token = state.push("link_open", "a", 1)
    token.attrs = {"href": state.md.normalizeLink(address)}
    state.push("text", "", 0).content = text
    state.push("link_close", "a", -1).info = "auto"  # as the parser says of `<http://a.example>`


def bounded_link_rule(rule: RuleFuncInlineType, state: StateInline, silent: bool) -> bool:
    """Take a link or an image by a rule of the parser, if the end of one may follow.

    `rule` searches all text behind each bracket, which is quadratic in a text of brackets: so it is
    not asked behind the last end, which is cached. A link whose words are a number is that to a
    source: it keeps its brackets, and `[1][2]` are two.
    """
    last_end = state.cache.get(_LAST_END)
    if last_end is None:
        # with definitions, `[words]` is a link too
        end = "]" if state.env.get("references") else "]("
        last_end = state.src.rfind(end)
        state.cache[_LAST_END] = last_end
    if state.pos >= last_end:
        return False
    text_end = state.posMax
    number = re.compile(_NUMBER_BEFORE_ANOTHER).match(state.src, state.pos, text_end)
    if number is not None:
        state.posMax = number.end()
    is_link = rule(state, silent)
    state.posMax = text_end
    if not is_link:
        return False
    if not silent and state.tokens[-1].type == "link_close":
        words = state.tokens[-2]
        if words.content.isdecimal() and state.tokens[-3].type == "link_open":
            words.content = f"[{words.content}]"
    return True


def marks_rule(rule: RuleFuncInlineType, state: StateInline, silent: bool) -> bool:
    """Take `*`, `_` or `~~` by a rule of the parser, but decide again what can open and close.

    Where a bracket or stop is on one side of a mark, the parser expects a blank on the other; in
    scripts without blanks, asterisks and tildes can do both. More than two tildes are text, and so
    are signs of arithmetic (`3*4*5`) and of names (`__init__.py`).
    """
    start = state.pos
    if silent or state.src[start] not in "*_~":
        return False
    name = re.compile(_NAME).match(state.src, start, state.posMax)
    if name is not None:
        state.pending += name[0]
        state.pos = name.end()
        return True
    first = len(state.delimiters)
    if not rule(state, silent):
        return False
    marks = state.src[start : state.pos]
    # without selectors and signs that are not painted
    before = state.src[max(start - 3, 0) : start].rstrip(SELECTORS + UNSEEN)[-1:].strip()
    after = state.src[state.pos : state.pos + 3].lstrip(UNSEEN)[:1].strip()
    is_strange = marks[0] != "_" and before and after and re.search(_WITHOUT_BLANKS, before + after)
    digits = before.isdecimal() + after.isdecimal()
    is_text = (marks[0] == "~" and len(marks) > len("~~")) or (
        marks[0] == "*"
        and before.isalnum()
        and after.isalnum()
        and (digits > 1 or (digits == 1 and marks == "*"))
    )
    for delimiter in state.delimiters[first:]:
        delimiter.open = (delimiter.open or bool(is_strange)) and not is_text
        delimiter.close = (delimiter.close or bool(is_strange)) and not is_text
    return True
