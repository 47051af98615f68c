"""The doctor's checks of the terminal and the clipboard.

A row is a `Finding`: one line of the doctor's report, with a grade, a cause and a next step. A way
is a way to the clipboard, as in `clipboard.py`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from lmchat.domain.finding import Finding, Grade, Group, Subject
from lmchat.errors import FileRefused
from lmchat.files import write_atomically
from lmchat.terminal.clipboard import (
    TMUX,
    TMUX_FEATURES,
    TOOLS,
    Clipboard,
    ClipboardTool,
    WayChecked,
)

_SMALLEST = (40, 12)  # columns and rows that the screen needs
_TERMS_WITHOUT_COLOURS = ("", "dumb", "unknown")  # values of $TERM
_TRUE_COLOURS = ("truecolor", "24bit")  # values of $COLORTERM
_TRY_STEP = "lmchat doctor clipboard"
_INSTALL_STEP = "Install wl-clipboard (Wayland), xclip (X11) or tmux 3.2"
_PLAIN_TEXT_TYPES = {"text/plain", "text/plain;charset=utf-8", "text/plain;charset=utf8"}
_FAILED = "failed, or took too long"


class KeyLimit(NamedTuple):
    """Keys that do not arrive as pressed."""

    keys: str  # the keys and the reason
    instead: str  # what the user can do


_OPTION = "Option types characters instead"
_SHIFT_ENTER = KeyLimit("Shift+Enter: the terminal sends it as Enter", "Ctrl+J makes a new line")
_TMUX_PREFIX = KeyLimit(
    "Ctrl+B: tmux uses it for its own commands", "Press Ctrl+B twice, or use F2"
)
_CAPABLE = ("kitty", "Ghostty", "foot", "Alacritty")
"""Terminals with kitty's keyboard protocol by default, and at least 256 colours."""
_ALL_COLOURS = 256 * 256 * 256
_COLOURS_WORDS = {
    _ALL_COLOURS: "16 million colours",
    256: "256 colours",
    16: "16 colours; /theme ansi suits it",
}
_LIMITS: Mapping[str, tuple[KeyLimit, ...]] = {
    "Terminal.app": (
        KeyLimit(
            f"Alt+1 … Alt+9, Alt+Enter, Alt+↑, Alt+↓: {_OPTION}",
            "Settings, Profiles, Keyboard: turn on Use Option as Meta key",
        ),
    ),
    "iTerm2": (
        KeyLimit(
            f"Alt+1 … Alt+9, Alt+Enter: {_OPTION}",
            "Settings, Profiles, Keys: set Left Option key to Esc+",
        ),
    ),
    "VS Code": (
        KeyLimit(
            "Ctrl+B, Ctrl+E, Ctrl+F, Ctrl+K, Ctrl+P, F1: VS Code uses them itself",
            'Set "terminal.integrated.sendKeybindingsToShell": true in its settings',
        ),
    ),
    "GNOME Terminal": (
        KeyLimit("Alt+1 … Alt+9: they switch tabs", "/model N does the same"),
        KeyLimit("F1: it opens the help of the terminal", "/help does the same"),
    ),
    "Windows Terminal": (
        KeyLimit("Alt+Enter: it switches to full screen", "Ctrl+J makes a new line"),
    ),
    "JetBrains": (
        KeyLimit(
            "Esc: it moves the focus to the editor",
            "Settings, Tools, Terminal: turn off Move focus to the editor with Escape",
        ),
    ),
}
_NAMES = (
    ("TERM_PROGRAM", "Apple_Terminal", "Terminal.app"),
    ("TERM_PROGRAM", "iTerm.app", "iTerm2"),
    ("TERM_PROGRAM", "vscode", "VS Code"),
    ("TERM_PROGRAM", "WezTerm", "WezTerm"),
    ("TERM_PROGRAM", "ghostty", "Ghostty"),
    ("TERMINAL_EMULATOR", "JetBrains", "JetBrains"),
    ("KITTY_WINDOW_ID", "", "kitty"),
    ("GHOSTTY_RESOURCES_DIR", "", "Ghostty"),
    ("ALACRITTY_WINDOW_ID", "", "Alacritty"),
    ("WEZTERM_PANE", "", "WezTerm"),
    ("KONSOLE_VERSION", "", "Konsole"),
    ("WT_SESSION", "", "Windows Terminal"),
    ("VTE_VERSION", "", "GNOME Terminal"),
    ("TERM", "xterm-kitty", "kitty"),
    ("TERM", "xterm-ghostty", "Ghostty"),
    ("TERM", "alacritty", "Alacritty"),
    ("TERM", "foot", "foot"),
    ("TERM", "linux", "the Linux console"),
)
"""Variable, start of its value (empty for any value), terminal; the first match counts."""


