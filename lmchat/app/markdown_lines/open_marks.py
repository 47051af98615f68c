"""Half-written text: `completed` adds the marks that the open end of an answer lacks.

Rarer marks are shown as signs until they end.
"""

from __future__ import annotations

import re

# may become a rule, heading, item, fence or row: hidden until that is known
_ONLY_MARKS = r"[ >]*(?:[-=*_`~#+|][-=*_`~#+|: ]*|\d{1,9}[.)]?)?$"
_HALF_LINK = r'!?\[([^\[\]]*)\](?:\([^()\s]*(?:\s+(?:"[^"]*"?)?)?)?$'  # group 1 has its words
# Behind an ASCII letter or digit, an asterisk is no mark, as in `2**n`. Behind others it may be:
# Chinese and Japanese have no blanks between words.
_LONE_MARK = r"(?a)(?<![\w*`])[*`]{1,3}$"  # its words have not arrived
_ENDED_EMPHASIS = r"(?<!\*)(\*{1,3})(?![\s*])[^*]*(?<!\s)\1(?!\*)"
# without its end mark, or with a part of it
_OPEN_EMPHASIS = r"(?a)(?<![\w*\\])(\*{1,3})(?=[^\s*])[^*]*\*{0,2}$"


def completed(source: str, *, is_continued: bool = False) -> str:
    """Complete an open block as it will likely look.

    In its last line, code and emphasis get their end marks, and a link is shown as its words. A
    line of marks alone is left out. With `is_continued`, it is rows of a table whose head is in an
    earlier block.
    """
    *lines, last = source.split("\n")
    # `see [this](htt` → `see this`; `so **` → `so `
    last = re.sub(_HALF_LINK, _shown_words, last)
    above = "".join(f"{line}\n" for line in lines)  # code may start there
    if (lone := re.search(_LONE_MARK, _without_code(above, last))) is not None:
        last = last[: lone.start()]
    if (code := re.search("`+", _without_code(above, last))) is not None:
        last += code[0]  # "run `ls" → "run `ls`"
    # ended code and emphasis start nothing, and are replaced: `**a** *b` → `· *b`
    without_code = _without_code(above, last)
    emphasis = re.search(_OPEN_EMPHASIS, re.sub(_ENDED_EMPHASIS, "·", without_code))
    if emphasis:  # `is **very*` → `is **very**`
        last = last.rstrip("* \t") + emphasis[1]
    # else marks alone, or nothing: `text⏎- `; marks that end code above are no marks alone
    if re.match(_ONLY_MARKS, without_code) is None:
        lines.append(last)
    # A row without a row above it is the head of a table: the last line, as `| a | b`, or the one
    # above the marks, as `| a | b⏎|-`.
    line_above, last_shown = ["", "", *lines][-2:]
    if not is_continued and _is_row(last_shown) and not _is_row(line_above):
        lines.append(_dashes(last_shown))  # `| a | b⏎|---|---|`
    return "\n".join(lines)


def _shown_words(half_link: re.Match[str]) -> str:
    text = half_link[1]
    return f"[{text}]" if text.isdecimal() else text  # a number is that of a source


def _without_code(above: str, last: str) -> str:
    """Return the last line with a dot in place of each sign of ended code."""
    text = above + last
    last_run = {run[0]: run.start() for run in re.finditer("`+", text)}
    runs = re.finditer("`+", text)
    shown = ""
    position = 0
    for run in runs:
        start = run.start()
        if last_run[run[0]] > start:  # else it starts no code
            end = next(other.end() for other in runs if other[0] == run[0])
            shown += text[position:start] + "·" * (end - start)
            position = end
    return (shown + text[position:])[len(above) :]


def without_marks_alone(source: str) -> str:
    """Drop a last line of open code that may end its fence."""
    before, _, last = source.rpartition("\n")
    return before if re.match(r"[ >]*(?:`+|~+)$", last) else source


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _dashes(head: str) -> str:
    indent = " " * (len(head) - len(head.lstrip()))
    return f"{indent}|" + "---|" * (head.strip().strip("|").count("|") + 1)
