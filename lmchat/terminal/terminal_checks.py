"""The doctor's checks of the terminal and the clipboard."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from lmchat.domain.finding import Finding, Grade, Group, Subject
from lmchat.files import write_atomically
from lmchat.terminal.clipboard import (
    TMUX,
    TMUX_FEATURES,
    TOOLS,
    Clipboard,
    ClipboardTool,
    WayChecked,
    is_over_ssh,
)

_SMALLEST = (40, 12)  # minimum columns and rows of the screen
_MUTE = ("", "dumb", "unknown")
_DEEP = ("truecolor", "24bit")
_TRY = "lmchat doctor clipboard"
_INSTALL = "Install wl-clipboard (Wayland), xclip (X11) or tmux 3.2"
_TEXT = {"text/plain", "text/plain;charset=utf-8", "text/plain;charset=utf8"}
_FAILED = "failed, or took too long"


class KeyLimit(NamedTuple):
    """Keys that do not arrive as pressed, with the reason."""

    keys: str
    instead: str


_OPTION = "Option types characters instead"
_SHIFT_ENTER = KeyLimit("Shift+Enter: the terminal sends it as Enter", "Ctrl+J makes a new line")
_PREFIX = KeyLimit("Ctrl+B: tmux uses it for its own commands", "Press Ctrl+B twice, or use F2")
_CAPABLE = ("kitty", "Ghostty", "foot", "Alacritty")
"""With kitty's keyboard protocol by default, and 256 colours."""
_ALL_COLOURS = 1 << 24
_DEPTH_WORDS = {
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
"""Variable, start of its value, terminal; the first match counts."""


def terminal_name(environ: Mapping[str, str]) -> str:
    """Return the terminal's name; empty if it is unknown."""
    for variable, start, name in _NAMES:
        value = environ.get(variable, "")
        if value and value.startswith(start):
            return name
    return ""


def key_limits(environ: Mapping[str, str]) -> list[KeyLimit]:
    """Return the default limits of the terminal, and of tmux or screen in between."""
    name = terminal_name(environ)
    limits = list(_LIMITS.get(name, ()))
    if environ.get("TMUX"):
        limits.append(_PREFIX)
    if name not in _CAPABLE or environ.get("TMUX") or environ.get("STY"):
        limits.append(_SHIFT_ENTER)
    return limits


def terminal_findings(environ: Mapping[str, str], files: Sequence[int] = (0, 2)) -> list[Finding]:
    """Return the terminal rows; `files` are the descriptors of stdin and stderr."""
    return [_size(files), _colours(environ), _locale(environ), _keys(environ)]


def _size(files: Sequence[int]) -> Finding:
    row = Subject(Group.TERMINAL, "terminal.size", "Size")
    columns = lines = 0
    with suppress(OSError):  # it is no terminal
        columns, lines = os.get_terminal_size(files[-1])
    facts = {"columns": columns or None, "rows": lines or None}
    if not all(os.isatty(file) for file in files):
        cause = "stdin or stderr is not a terminal; the chat screen needs both."
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
        return row.graded(Grade.NOT_TRIED, cause, step, facts=facts)
    least_columns, least_lines = _SMALLEST
    if columns < least_columns or lines < least_lines:
        least = f"{least_columns} × {least_lines}"
        cause = f"{columns} × {lines}: below {least} not everything fits."
        return row.warning(cause, "Make the window larger, or its font smaller", facts=facts)
    return row.ok(f"{columns} × {lines}.", facts=facts)


def _colours(environ: Mapping[str, str]) -> Finding:
    """Check the colours; the row also names the terminal and what is between it and lmchat."""
    row = Subject(Group.TERMINAL, "terminal.colours", "Colours")
    term = environ.get("TERM", "")
    name = terminal_name(environ)
    between = {
        "tmux": bool(environ.get("TMUX")),
        "screen": bool(environ.get("STY")),
        "ssh": is_over_ssh(environ),
    }
    depth = 0 if term in _MUTE else _colour_depth(environ)
    facts = {"term": term or None, "terminal": name or None, "colours": depth, **between}
    if not depth:
        problem = f"TERM is {term}" if term else "TERM is not set"
        step = "export TERM=xterm-256color, if the terminal draws colours"
        return row.warning(f"{problem}: no colours, maybe no screen.", step, facts=facts)
    if environ.get("NO_COLOR"):
        cause = "NO_COLOR is set: the command line prints no colours."
        return row.ok(cause, facts=facts)

    signs = [f"TERM={term}"]
    if environ.get("COLORTERM"):
        signs.append(f"COLORTERM={environ['COLORTERM']}")
    if name:
        signs.append(name)
    for program, is_there in between.items():
        if is_there:
            signs.append(f"over {program}" if program == "ssh" else f"inside {program}")
    return row.ok(f"{_DEPTH_WORDS[depth]} ({', '.join(signs)}).", facts=facts)


def _colour_depth(environ: Mapping[str, str]) -> int:
    term = environ.get("TERM", "")
    if environ.get("COLORTERM", "").lower() in _DEEP or "direct" in term:
        return _ALL_COLOURS
    if "256" in term or terminal_name(environ) in _CAPABLE:
        return 256
    return 16


def _locale(environ: Mapping[str, str]) -> Finding:
    """Check the variables: Python reads UTF-8 in the C locale, other programs may not."""
    row = Subject(Group.TERMINAL, "terminal.locale", "Characters")
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    value = environ.get(variable, "")
    facts = {"locale": value or None}
    if "utf8" in value.lower().replace("-", ""):
        return row.ok(f"Unicode ({variable}={value}).", facts=facts)
    problem = f"{variable}={value} does not name UTF-8" if variable else "No locale is set"
    cause = f"{problem}: non-ASCII characters may look wrong."
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return row.warning(cause, step, facts=facts)


def _keys(environ: Mapping[str, str]) -> Finding:
    limits = key_limits(environ)
    has_own_limits = any(limit is not _SHIFT_ENTER for limit in limits)
    step = limits[0].instead if has_own_limits else ""
    sentences: list[str] = []
    for limit in limits:
        instead = "" if limit.instead == step else f" ({limit.instead})"
        sentences.append(f"{limit.keys}{instead}.")
    cause = " ".join(sentences) or "All keys of lmchat arrive as pressed."
    grade = Grade.WARNING if has_own_limits else Grade.OK
    facts = {"limited": [limit._asdict() for limit in limits]}
    row = Subject(Group.TERMINAL, "terminal.keys", "Keys")
    return row.graded(grade, cause, step, facts=facts)


def clipboard_findings(clipboard: Clipboard) -> list[Finding]:
    """Return the preferred way; nothing is copied."""
    return [_copying(clipboard.ways(), Grade.OK, _TRY)]


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try each way, restore the clipboard, and report which works."""
    ways = await try_ways(clipboard)
    grades = {True: Grade.OK, None: Grade.NOT_TRIED, False: Grade.WARNING}
    step = "Copy an answer (/copy), then paste it into another window"
    rows = [_copying(ways, Grade.WARNING, step)]
    for way in ways:
        row = Subject(Group.CLIPBOARD, "clipboard.way", way.way)
        grade = grades[way.works] if way.is_there else Grade.ABSENT
        cause = f"{way.reason[:1].upper()}{way.reason[1:]}."
        rows.append(row.graded(grade, cause, facts={"works": way.works}))
    return rows


def _copying(ways: Sequence[WayChecked], unknown: Grade, step: str) -> Finding:
    """Return the row about the way that is taken; `unknown` and `step` are of one that may work."""
    row = Subject(Group.CLIPBOARD, "clipboard", "Copying")
    working = next((way.way for way in ways if way.works), None)
    best = working or next((way.way for way in ways if way.works is None), None)
    facts = {"way": best, "ways": {way.way: way.reason for way in ways}}
    if working:
        return row.ok(f"It works here by {working}.", step, facts=facts)
    if best is None:
        cause = "No clipboard is available; nor can a file be written."
        return row.graded(Grade.FAULT, cause, _INSTALL, facts=facts)
    if best == "file":
        cause = "No clipboard is available; what is copied goes into a file."
        return row.warning(cause, _INSTALL, facts=facts)
    cause = f"{best} is used; whether it works is unknown."
    return row.graded(unknown, cause, step, facts=facts)


async def try_ways(clipboard: Clipboard) -> list[WayChecked]:
    """Try each way that leaves no trace, and restore the clipboard.

    The terminal itself is not tried: it reports neither its clipboard nor success.
    """
    await clipboard.update_environment()
    ways: list[WayChecked] = []
    for tool in (*TOOLS, TMUX):
        way = clipboard.untried(tool)
        if way.is_there:
            works, reason = await _try(clipboard, tool)
            way = replace(way, works=works, reason=reason)
        ways.append(way)
    return [*ways, clipboard.untried_osc_52(), await asyncio.to_thread(_try_file, clipboard)]


async def _try(clipboard: Clipboard, tool: ClipboardTool) -> tuple[bool | None, str]:
    """Return whether a tool works, None where that is unknown, and the reason."""
    if tool is TMUX:
        return await _try_tmux(clipboard)
    before = await clipboard.read(tool.paste) if tool.paste else None
    if not await _can_be_put_back(clipboard, tool, before):
        return None, "not tried: the clipboard holds something that could not be put back"
    word = f"lmchat {secrets.token_hex(4)}"
    after = None
    try:
        if not await clipboard.set(tool, word):
            return False, _FAILED
        after = await clipboard.read(tool.paste) if tool.paste else None
    finally:
        # any other text was copied in between
        if after is None or after.strip() in ("", word):
            await clipboard.set(tool, before or "")
    if after is None:
        return None, "took the text; it cannot be read back"
    return (True, "read back") if after.strip() == word else (False, "lost")


async def _can_be_put_back(clipboard: Clipboard, tool: ClipboardTool, before: str | None) -> bool:
    """Return whether the clipboard holds only readable plain text."""
    if "\ufffd" in (before or ""):
        return False
    if not tool.types:
        return bool(before)  # a picture reads as nothing
    listed = await clipboard.read(tool.types) or ""
    return {line.strip().lower() for line in listed.splitlines() if "/" in line} <= _TEXT


async def _try_tmux(clipboard: Clipboard) -> tuple[bool, str]:
    """Ask tmux whether it hands texts on: a trial could not be undone in the outer terminal."""
    features = await clipboard.read(TMUX_FEATURES)
    if features is None:
        return False, _FAILED
    option = await clipboard.read((TMUX.name, "show-options", "-sv", "set-clipboard")) or ""
    if option.strip() == "off":
        return False, "its own buffer only: tmux set-option -s set-clipboard external lets it out"
    if "clipboard" in features:
        return True, "it hands texts to the terminal around it, which does not answer"
    command = (TMUX.name, "display-message", "-p", "#{client_termname}")
    term = (await clipboard.read(command) or "").strip() or "TERM"
    return False, (
        "its own buffer only: it is older than 3.2, or knows of no clipboard in the terminal "
        f"around it; tmux set-option -as terminal-features ',{term}:clipboard' tells it of one"
    )


def _try_file(clipboard: Clipboard) -> WayChecked:
    """Check that the file can be written, with another one beside it: the last copy stays.

    A file that works is still a way that was not tried: it is only the last resort.
    """
    if clipboard.file is None:
        return clipboard.untried_file()
    trial = clipboard.file.with_name(f"{clipboard.file.name}-doctor")
    try:
        write_atomically(trial, "lmchat", follows_link=False)
        trial.unlink()
    except OSError as error:
        reason = f"{clipboard.file} cannot be written: {error.strerror}"
        return WayChecked(way="file", works=False, reason=reason)
    return clipboard.untried_file()
