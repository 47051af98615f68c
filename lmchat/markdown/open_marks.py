"""Half-written text: `completed` adds the marks that the open end of an answer lacks.

Only marks that most answers use are completed; rarer marks are shown as signs until they end.
"""

from __future__ import annotations

import re

# a line that may become a rule, heading, item, fence or row: it is hidden until that is known
_ONLY_MARKS = r"[ >]*(?:[-=*_`~#+|][-=*_`~#+|: ]*|\d{1,9}[.)]?)?$"
_HALF_LINK = r'!?\[([^\[\]]*)\](?:\([^()\s]*(?:\s+(?:"[^"]*"?)?)?)?$'  # group 1 has its words
# Behind a letter or digit of ASCII, an asterisk is no mark, as in `2**n`. Behind other letters it
# may be one: Chinese and Japanese have no blanks between words.
_LONE_MARK = r"(?a)(?<![\w*`])[*`]{1,3}$"  # a mark whose words have not arrived
_ENDED_CODE = r"`[^`]+`"
_ENDED_EMPHASIS = r"(?<!\*)(\*{1,3})(?![\s*])[^*]*(?<!\s)\1(?!\*)"
# emphasis without its end mark, or with a part of it
_OPEN_EMPHASIS = r"(?a)(?<![\w*\\])(\*{1,3})(?=[^\s*])[^*]*\*{0,2}$"


def completed(source: str, *, is_continued: bool = False) -> str:
    """Return the source of an open block as it will likely look when it is complete.

    In its last line, code and emphasis get the end marks that they lack. A link is shown as its
    words until its address is complete. A line of marks alone is left out. The head of a table gets
    its line of dashes. With `is_continued`, the source is rows of a table whose head is in an
    earlier block.
    """
    *lines, last = source.split("\n")
    # `see [this](htt` → `see this`; `so **` → `so `
    last = re.sub(_LONE_MARK, "", re.sub(_HALF_LINK, r"\1", last))
    if last.count("`") % 2:  # "run `ls" → "run `ls`"
        last += "`"
    # `**a** *b` → `· *b`: code and emphasis that have ended are replaced, as they begin nothing
    without_ended = re.sub(_ENDED_EMPHASIS, "·", re.sub(_ENDED_CODE, "·", last))
    emphasis = re.search(_OPEN_EMPHASIS, without_ended)
    if emphasis:  # `is **very*` → `is **very**`: the end mark, in place of a part of it
        last = last.rstrip("* \t") + emphasis[1]
    if re.match(_ONLY_MARKS, last) is None:  # else it has marks alone, or nothing: `text⏎- `
        lines.append(last)
    # A row without a row above it is the head of a table. It is the last line, as `| a | b`, or
    # the one above the marks, as `| a | b⏎|-`.
    above, last_shown = ["", "", *lines][-2:]
    if not is_continued and _is_row(last_shown) and not _is_row(above):
        lines.append(_dashes(last_shown))  # `| a | b⏎|---|---|`
    return "\n".join(lines)


def without_marks_alone(source: str) -> str:
    """Return the source of open code without a last line that may end its fence."""
    before, _, last = source.rpartition("\n")
    return before if re.match(r"[ >]*(?:`+|~+)$", last) else source


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _dashes(head: str) -> str:
    """Return the line of dashes below the head of a table, with a cell for each column."""
    indent = " " * (len(head) - len(head.lstrip()))
    return f"{indent}|" + "---|" * (head.strip().strip("|").count("|") + 1)
