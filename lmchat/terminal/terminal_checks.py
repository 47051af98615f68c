"""The doctor's checks of the terminal and the clipboard."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from lmchat.domain.finding import Finding, Grade, Group
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
_row = partial(Finding, Group.TERMINAL)
_clipboard_row = partial(Finding, Group.CLIPBOARD)
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
    *(("TERM_PROGRAM", "Apple_Terminal", "Terminal.app"), ("TERM_PROGRAM", "iTerm.app", "iTerm2")),
    *(("TERM_PROGRAM", "vscode", "VS Code"), ("TERM_PROGRAM", "WezTerm", "WezTerm")),
    *(("TERM_PROGRAM", "ghostty", "Ghostty"), ("TERMINAL_EMULATOR", "JetBrains", "JetBrains")),
    *(("KITTY_WINDOW_ID", "", "kitty"), ("GHOSTTY_RESOURCES_DIR", "", "Ghostty")),
    *(("ALACRITTY_WINDOW_ID", "", "Alacritty"), ("WEZTERM_PANE", "", "WezTerm")),
    *(("KONSOLE_VERSION", "", "Konsole"), ("WT_SESSION", "", "Windows Terminal")),
    *(("VTE_VERSION", "", "GNOME Terminal"), ("TERM", "xterm-kitty", "kitty")),
    *(
        ("TERM", "xterm-ghostty", "Ghostty"),
        ("TERM", "alacritty", "Alacritty"),
        ("TERM", "foot", "foot"),
    ),
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
    limits = [*_LIMITS.get(name, ()), *([_PREFIX] if environ.get("TMUX") else [])]
    if name not in _CAPABLE or environ.get("TMUX") or environ.get("STY"):
        limits.append(_SHIFT_ENTER)
    return limits


def terminal_findings(environ: Mapping[str, str], files: Sequence[int] = (0, 2)) -> list[Finding]:
    """Return the terminal rows; `files` are the descriptors of stdin and stderr."""
    return [_size(files), _colours(environ), _locale(environ), _keys(environ)]


def _size(files: Sequence[int]) -> Finding:
    columns = lines = 0
    with suppress(OSError):
        columns, lines = os.get_terminal_size(files[-1])
    grade, cause, step = Grade.OK, f"{columns} × {lines}.", ""
    if not all(os.isatty(file) for file in files):
        grade, cause = (
            Grade.NOT_TRIED,
            "stdin or stderr is not a terminal; the chat screen needs both.",
        )
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
    elif columns < _SMALLEST[0] or lines < _SMALLEST[1]:
        grade, step = Grade.WARNING, "Make the window larger, or its font smaller"
        cause = f"{columns} × {lines}: below {_SMALLEST[0]} × {_SMALLEST[1]} not everything fits."
    facts = {"columns": columns or None, "rows": lines or None}
    return _row("terminal.size", "Size", grade, cause, step, facts)


def _colours(environ: Mapping[str, str]) -> Finding:
    """Check the colours; the row also names the terminal and what is between it and lmchat."""
    term, colorterm, name = (
        environ.get("TERM", ""),
        environ.get("COLORTERM", ""),
        terminal_name(environ),
    )
    between = {"tmux": bool(environ.get("TMUX")), "screen": bool(environ.get("STY"))}
    between["ssh"] = is_over_ssh(environ)
    depth = 256 if "256" in term or name in _CAPABLE else 16
    if colorterm.lower() in _DEEP or "direct" in term:
        depth = 1 << 24
    how = [
        f"TERM={term}",
        *([f"COLORTERM={colorterm}"] if colorterm else []),
        *([name] if name else []),
    ]
    how += [
        f"over {one}" if one == "ssh" else f"inside {one}"
        for one, is_there in between.items()
        if is_there
    ]
    words = {1 << 24: "16 million colours", 256: "256 colours"}.get(
        depth, "16 colours; /theme ansi suits it"
    )
    grade, cause, step = Grade.OK, f"{words} ({', '.join(how)}).", ""
    if term in _MUTE:
        grade, depth = Grade.WARNING, 0
        cause = f"{f'TERM is {term}' if term else 'TERM is not set'}: no colours, maybe no screen."
        step = "export TERM=xterm-256color, if the terminal draws colours"
    elif environ.get("NO_COLOR"):
        cause = "NO_COLOR is set: the command line prints no colours."
    facts = {"term": term or None, "terminal": name or None, "colours": depth, **between}
    return _row("terminal.colours", "Colours", grade, cause, step, facts)


def _locale(environ: Mapping[str, str]) -> Finding:
    """Check the variables: Python reads UTF-8 in the C locale, other programs may not."""
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    value = environ.get(variable, "")
    grade, cause, step = Grade.OK, f"Unicode ({variable}={value}).", ""
    if "utf8" not in value.lower().replace("-", ""):
        fault = f"{variable}={value} does not name UTF-8" if variable else "No locale is set"
        grade, cause = Grade.WARNING, f"{fault}: non-ASCII characters may look wrong."
        step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return _row("terminal.locale", "Characters", grade, cause, step, {"locale": value or None})


def _keys(environ: Mapping[str, str]) -> Finding:
    limits = key_limits(environ)
    is_much = any(one is not _SHIFT_ENTER for one in limits)
    step = limits[0].instead if is_much else ""
    words = [
        f"{one.keys}." if one.instead == step else f"{one.keys} ({one.instead})." for one in limits
    ]
    return _row(
        "terminal.keys",
        "Keys",
        Grade.WARNING if is_much else Grade.OK,
        " ".join(words) or "All keys of lmchat arrive as pressed.",
        step,
        {"limited": [one._asdict() for one in limits]},
    )


def clipboard_findings(clipboard: Clipboard) -> list[Finding]:
    """Return the preferred way; nothing is copied."""
    return [_copying(clipboard.ways(), Grade.OK, _TRY)]


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try each way, restore the clipboard, and report which works."""
    ways, grades = (
        await try_ways(clipboard),
        {True: Grade.OK, None: Grade.NOT_TRIED, False: Grade.WARNING},
    )
    found = [
        _copying(ways, Grade.WARNING, "Copy an answer (/copy), then paste it into another window")
    ]
    for way in ways:
        grade = grades[way.works] if way.is_there else Grade.ABSENT
        cause = f"{way.reason[:1].upper()}{way.reason[1:]}."
        found.append(
            _clipboard_row("clipboard.way", way.way, grade, cause, "", {"works": way.works})
        )
    return found


