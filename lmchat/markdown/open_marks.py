"""Half-written text: `completed` adds the marks that the open end of an answer lacks."""

from __future__ import annotations

import re

from msgspec import Struct

from lmchat.markdown.block import MOST_COLUMNS
from lmchat.markdown.math import BRACKETS, end_of_math

# a line that may become a rule, a heading, an item, a fence: it is hidden until that is known
_ONLY_MARKS = r" {0,3}(?![-*+] )(?:[-=_*][-=_* ]*|[`~]{1,2}|#{1,6} *|\+ *)$"
# marks before the text of a line: of quotes and items, of a task, of a heading
_BLOCK_MARKS = r"(?:[ \t>]|[-+*][ \t]|\d{1,9}[.)][ \t])*(?:\[[ xX]\][ \t])?(?:#{1,6} )?"
# `[words](…` at the end of a line: 1 is the words, 2 the target so far
_HALF_LINK = r"!?\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\](\(.*)$"
# an address without an end, and its title: other words in brackets are not hidden
_HALF_TARGET = (
    r"\([ \t]*(?:<[^<>]*>?|(?!<)(?:[^\s()]|\([^\s()]*(?:\)|$))*)"
    r"(?:[ \t]+(?:\"[^\"]{0,300}\"?|'[^']{0,300}'?|\([^()]{0,300}\)?)?[ \t]*)?$"
)
_DASHES = r"[|:\- \t]*$"  # a line of dashes below the head of a table, as far as it is written
_END_OF_CODE = r"[ >]*(?:`+|~+)$"  # a line that may end a fence
# marks that begin or end something within a line, and what must not be taken for one
_MARK = r"\\.|https?://\S+|`+|\*+|_+|~+|!?\[|\$\$?"
# a backslash at the end: it would be taken for one before the marks that are added
_HALF_ESCAPE = r"(?<!\\)((?:\\\\)*)\\$"
_PUNCTUATION = r"([!-/:-@\[-`{-~])"  # what a backslash can escape
# something that has not ended after this many characters is shown as source
_MOST_OPEN_CHARS = 300


def completed(source: str, *, is_table: bool = False) -> str:
    """Return the source of an open block with the marks that its end lacks.

    So a half-written block looks as it will look when it is complete. A last line that may become
    several kinds of blocks is removed. With `is_table`, the source is that of rows that continue a
    table.
    """
    before, line_end, last = source.rpartition("\n")
    if re.match(_ONLY_MARKS, last):
        return before
    is_below_row = not last and _is_row(before.rpartition("\n")[2])  # no next row has begun
    if is_table or is_below_row or _is_row(last):
        return before + line_end + _completed_row(before, last, continues_table=is_table)
    block_marks = re.match(_BLOCK_MARKS, last)
    size = block_marks.end() if block_marks else 0
    return before + line_end + last[:size] + _completed_line(last[size:])


def without_end_of_code(source: str) -> str:
    """Return the source of open code without what may become the end of its fence."""
    before, _, last = source.rpartition("\n")
    return before if re.match(_END_OF_CODE, last) else source


def _is_row(line: str) -> bool:
    return line.lstrip(" ").startswith("|")


def _completed_row(before: str, last: str, *, continues_table: bool) -> str:
    """Return the last line of a table as it is to be shown; `before` is the source above it.

    The line below the head is a line of dashes, which is completed. A row gets the marks that its
    last cell lacks. A head also gets a line of dashes. A row with too many columns stays as it is.
    """
    lines_before, _, above = before.rpartition("\n")
    if max(last.count("|"), above.count("|")) > MOST_COLUMNS:
        return last
    two_above = lines_before.rpartition("\n")[2]
    is_head = not continues_table and not _is_row(above)
    is_below_head = not continues_table and _is_row(above) and not _is_row(two_above)
    if is_below_head:
        return _completed_dashes(above, last)
    cells_before, bar, cell = last.rpartition("|")
    row = cells_before + bar + _completed_line(cell)
    return _head_with_dashes(row) if is_head else row


def _completed_dashes(head: str, begun: str) -> str:
    """Return the line of dashes below a head, of which `begun` is written so far.

    If `begun` is something else, return it as it is.
    """
    if not re.match(_DASHES, begun):
        return begun
    return _dashes(head, _cells(begun), len(_cells(head)))


def _head_with_dashes(row: str) -> str:
    """Return the head of a table with a line of dashes, without which the parser sees no table.

    Return an empty text if all cells are empty.
    """
    cells = _cells(row)
    if not any(cells):
        return ""
    return f"{row.rstrip(' |')}|\n{_dashes(row, [], len(cells))}"


