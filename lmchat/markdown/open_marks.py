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

# its end may decide how it is shown
_UNSETTLED = (
    r"(?s)\\(?:.|$)|`+|!?\[|<(?=[A-Za-z/!?]|$)|\$+|&#?\w*"
    r"|(?<!\w)_+(?=\S)|~~+(?=\S)|(?<![\w*])\*+(?=[^\s*])"
)
_IN_LINK = r"\\.|(?<!`)(`+)(?!`)(?:.*?[^`])?\1(?!`)|[`\[\]]"
# address and title of a link
_TARGET = (
    r"\(\s*(?:<[^<>\n]*>|[^\s()<][^\s()]*(?:\([^\s()]*\)[^\s()]*)*)?"
    r"(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)"
)
_FORMULA = (
    r"(?s)\$\$.{1,2000}?\$\$"
    r"|\$(?![\s$])(?:(?!\]\()(?:\\[^`\n]|[^$`\n\\])){1,300}(?<!\s)\$"
    r"(?![A-Za-z0-9_])"
)
_NO_FORMULA = (
    r"[\s$]|(?:(?!\]\()(?:\\[^`\n]|[^$`\n\\])){0,300}"
    r"(?:[$`\n]|\]\(|\\[`\n]|(?:\\[^`\n]|[^$`\n\\]){301})"
)


def completed(source: str, *, is_continued: bool = False) -> str:
    """Complete an open block as it will likely look.

    In its last line, code and emphasis get their end marks, and a link is shown as its words. A
    line of marks alone is left out. With `is_continued`, it is rows of a table whose head is in an
    earlier block.
    """
    *lines, last = source.split("\n")
    # `see [this](htt` → `see this`; `so **` → `so `
    last = re.sub(_HALF_LINK, _shown_words, last)
    above = "".join(f"{line}\n" for line in lines)  # code may begin there
    if (lone := re.search(_LONE_MARK, _without_code(above + last)[len(above) :])) is not None:
        last = last[: lone.start()]
    if (code := re.search("`+", _without_code(above + last)[len(above) :])) is not None:
        last += code[0]  # "run `ls" → "run `ls`"
    lines = with_last_emphasis(above + last).split("\n")
    # A row without a row above it is the head of a table: the last line, as `| a | b`, or the one
    # above the marks, as `| a | b⏎|-`.
    line_above, last_shown = ["", "", *lines][-2:]
    if not is_continued and _is_row(last_shown) and not _is_row(line_above):
        lines.append(_dashes(last_shown))  # `| a | b⏎|---|---|`
    return "\n".join(lines)


def with_last_emphasis(source: str) -> str:
    """Add the end marks of emphasis in the last line, or drop a line of marks alone."""
    *lines, last = source.split("\n")
    # ended code and emphasis begin nothing, and are replaced: `**a** *b` → `· *b`
    without_code = _without_code(source)[len(source) - len(last) :]
    emphasis = re.search(_OPEN_EMPHASIS, re.sub(_ENDED_EMPHASIS, "·", without_code))
    if emphasis:  # `is **very*` → `is **very**`
        last = last.rstrip("* \t") + emphasis[1]
    # else marks alone, or nothing: `text⏎- `; marks that end code above are no marks alone
    if re.match(_ONLY_MARKS, without_code) is None:
        lines.append(last)
    return "\n".join(lines)


def _shown_words(half_link: re.Match[str]) -> str:
    words = half_link[1]
    return f"[{words}]" if words.isdecimal() else words  # a number is that of a source


def _without_code(text: str) -> str:
    """Put a dot in place of each sign of ended code."""
    runs = [match.span() for match in re.finditer("`+", text)]
    last_run: dict[int, int] = {}  # index of the next run, by its length
    ends: list[int | None] = []  # of the runs, the last first
    for index in range(len(runs) - 1, -1, -1):
        start, end = runs[index]
        ends.append(last_run.get(end - start))
        last_run[end - start] = index
    ends.reverse()
    shown, place, index = "", 0, 0
    while index < len(runs):
        closing = ends[index]
        if closing is None:
            index += 1
            continue
        start, end = runs[index][0], runs[closing][1]
        shown += text[place:start] + re.sub(r"[^\n]", "·", text[start:end])
        place, index = end, closing + 1
    return shown + text[place:]


