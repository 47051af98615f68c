"""The ways to the clipboard as rows of the doctor: which would be taken, and which work when tried."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.terminal.clipboard import Clipboard, WayChecked
from lmchat.terminal.clipboard_trial import try_ways

_row = Rows(Group.CLIPBOARD)
_TRY = "lmchat doctor clipboard"
_INSTALL = "Install wl-clipboard (Wayland), xclip (X11) or tmux 3.2"


def clipboard_findings(clipboard: Clipboard) -> list[Finding]:
    """Say which way would be taken; nothing is copied."""
    ways = clipboard.ways()
    usable = [way.way for way in ways if way.works is not False]
    first = usable[0]
    facts = {"way": first, "ways": {way.way: way.reason for way in ways}}
    if first == "file":
        reasons = "; ".join(f"{way.way}: {way.reason}" for way in ways if way.works is False)
        cause = f"No clipboard can be reached ({reasons}); what is copied goes into a file."
        return [_row("clipboard", "Copying", Grade.WARNING, cause, _INSTALL, **facts)]
    if first == "OSC 52":
        cause = "The terminal is asked (OSC 52); whether it copies, it does not tell."
        return [_row("clipboard", "Copying", Grade.OK, cause, _TRY, **facts)]
    return [_row("clipboard", "Copying", Grade.OK, f"By {first}; {_TRY} tries every way.", **facts)]


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try every way, put back what was there, and say which works."""
    ways = [way async for way in try_ways(clipboard)]
    return [_summed_up(ways), *(_way(way) for way in ways)]


def _summed_up(ways: Sequence[WayChecked]) -> Finding:
    works = next((way.way for way in ways if way.works), "")
    perhaps = next((way.way for way in ways if way.works is None), "")
    if works:
        return _row("clipboard", "Copying", Grade.OK, f"It works here by {works}.", way=works)
    if not perhaps:
        cause = "No clipboard can be reached, and no file can be written: nothing can be copied."
        return _row("clipboard", "Copying", Grade.FAULT, cause, _INSTALL, way=None)
    if perhaps == "file":
        cause = "No clipboard can be reached; what is copied goes into a file."
        return _row("clipboard", "Copying", Grade.WARNING, cause, _INSTALL, way=perhaps)
    cause = f"{perhaps} is used; whether it works cannot be told from here."
    step = "Copy an answer (/copy), then paste it into another window"
    return _row("clipboard", "Copying", Grade.WARNING, cause, step, way=perhaps)


def _way(way: WayChecked) -> Finding:
    grade = {True: Grade.OK, None: Grade.NOT_TRIED, False: Grade.WARNING if way.is_there else Grade.ABSENT}
    return _row(
        "clipboard.way",
        way.way,
        grade[way.works],
        f"{way.reason[:1].upper()}{way.reason[1:]}.",
        works=way.works,
    )