def _copying(ways: Sequence[WayChecked], unknown: Grade, step: str) -> Finding:
    """Return the row about the way that is taken; `unknown` and `step` are of one that may work."""
    best = next((way.way for way in ways if way.works), None)
    grade, cause = Grade.OK, f"It works here by {best}."
    if best is None:
        best = next((way.way for way in ways if way.works is None), None)
        grade, cause = unknown, f"{best} is used; whether it works is unknown."
        if best in ("file", None):
            grade, step = Grade.WARNING if best else Grade.FAULT, _INSTALL
            into = "what is copied goes into a file" if best else "nor can a file be written"
            cause = f"No clipboard is available; {into}."
    facts = {"way": best, "ways": {way.way: way.reason for way in ways}}
    return _clipboard_row("clipboard", "Copying", grade, cause, step, facts)


async def try_ways(clipboard: Clipboard) -> list[WayChecked]:
    """Try each way that leaves no trace, and restore the clipboard.

    The terminal itself is not tried: it reports neither its clipboard nor success.
    """
    await clipboard.look_around()
    ways = [clipboard.untried(tool) for tool in (*TOOLS, TMUX)]
    for number, tool in enumerate((*TOOLS, TMUX)):
        if ways[number].is_there:
            works, reason = await (_try_tmux(clipboard) if tool is TMUX else _try(clipboard, tool))
            ways[number] = replace(ways[number], works=works, reason=reason)
    return [*ways, clipboard.untried_osc_52(), await asyncio.to_thread(_try_file, clipboard)]


async def _try(clipboard: Clipboard, tool: ClipboardTool) -> tuple[bool | None, str]:
    before = await clipboard.read(tool.paste) if tool.paste else None
    if not await _can_be_put_back(clipboard, tool, before):
        return None, "not tried: the clipboard holds something that could not be put back"
    word, after = f"lmchat {secrets.token_hex(4)}", None
    try:
        if not await clipboard.set(tool, word):
            return False, _FAILED
        after = await clipboard.read(tool.paste) if tool.paste else None
    finally:
        if after is None or after.strip() in (
            "",
            word,
        ):  # else something else was copied in between
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
    """Ask tmux whether it hands texts on: what a trial does to the outer terminal could not be undone."""
    features = await clipboard.read(TMUX_FEATURES)
    option = await clipboard.read((TMUX.name, "show-options", "-sv", "set-clipboard")) or ""
    if features is None:
        return False, _FAILED
    if option.strip() == "off":
        return False, "its own buffer only: tmux set-option -s set-clipboard external lets it out"
    if "clipboard" not in features:
        term = (
            await clipboard.read((TMUX.name, "display-message", "-p", "#{client_termname}")) or ""
        )
        return False, (
            "its own buffer only: it is older than 3.2, or knows of no clipboard in the terminal around it; "
            f"tmux set-option -as terminal-features ',{term.strip() or 'TERM'}:clipboard' tells it of one"
        )
    return True, "it hands texts to the terminal around it, which does not answer"


def _try_file(clipboard: Clipboard) -> WayChecked:
    """Write beside the file, to keep the last copy."""
    if clipboard.file is None:
        return clipboard.untried_file()
    place = clipboard.file.with_name(f"{clipboard.file.name}-doctor")
    try:
        write_atomically(place, "lmchat", follows_link=False)
        place.unlink()
    except OSError as error:
        reason = f"{clipboard.file} cannot be written: {error.strerror}"
        return WayChecked(way="file", works=False, reason=reason)
    return clipboard.untried_file()