def terminal_name(environ: Mapping[str, str]) -> str:
    """Return the name of the terminal, judged by its variables; empty if it is unknown."""
    for variable, start, name in _NAMES:
        value = environ.get(variable, "")
        if value and value.startswith(start):
            return name
    return ""


def key_limits(environ: Mapping[str, str]) -> list[KeyLimit]:
    """Return the keys that do not arrive as pressed by default in this terminal.

    They are those of the terminal, then that of tmux, then Shift+Enter. Only capable terminals send
    Shift+Enter as such, and only without tmux or GNU screen between them and lmchat.
    """
    name = terminal_name(environ)
    limits = list(_LIMITS.get(name, ()))
    if environ.get("TMUX"):
        limits.append(_TMUX_PREFIX)
    has_multiplexer = environ.get("TMUX") or environ.get("STY")
    if name not in _CAPABLE or has_multiplexer:
        limits.append(_SHIFT_ENTER)
    return limits


def terminal_findings(environ: Mapping[str, str], files: Sequence[int] = (0, 2)) -> list[Finding]:
    """Return the rows about size, colours, locale and keys of the terminal.

    `files` are the descriptors of stdin and stderr.
    """
    return [
        _check_size(files),
        _check_colours(environ),
        _check_locale(environ),
        _check_keys(environ),
    ]


def _check_size(files: Sequence[int]) -> Finding:
    """Return the row about the size of the terminal.

    It is a warning for a small terminal. Its grade is `NOT_TRIED` if a file is no terminal. `files`
    ends with stderr, on which the screen is drawn.
    """
    subject = Subject(Group.TERMINAL, "terminal.size", "Size")
    columns = lines = 0
    with suppress(OSError):  # it is no terminal
        columns, lines = os.get_terminal_size(files[-1])
    if not all(os.isatty(file) for file in files):
        cause = "stdin or stderr is not a terminal; the chat screen needs both."
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
        return subject.graded(Grade.NOT_TRIED, cause, step)
    least_columns, least_lines = _SMALLEST
    if columns < least_columns or lines < least_lines:
        least = f"{least_columns} × {least_lines}"
        cause = f"{columns} × {lines}: below {least} not everything fits."
        return subject.warning(cause, "Make the window larger, or its font smaller")
    return subject.ok(f"{columns} × {lines}.")


def _check_colours(environ: Mapping[str, str]) -> Finding:
    """Return the row about colours, a warning if the terminal seems to have none."""
    subject = Subject(Group.TERMINAL, "terminal.colours", "Colours")
    term = environ.get("TERM", "")
    if term in _TERMS_WITHOUT_COLOURS:
        problem = f"TERM is {term}" if term else "TERM is not set"
        step = "export TERM=xterm-256color, if the terminal draws colours"
        return subject.warning(f"{problem}: no colours, maybe no screen.", step)
    if environ.get("NO_COLOR"):
        return subject.ok("NO_COLOR is set: the command line prints no colours.")
    return subject.ok(f"{_COLOURS_WORDS[_number_of_colours(environ)]}.")


def _number_of_colours(environ: Mapping[str, str]) -> int:
    """Return the number of colours of the terminal, judged by its variables."""
    term = environ.get("TERM", "")
    if environ.get("COLORTERM", "").lower() in _TRUE_COLOURS or "direct" in term:
        return _ALL_COLOURS
    if "256" in term or terminal_name(environ) in _CAPABLE:
        return 256
    return 16


