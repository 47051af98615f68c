"""The rows of the doctor's page: below a heading sign, name, what is so and the next step; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.services.doctor import STEP_IS_TOLD, Check, without_home
from lmchat.text import safe_line
from lmchat.tui.icons import Signs
from lmchat.tui.widgets.line import MUTED, STRONG, Parts, content
from lmchat.tui.widgets.row_list import ListRow

_STYLES: Mapping[Grade, str] = {Grade.OK: "$success", Grade.WARNING: "$warning", Grade.FAULT: "$error"}
_QUIET = (Grade.OK, Grade.ABSENT, Grade.NOT_TRIED)
_WIDE = 64
_MOST_NAME = 18
_SIGN_WIDTH = 2
_GAP = 2
_LEAST = 8


def doctor_rows(
    findings: Sequence[Finding], pending: Sequence[Check], width: int, signs: Signs, home: str
) -> list[ListRow]:
    """Return the rows for a width; checks that are still at work stand below what their group has told."""
    names = [cell_len(safe_line(name)) for name in (*(f.name for f in findings), *(c.name for c in pending))]
    name_width = min(max(names, default=0), _MOST_NAME) if width >= _WIDE else 0
    rows: list[ListRow] = []
    for group in Group:
        found = [one for one in findings if one.group is group]
        waiting = [one for one in pending if one.group is group]
        if found or waiting:
            rows += [ListRow()] if rows else []
            rows.append(_line(((group.value, STRONG),)))
        for one in found:
            rows += _finding(one, name_width, width, signs, home)
        rows += [_waiting(one, name_width, signs) for one in waiting]
    return rows


def _finding(one: Finding, name_width: int, width: int, signs: Signs, home: str) -> Iterator[ListRow]:
    style, name = _STYLES.get(one.grade, MUTED), safe_line(one.name)
    sign: Parts = ((f"{_sign(one.grade, signs)} ", style),)
    word: Parts = ((one.grade.value, style if one.grade not in _QUIET else MUTED),)
    indent = _SIGN_WIDTH + (name_width + _GAP if name_width else 0)
    room = width - indent - max(len(grade) for grade in Grade) - _GAP if name_width else width - indent
    told = _told(one, max(room, _LEAST), home)
    if name_width:
        padded = set_cell_size(name, name_width) + " " * _GAP
        yield _line((*sign, (padded, ""), *next(told, ())), word)
    else:
        yield _line((*sign, (name, "")), word)
    for parts in told:
        yield _line(((" " * indent, ""), *parts))


def _told(one: Finding, room: int, home: str) -> Iterator[Parts]:
    """Yield the lines of what is so, and of the step where it is needed."""
    for line in _wrapped(without_home(safe_line(one.cause), home), room):
        yield ((line, MUTED if one.grade in _QUIET else ""),)
    if one.next_step and one.grade in STEP_IS_TOLD:
        for number, line in enumerate(
            _wrapped(f"next: {without_home(safe_line(one.next_step), home)}", room)
        ):
            head, _, rest = line.partition(" ") if number == 0 else ("", "", line)
            yield ((f"{head} ", MUTED), (rest, "")) if head else ((rest, ""),)


def _waiting(one: Check, name_width: int, signs: Signs) -> ListRow:
    name = set_cell_size(one.name, name_width) + " " * _GAP if name_width else f"{one.name}  "
    return _line(((f"{signs.off} ", MUTED), (name, ""), (f"looking {signs.cut}", MUTED)))


def _sign(grade: Grade, signs: Signs) -> str:
    shapes = {Grade.OK: signs.ready, Grade.WARNING: signs.degraded, Grade.FAULT: signs.down}
    return shapes.get(grade, signs.off)


def _wrapped(text: str, room: int) -> list[str]:
    return [line.plain.rstrip() for line in content(((text, ""),)).wrap(room)]


def _line(parts: Parts, right: Parts = ()) -> ListRow:
    return ListRow((parts,), right, is_heading=True)