def without_marks_alone(source: str) -> str:
    """Drop a last line of open code that may end its fence."""
    before, _, last = source.rpartition("\n")
    return before if re.match(r"[ >]*(?:`+|~+)$", last) else source


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _dashes(head: str) -> str:
    indent = " " * (len(head) - len(head.lstrip()))
    return f"{indent}|" + "---|" * (head.strip().strip("|").count("|") + 1)


def settled_end(text: str, *, is_nested: bool, is_ended: bool) -> int:
    """Return how much of the text inside an open block cannot change any more.

    It ends before a mark whose end is missing, which decides what is shown. In the last line, bold
    words are taken to end later. With `is_nested`, the text is in a list or a quote, whose own link
    definitions may follow. With `is_ended`, only these may change it.
    """
    place = 0
    box = re.match(r"\[[ xX]\][ \t]", text) if is_nested else None
    if box is not None:
        place = box.end()
    if is_ended:
        link = re.search(r"\](?!\()", text[place:]) if is_nested else None
        return 0 if link is not None else len(text)
    signs = re.compile(_UNSETTLED)
    end = _row_start(text)
    while (sign := signs.search(text, place, end)) is not None:
        place = _end_of_mark(text, sign, is_nested=is_nested)
        if not 0 <= place <= end:
            return sign.start()
    return end


def _row_start(text: str) -> int:
    """Return the start of the last line, or of the one above if it may be a table's head."""
    last = text.rfind("\n") + 1
    above = text.rfind("\n", 0, max(last - 1, 0)) + 1
    for start, end in ((above, last), (last, len(text))):
        if "|" in text[start:end]:
            return start
    return len(text)


def _end_of_mark(text: str, sign: re.Match[str], *, is_nested: bool) -> int:
    """Return where to look for the next mark; -1 if the end of this one may follow.

    What ends with the text may still be something else, as `$1$` with a digit behind it.
    """
    start, end = sign.span()
    match sign[0][0]:
        case "\\":
            closing = {"\\(": "\\)", "\\[": "\\]"}.get(sign[0], "")
            found = text.find(closing, end) if closing else start
            place = found + 2 if found >= 0 and len(sign[0]) > 1 else -1
        case "`":
            marks = re.compile(rf"(?<!`){sign[0]}(?!`)").search(text, end)
            place = marks.end() if marks else -1
        case "[" | "!":
            return _end_of_link(text, start, end, is_nested=is_nested)
        case "<":
            closing = "-->" if text.startswith("<!--", start) else ">"
            found = text.find(closing, end)
            return found + len(closing) if found >= 0 else -1
        case "&":
            place = end
        case "$":
            formula = re.compile(_FORMULA).match(text, start)
            if formula is not None:
                place = formula.end()
            elif sign[0] == "$":
                place = end if re.compile(_NO_FORMULA).match(text, end) else -1
            else:
                place = -1
        case "*":
            marks = re.compile(rf"(?<=[^\s*])\*{{{len(sign[0])}}}").search(text, end)
            if marks is not None and marks.end() < len(text):
                return end
            # Bold words may be many, and rarely lack their end, which `completed` adds in the last
            # line. `*args` and `f(a, *, b)` are no emphasis.
            is_bold = sign[0] == "**" and text[end].isalnum()
            return end if is_bold and "\n" not in text[end:] else -1
        case _:  # `_` or `~~`
            behind = r"(?!\w)" if sign[0][0] == "_" else ""
            marks = re.compile(rf"(?<=\S){sign[0]}{behind}").search(text, end)
            place = end if marks and marks.end() < len(text) else -1
    return place if place < len(text) else -1


def _end_of_link(text: str, start: int, end: int, *, is_nested: bool) -> int:
    depth = 1
    while depth:
        bracket = re.compile(_IN_LINK, re.DOTALL).search(text, end)
        if bracket is None or bracket[0] == "`":  # the code may end behind the link
            return -1
        depth += {"[": 1, "]": -1}.get(bracket[0], 0)
        end = bracket.end()
    behind = text[end : end + 1]
    if behind == "(":
        target = re.compile(_TARGET).match(text, end)
        return target.end() if target else -1
    if not behind or is_nested or (behind == ":" and not start):
        return -1
    return start + 1  # no link; the brackets may have marks inside