def _check_locale(environ: Mapping[str, str]) -> Finding:
    """Return the row about the variables of the locale, a warning if they do not name UTF-8.

    Python uses UTF-8 also in the C locale, but other programs may not.
    """
    subject = Subject(Group.TERMINAL, "terminal.locale", "Characters")
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, values), "")  # the first one that is set counts
    if "utf8" in locale.lower().replace("-", ""):
        return subject.ok("Unicode.")
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return subject.warning("The locale is not UTF-8: non-ASCII characters may look wrong.", step)


def _check_keys(environ: Mapping[str, str]) -> Finding:
    """Return the row about keys that do not arrive as pressed, a warning if there are any.

    The next step is that for the first of these keys. Shift+Enter alone is no warning: most
    terminals send it as Enter.
    """
    limits = key_limits(environ)
    has_own_limits = any(limit is not _SHIFT_ENTER for limit in limits)
    # as `_SHIFT_ENTER` is the last limit, the first is one of the others here
    step = limits[0].instead if has_own_limits else ""
    sentences: list[str] = []
    for limit in limits:
        # what the step says is not said twice
        instead = "" if limit.instead == step else f" ({limit.instead})"
        sentences.append(f"{limit.keys}{instead}.")
    cause = " ".join(sentences) or "All keys of lmchat arrive as pressed."
    grade = Grade.WARNING if has_own_limits else Grade.OK
    subject = Subject(Group.TERMINAL, "terminal.keys", "Keys")
    return subject.graded(grade, cause, step)


