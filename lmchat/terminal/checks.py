"""The doctor's checks of the terminal and the clipboard."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from lmchat.domain.candidate import Finding, FindingRows, Grade, Group
from lmchat.files import write_atomically
from lmchat.terminal.clipboard import TMUX, TMUX_FEATURES, TOOLS, Clipboard, Tool, WayChecked, is_over_ssh

_SMALLEST = (40, 12)  # minimum columns and rows of the screen
_row = FindingRows(Group.TERMINAL, "terminal.")
_clipboard_row = FindingRows(Group.CLIPBOARD)
_MUTE = ("", "dumb", "unknown")
_DEEP = ("truecolor", "24bit")
_TRY = "lmchat doctor clipboard"
_INSTALL = "Install wl-clipboard (Wayland), xclip (X11) or tmux 3.2"
_OWN_BUFFER = ("-b", "lmchat-doctor")
_NO_CLIENT = ("-w", "-t", "lmchat-doctor")
"""Make `load-buffer -w` hand the text to a terminal that does not exist."""
_TEXT = {"text/plain", "text/plain;charset=utf-8", "text/plain;charset=utf8"}
_LEFT_ALONE = "not tried: the clipboard holds something that could not be put back"
_FAILED = "failed, or took too long"


class KeyLimit(NamedTuple):
    """Keys that do not arrive as pressed."""

    keys: str  # as the help writes them
    reason: str
    instead: str


_OPTION = "Option types characters instead"
_SHIFT_ENTER = KeyLimit("Shift+Enter", "it arrives as Enter, which sends", "Ctrl+J makes a new line")
_PREFIX = KeyLimit("Ctrl+B", "tmux begins its own commands with it", "Press it twice, or F2")
_CAPABLE = ("kitty", "Ghostty", "foot", "Alacritty")
"""With kitty's keyboard protocol by default, and 256 colours."""
_LIMITS: Mapping[str, tuple[KeyLimit, ...]] = {
    "Terminal.app": (
        KeyLimit(
            "Alt+1 … Alt+9, Alt+Enter, Alt+↑, Alt+↓",
            _OPTION,
            "Settings, Profiles, Keyboard: turn on Use Option as Meta key",
        ),
    ),
    "iTerm2": (
        KeyLimit(
            "Alt+1 … Alt+9, Alt+Enter", _OPTION, "Settings, Profiles, Keys: set Left Option key to Esc+"
        ),
    ),
    "VS Code": (
        KeyLimit(
            "Ctrl+B, Ctrl+E, Ctrl+F, Ctrl+K, Ctrl+P, F1",
            "VS Code keeps them for itself",
            'Set "terminal.integrated.sendKeybindingsToShell": true in its settings',
        ),
    ),
    "GNOME Terminal": (
        KeyLimit("Alt+1 … Alt+9", "they switch tabs where there are several", "/model N does the same"),
        KeyLimit("F1", "it opens the terminal's own help", "/help does the same"),
    ),
    "Windows Terminal": (KeyLimit("Alt+Enter", "it switches to full screen", "Ctrl+J makes a new line"),),
    "JetBrains": (
        KeyLimit(
            "Esc",
            "it moves the focus to the editor",
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
    *(("TERM", "xterm-ghostty", "Ghostty"), ("TERM", "alacritty", "Alacritty"), ("TERM", "foot", "foot")),
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


def terminal_findings(environ: Mapping[str, str], files: Sequence[int | None]) -> list[Finding]:
    """Return the terminal rows; `files` are stdin and stderr, None for a missing one."""
    return [_size(files), _colours(environ), _kind(environ), _locale(environ), _keys(environ)]


def _size(files: Sequence[int | None]) -> Finding:
    terminals = [file for file in files if file is not None and os.isatty(file)]
    columns, rows = _size_of(terminals)
    facts: dict[str, object] = {"columns": columns, "rows": rows}
    grade, cause, step = Grade.OK, f"{columns} × {rows}.", ""
    if len(terminals) < len(files):
        facts = {"columns": None, "rows": None}
        grade, cause = Grade.NOT_TRIED, "stdin or stderr is no terminal: the chat screen needs both."
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
    elif not columns or not rows:
        grade, cause = Grade.WARNING, "The terminal does not tell its size; 80 × 24 is taken."
        step = "stty rows 24 cols 80"
    elif columns < _SMALLEST[0] or rows < _SMALLEST[1]:
        grade, step = Grade.WARNING, "Make the window larger, or its letters smaller"
        cause = f"{columns} × {rows}: below {_SMALLEST[0]} × {_SMALLEST[1]} not all of the screen has room."
    return _row("size", "Size", grade, cause, step, **facts)


def _size_of(files: Sequence[int]) -> tuple[int, int]:
    for file in files:
        try:
            size = os.get_terminal_size(file)
        except OSError:
            continue
        if size.columns and size.lines:
            return size.columns, size.lines
    return 0, 0


def _colours(environ: Mapping[str, str]) -> Finding:
    term, colorterm = environ.get("TERM", ""), environ.get("COLORTERM", "")
    if term in _MUTE:
        depth = 0
    elif colorterm.lower() in _DEEP or "direct" in term:
        depth = 1 << 24
    else:
        depth = 256 if "256" in term or terminal_name(environ) in _CAPABLE else 16
    words = {1 << 24: "16 million colours", 256: "256 colours"}.get(depth, "16 colours; /theme ansi suits it")
    how = f"TERM={term}" + (f", COLORTERM={colorterm}" if colorterm else "")
    grade, cause, step = Grade.OK, f"{words} ({how}).", ""
    if term in _MUTE:
        told = f"TERM is {term}" if term else "TERM is not set"
        grade, cause = Grade.WARNING, f"{told}: no colours, perhaps no screen."
        step = "export TERM=xterm-256color, if the terminal draws colours"
    elif environ.get("NO_COLOR"):
        cause = "NO_COLOR is set: the command line prints no colours."
    return _row(
        "colours",
        "Colours",
        grade,
        cause,
        step,
        term=term or None,
        colorterm=colorterm or None,
        no_color=bool(environ.get("NO_COLOR")),
        colours=depth,
    )


def _kind(environ: Mapping[str, str]) -> Finding:
    name, is_ssh, is_screen = terminal_name(environ), is_over_ssh(environ), bool(environ.get("STY"))
    tmux = ""
    if environ.get("TMUX"):
        is_told = environ.get("TERM_PROGRAM") == "tmux"  # since 3.2
        tmux = f"tmux {environ.get('TERM_PROGRAM_VERSION', '') if is_told else ''}".rstrip()
    parts = [name or "It does not tell its name"]
    parts += [f"inside {tmux}"] if tmux else []
    parts += ["inside GNU screen"] if is_screen else []
    parts += ["over ssh"] if is_ssh else []
    facts = {"terminal": name or None, "tmux": tmux or None, "screen": is_screen, "ssh": is_ssh}
    return _row("kind", "Program", Grade.OK, f"{', '.join(parts)}.", **facts)


def _locale(environ: Mapping[str, str]) -> Finding:
    """Check the variables: Python reads UTF-8 in the C locale, other programs may not."""
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    value = environ.get(variable, "")
    facts = {"variable": variable or None, "locale": value or None}
    if "utf8" in value.lower().replace("-", ""):
        return _row("locale", "Letters", Grade.OK, f"Unicode ({variable}={value}).", **facts)
    told = f"{variable}={value} does not name UTF-8" if variable else "No locale is set"
    cause = f"{told}: letters beyond ASCII may come out wrong."
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return _row("locale", "Letters", Grade.WARNING, cause, step, **facts)


def _keys(environ: Mapping[str, str]) -> Finding:
    limits = key_limits(environ)
    words = [f"{one.keys}: {one.reason} ({one.instead})." for one in limits]
    grade, step = Grade.OK, ""
    if any(one is not _SHIFT_ENTER for one in limits):
        grade, step = Grade.WARNING, limits[0].instead
    facts = {"limited": [one._asdict() for one in limits]}
    return _row(
        "keys", "Keys", grade, " ".join(words) or "All keys of lmchat arrive as pressed.", step, **facts
    )


def clipboard_findings(clipboard: Clipboard) -> list[Finding]:
    """Return the preferred way; nothing is copied."""
    ways = clipboard.ways()
    first = next(way.way for way in ways if way.works is not False)
    grade, cause, step = Grade.OK, f"By {first}; {_TRY} tries every way.", ""
    if first == "file":
        reasons = "; ".join(f"{way.way}: {way.reason}" for way in ways if way.works is False)
        grade, step = Grade.WARNING, _INSTALL
        cause = f"No clipboard can be reached ({reasons}); what is copied goes into a file."
    elif first == "OSC 52":
        cause, step = "The terminal is asked (OSC 52); whether it copies, it does not tell.", _TRY
    facts = {"way": first, "ways": {way.way: way.reason for way in ways}}
    return [_clipboard_row("clipboard", "Copying", grade, cause, step, **facts)]


async def try_ways(clipboard: Clipboard) -> AsyncIterator[WayChecked]:
    """Try each way that leaves no trace, and restore the clipboard.

    The terminal itself is not tried: it reports neither its clipboard nor success.
    """
    await clipboard.look_around()
    for tool in TOOLS:
        yield await _check(clipboard, tool)
    yield await _check_tmux(clipboard)
    yield clipboard.untried_osc_52()
    yield await asyncio.to_thread(_check_file, clipboard)


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try each way, restore the clipboard, and report which works."""
    ways = [way async for way in try_ways(clipboard)]
    works = next((way.way for way in ways if way.works), None)
    perhaps = next((way.way for way in ways if way.works is None), None)
    grade, step = Grade.WARNING, _INSTALL
    if works:
        grade, cause, step = Grade.OK, f"It works here by {works}.", ""
    elif not perhaps:
        grade = Grade.FAULT
        cause = "No clipboard can be reached, and no file can be written: nothing can be copied."
    elif perhaps == "file":
        cause = "No clipboard can be reached; what is copied goes into a file."
    else:
        cause = f"{perhaps} is used; whether it works cannot be told from here."
        step = "Copy an answer (/copy), then paste it into another window"
    summed_up = _clipboard_row("clipboard", "Copying", grade, cause, step, way=works or perhaps)
    return [summed_up, *(_way(way) for way in ways)]


def _way(way: WayChecked) -> Finding:
    grade = {True: Grade.OK, None: Grade.NOT_TRIED, False: Grade.WARNING if way.is_there else Grade.ABSENT}
    cause = f"{way.reason[:1].upper()}{way.reason[1:]}."
    return _clipboard_row("clipboard.way", way.way, grade[way.works], cause, works=way.works)


async def _check(clipboard: Clipboard, tool: Tool) -> WayChecked:
    untried = clipboard.untried(tool)
    if not untried.is_there:
        return untried
    before = await clipboard.read(tool.paste) if tool.paste else None
    if not await _can_be_put_back(clipboard, tool, before):
        return WayChecked(way=tool.name, works=None, reason=_LEFT_ALONE)
    word, after = f"lmchat {secrets.token_hex(4)}", None
    try:
        if not await clipboard.set(tool, word):
            return WayChecked(way=tool.name, works=False, reason=_FAILED)
        after = await clipboard.read(tool.paste) if tool.paste else None
    finally:
        if after is None or after.strip() in ("", word):  # else something else was copied in between
            await clipboard.set(tool, before or "")
    if after is None:
        return WayChecked(way=tool.name, works=None, reason="took the text; it cannot be read back")
    is_same = after.strip() == word
    return WayChecked(way=tool.name, works=is_same, reason="read back" if is_same else "lost")


async def _can_be_put_back(clipboard: Clipboard, tool: Tool, before: str | None) -> bool:
    """Return whether the clipboard holds only readable plain text."""
    if "\ufffd" in (before or ""):
        return False
    if not tool.types:
        return bool(before)  # a picture reads as nothing
    listed = await clipboard.read(tool.types) or ""
    return {line.strip().lower() for line in listed.splitlines() if "/" in line} <= _TEXT


async def _check_tmux(clipboard: Clipboard) -> WayChecked:
    """Try a separate buffer: the outer terminal's clipboard could not be restored."""
    untried = clipboard.untried(TMUX)
    if not untried.is_there:
        return untried
    word, name = f"lmchat {secrets.token_hex(4)}", TMUX.name
    is_set = await clipboard.feed((name, "load-buffer", *_OWN_BUFFER, "-"), word.encode())
    after = await clipboard.read((name, "show-buffer", *_OWN_BUFFER))
    hands_on = await clipboard.feed((name, "load-buffer", *_NO_CLIENT, *_OWN_BUFFER, "-"), word.encode())
    await clipboard.read((name, "delete-buffer", *_OWN_BUFFER))
    option = await clipboard.read((name, "show-options", "-sv", "set-clipboard")) or ""
    works = False
    if not is_set or (after or "").strip() != word:
        reason = _FAILED
    elif not hands_on:
        reason = "it hands nothing on: tmux 3.2 or later does"
    elif option.strip() == "off":
        reason = "its own buffer only: tmux set-option -s set-clipboard external lets it out"
    elif "clipboard" not in (await clipboard.read(TMUX_FEATURES) or ""):
        term = await clipboard.read((name, "display-message", "-p", "#{client_termname}")) or ""
        reason = (
            "its own buffer only: it knows of no clipboard in the terminal around it; if there is one: "
            f"tmux set-option -as terminal-features ',{term.strip() or 'TERM'}:clipboard', then attach again"
        )
    else:
        works = True
        reason = "its buffer was read back, and it hands it to the terminal around it, which does not answer"
    return WayChecked(way=name, works=works, reason=reason)


def _check_file(clipboard: Clipboard) -> WayChecked:
    """Write beside the file, to keep the last copy."""
    place = clipboard.file.with_name(f"{clipboard.file.name}-doctor")
    try:
        write_atomically(place, "lmchat", follows_link=False)
        place.unlink()
    except OSError as error:
        reason = f"{clipboard.file} cannot be written: {error.strerror}"
        return WayChecked(way="file", works=False, reason=reason)
    return clipboard.untried_file()