def _cells(row: str) -> list[str]:
    """Return the texts between the bars of a row."""
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _dashes(head: str, given: list[str], count: int) -> str:
    """Return the line of dashes below a head, for `count` columns.

    `given` are the cells of this line of dashes that are written so far, as `:--`, which aligns
    a column; the head itself is `head`, from which only the indentation is taken.
    """
    marks = [*given, *["---"] * count][:count]
    indent = " " * (len(head) - len(head.lstrip(" ")))
    return indent + "|" + "|".join(mark if "-" in mark else "---" for mark in marks) + "|"


class OpenMark(Struct, frozen=True):
    """A mark of emphasis that has begun; `start` is its place in the line."""

    mark: str
    start: int


def _completed_line(text: str) -> str:
    """Return a line in which code, links and emphasis that have begun also end.

    A mark at its end whose words have not arrived is removed. Open mathematics is escaped.
    """
    opened: list[OpenMark] = []
    place = 0
    text = re.sub(_HALF_ESCAPE, r"\1", text)
    while match := re.search(_MARK, text[place:]):
        mark = match[0]
        start = place + match.start()
        place += match.end()
        if mark[0] == "`":
            # exactly as many backticks end the code
            end = re.search(rf"(?<!`){mark}(?!`)", text[place:])
            if end is None:
                text = _with_code_ended(text, start, mark)
                break
            place += end.end()
        elif mark[0] == "$" or mark in BRACKETS:
            text, place = _with_math_kept(text, start, mark)
        elif mark[-1] == "[":
            words = _words_of_half_link(text[start:])
            if words is not None:  # until its address is complete, a link is shown as its words
                text = text[:start] + words
                break
        elif mark[0] in "*_~":
            is_emphasis = _update_open_marks(opened, text, start, mark)
            if not is_emphasis and place == len(text):
                text = text[:start]  # half a mark, or one whose words have not arrived
    for begun in reversed(opened):  # the innermost first
        content_start = begun.start + len(begun.mark)
        if len(text) - begun.start <= _MOST_OPEN_CHARS and text[content_start:].strip():
            text = text.rstrip() + begun.mark
    return text


def _with_code_ended(text: str, start: int, mark: str) -> str:
    """Return text in which the code after `mark`, one or more backticks at `start`, also ends.

    A mark without code behind it is removed. Code of more than `_MOST_OPEN_CHARS` stays as it is.
    """
    if len(text) - start > _MOST_OPEN_CHARS:
        return text
    code = text[start + len(mark) :].rstrip("`")  # these are a half-written end
    return text[:start] + (mark + code + mark if code.strip() else "")


def _words_of_half_link(text: str) -> str | None:
    """Return the words of a half-written link `[words](…`; None for other text."""
    link = re.match(_HALF_LINK, text)
    return link[1] if link and re.match(_HALF_TARGET, link[2]) else None


def _with_math_kept(text: str, start: int, mark: str) -> tuple[str, int]:
    """Return text with the signs of open mathematics escaped, and the place at which to continue.

    So they are shown as they are written. Mathematics that have an end stay as they are, and so
    does a long text, which is likely none. Behind a pair such as `$$`, all punctuation is escaped.
    A single `$` may be a sign of money: behind it, only backslashes are escaped, and other marks
    keep their meaning.
    """
    end = end_of_math(text, start)
    open_math = text[start:]
    if end:
        return text, end
    if len(open_math) > _MOST_OPEN_CHARS:
        return text, start + len(mark)
    if mark != "$":
        escaped = text[:start] + re.sub(_PUNCTUATION, r"\\\1", open_math)
        return escaped, len(escaped)
    # as in `US$5`, or in `$5 or $6`, where the second dollar has ended no mathematics
    is_likely_money = text[start - 1 : start].isalnum() or "$" in open_math[1:]
    if not is_likely_money:
        # `\{` becomes `\\\{`, which is shown as `\{`
        text = text[:start] + re.sub(r"\\" + _PUNCTUATION, r"\\\\\\\1", open_math)
    return text, start + 1


def _update_open_marks(opened: list[OpenMark], text: str, start: int, mark: str) -> bool:
    """Add a mark that begins emphasis to `opened`, or remove the one that it ends.

    Return False for a mark that does neither: between blanks, or within a word, as in `foo_bar`
    and `2*3`. A single `~` is no mark.
    """
    end = start + len(mark)
    before = text[start - 1 : start]
    after = text[end : end + 1]
    if before.strip() and any(begun.mark == mark for begun in opened):
        # marks that began after this one have not ended, so they are removed with it
        while opened[-1].mark != mark:
            opened.pop()
        opened.pop()
        return True
    # while text streams, `*` within a word is more often a product than emphasis
    is_inner = before.isalnum() and (mark[0] == "_" or after.isalnum())
    if not after.strip() or is_inner or mark == "~":
        return False
    opened.append(OpenMark(mark, start))
    return True