def clipboard_findings(clipboard: Clipboard) -> list[Finding]:
    """Return a list of one row about the way that a copy would take; nothing is copied."""
    return [_best_way_finding(clipboard.ways(), Grade.OK, _TRY_STEP)]


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try each way and restore the clipboard.

    Return the row about the way that a copy takes, then a row for each way.
    """
    ways = await try_ways(clipboard)
    grades = {True: Grade.OK, None: Grade.NOT_TRIED, False: Grade.WARNING}
    step = "Copy an answer (/copy), then paste it into another window"
    rows = [_best_way_finding(ways, Grade.WARNING, step)]
    for way in ways:
        subject = Subject(Group.CLIPBOARD, "clipboard.way", way.way)
        grade = grades[way.works] if way.is_there else Grade.ABSENT
        cause = f"{way.reason[:1].upper()}{way.reason[1:]}."
        rows.append(subject.graded(grade, cause))
    return rows


def _best_way_finding(ways: Sequence[WayChecked], unknown_grade: Grade, step: str) -> Finding:
    """Return the row about the best way: the first that works, else the first that may work.

    If it works, or may work, the row has the next step `step`. If it is the file, or no way works,
    the user should install a tool instead. `unknown_grade` is the grade for a way that may work:
    `OK` if the ways were not tried, `WARNING` if they were tried and it is still unknown.
    """
    subject = Subject(Group.CLIPBOARD, "clipboard", "Copying")
    working = [way.way for way in ways if way.works]
    unknown = [way.way for way in ways if way.works is None]
    usable = [*working, *unknown]
    best = usable[0] if usable else None
    if working:
        return subject.ok(f"It works here by {best}.", step)
    if best is None:
        cause = "No clipboard is available; nor can a file be written."
        return subject.graded(Grade.FAULT, cause, _INSTALL_STEP)
    if best == "file":
        cause = "No clipboard is available; what is copied goes into a file."
        return subject.warning(cause, _INSTALL_STEP)
    cause = f"{best} is used; whether it works is unknown."
    return subject.graded(unknown_grade, cause, step)


async def try_ways(clipboard: Clipboard) -> list[WayChecked]:
    """Return all ways with the results of trying them; the clipboard is restored.

    OSC 52 is not tried, because terminals report neither their clipboard nor success. tmux is only
    asked for its settings: `_check_tmux` says why.
    """
    await clipboard.update_environment()
    ways: list[WayChecked] = []
    for tool in (*TOOLS, TMUX):
        way = clipboard.check_tool(tool)
        if way.is_there:
            works, reason = await _try_tool(clipboard, tool)
            way = replace(way, works=works, reason=reason)
        ways.append(way)
    return [*ways, clipboard.check_osc_52(), await asyncio.to_thread(_try_file, clipboard)]


async def _try_tool(clipboard: Clipboard, tool: ClipboardTool) -> tuple[bool | None, str]:
    """Copy a text with a tool, read it back, and restore the clipboard.

    Return whether the tool works (None if that is unknown) and the reason. A clipboard that could
    not be restored is left alone, and the result is unknown.
    """
    if tool is TMUX:
        return await _check_tmux(clipboard)
    earlier_text = await _paste_with(clipboard, tool)
    if not await _can_be_restored(clipboard, tool, earlier_text):
        return None, "not tried: the clipboard holds something that could not be put back"

    trial_text = f"lmchat {secrets.token_hex(4)}"
    text_now = None
    try:
        if not await clipboard.copy_with(tool, trial_text):
            return False, _FAILED
        text_now = await _paste_with(clipboard, tool)
    finally:
        # None: what is there is not known, as the copy has failed or was cancelled. A third text
        # was copied by another program in between, and is left there.
        if text_now is None or text_now.strip() in ("", trial_text):
            await clipboard.copy_with(tool, earlier_text or "")  # None: it was empty
    if text_now is None:
        return None, "took the text; it cannot be read back"
    if text_now.strip() == trial_text:
        return True, "read back"
    return False, "lost"


async def _paste_with(clipboard: Clipboard, tool: ClipboardTool) -> str | None:
    """Return the text of the clipboard as a tool reads it.

    None if the tool cannot read it, which an empty clipboard may be, too.
    """
    if not tool.paste_command:
        return None
    try:
        return await clipboard.output_of(tool.paste_command)
    except FileRefused:  # it is too long
        return None


async def _can_be_restored(clipboard: Clipboard, tool: ClipboardTool, text: str | None) -> bool:
    """Return whether the clipboard holds plain text only, so that writing `text` restores it.

    `text` is what the tool has read of the clipboard, None if it could not read it.
    """
    if "\ufffd" in (text or ""):  # it has bytes that are no UTF-8
        return False
    if not tool.types_command:
        return bool(text)  # without text, it may hold a picture
    output = await clipboard.output_of(tool.types_command) or ""
    if text is None and output.strip():  # it is not empty, and could not be read
        return False
    # other lines than media types are names of X11, as TARGETS
    types = {line.strip().lower() for line in output.splitlines() if "/" in line}
    return types <= _PLAIN_TEXT_TYPES


async def _check_tmux(clipboard: Clipboard) -> tuple[bool, str]:
    """Return whether tmux passes texts on to the terminal around it, and the reason in words.

    If it does, it is not known whether that terminal takes them, as it does not answer. If it does
    not, the reason has the command that changes that. tmux is only asked for its settings: a text
    copied as a trial could not be removed again from the clipboard of that terminal.
    """
    features = await clipboard.output_of(TMUX_FEATURES)
    if features is None:
        return False, _FAILED
    option = await clipboard.output_of((TMUX.name, "show-options", "-sv", "set-clipboard")) or ""
    if option.strip() == "off":
        return False, "its own buffer only: tmux set-option -s set-clipboard external lets it out"
    if "clipboard" in features:
        return True, "it hands texts to the terminal around it, which does not answer"
    command = (TMUX.name, "display-message", "-p", "#{client_termname}")
    output = await clipboard.output_of(command) or ""
    term = output.strip() or "TERM"
    return False, (
        "its own buffer only: it is older than 3.2, or knows of no clipboard in the terminal "
        f"around it; tmux set-option -as terminal-features ',{term}:clipboard' tells it of one"
    )


def _try_file(clipboard: Clipboard) -> WayChecked:
    """Return whether the file can be written, by writing another file beside it.

    If it can, the result is that of `check_file`, which is unknown and not True: an earlier way
    that may work is better.
    """
    if clipboard.file is None:
        return clipboard.check_file()
    trial = clipboard.file.with_name(f"{clipboard.file.name}-doctor")
    try:
        write_atomically(trial, "lmchat", follows_link=False)
        trial.unlink()
    except OSError as error:
        reason = f"{clipboard.file} cannot be written: {error.strerror}"
        return WayChecked(way="file", works=False, reason=reason)
    return clipboard.check_file()
