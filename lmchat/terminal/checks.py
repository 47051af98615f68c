"""The doctor's checks of the terminal: size, colours, letters, keys, and the ways to the clipboard."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.terminal import processes
from lmchat.terminal.clipboard import Clipboard, WayChecked, is_over_ssh
from lmchat.terminal.clipboard_trial import try_ways

SMALLEST = (40, 12)
"""Columns and rows that the screen is made for at least."""
SLOW_ESCAPE_MS = 100
_row = Rows(Group.TERMINAL, "terminal.")
_clipboard_row = Rows(Group.CLIPBOARD)
_TMUX_S = 2.0
_MUTE = ("", "dumb", "unknown")
_DEEP = ("truecolor", "24bit")
_OPTIONS = (("-gv", "prefix"), ("-sv", "escape-time"), ("-sv", "extended-keys"))
_CTRL_KEYS = "BCEFGJKNOPQRTZ"
"""Letters that lmchat has a key with Ctrl for."""
_TRY = "lmchat doctor clipboard"
_INSTALL = "Install wl-clipboard (Wayland), xclip (X11) or tmux 3.2"


class KeyLimit(NamedTuple):
    """Keys that do not arrive as pressed."""

    keys: str
    """As the help writes them."""
    reason: str
    """What becomes of them."""
    instead: str
    """What does the same, or what lets them through."""


_OPTION = "Option types characters instead"
_SHIFT_ENTER = KeyLimit("Shift+Enter", "it arrives as Enter, which sends", "Ctrl+J makes a new line")
_CAPABLE = ("kitty", "Ghostty", "foot", "Alacritty")
"""Terminals that speak kitty's keyboard protocol unless told otherwise, and draw 256 colours."""
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
"""Variable, how its value begins, and the terminal that sets it so; the first that fits."""


class Tmux(NamedTuple):
    """Settings of a tmux in between."""

    version: str = ""
    """As it writes it; empty without tmux."""
    prefix: str = ""
    """The key that begins its commands, as `C-b`."""
    escape_ms: int = 0
    """How long it waits after Esc."""
    has_extended_keys: bool = True
    """Whether it passes on which Enter was pressed."""


def terminal_name(environ: Mapping[str, str]) -> str:
    """Return which terminal draws, as far as it tells; empty where it does not."""
    for variable, start, name in _NAMES:
        value = environ.get(variable, "")
        if value and value.startswith(start):
            return name
    return ""


def key_limits(
    environ: Mapping[str, str], *, prefix: str = "", has_extended_keys: bool = True
) -> tuple[KeyLimit, ...]:
    """Return what is known of the terminal, and of tmux or screen in between.

    Args:
        environ: Of the process.
        prefix: The key with which tmux begins its own commands, as it writes it (`C-b`); empty without tmux.
        has_extended_keys: Whether tmux passes on which Enter was pressed.
    """
    name = terminal_name(environ)
    limits = list(_LIMITS.get(name, ()))
    letter = prefix.removeprefix("C-").upper()
    if prefix.startswith("C-") and letter in _CTRL_KEYS:
        instead = f"Press it twice{', or F2' if letter == 'B' else ''}"
        limits.append(KeyLimit(f"Ctrl+{letter}", "tmux begins its own commands with it", instead))
    is_between = bool(environ.get("STY")) or (bool(prefix) and not has_extended_keys)
    if name not in _CAPABLE or is_between:
        limits.append(_SHIFT_ENTER)
    return tuple(limits)


async def terminal_findings(environ: Mapping[str, str], files: Sequence[int | None]) -> list[Finding]:
    """Return the rows about the terminal; `files` are stdin and stderr, None where there is none."""
    tmux = await _tmux(environ)
    return [_size(files), _colours(environ), _kind(environ, tmux), _locale(environ), _keys(environ, tmux)]


async def _tmux(environ: Mapping[str, str]) -> Tmux:
    if not environ.get("TMUX"):
        return Tmux()
    version, prefix, escape, extended = await asyncio.gather(
        _told(environ, "-V"), *(_told(environ, "show-options", scope, name) for scope, name in _OPTIONS)
    )
    escape_ms = int(escape) if escape.isdecimal() else 0
    return Tmux(version or "tmux", prefix or "C-b", escape_ms, extended not in ("", "off"))


async def _told(environ: Mapping[str, str], *words: str) -> str:
    data = await processes.read(("tmux", *words), environ=environ, timeout_s=_TMUX_S)
    return (data or b"").decode(errors="replace").strip()


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
    elif columns < SMALLEST[0] or rows < SMALLEST[1]:
        grade, step = Grade.WARNING, "Make the window larger, or its letters smaller"
        cause = f"{columns} × {rows}: below {SMALLEST[0]} × {SMALLEST[1]} not all of the screen has room."
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


def _kind(environ: Mapping[str, str], tmux: Tmux) -> Finding:
    name, has_screen, is_ssh = terminal_name(environ), bool(environ.get("STY")), is_over_ssh(environ)
    parts = [name or "It does not tell its name"]
    parts += [f"inside {tmux.version}"] if tmux.version else []
    parts += ["inside GNU screen"] if has_screen else []
    parts += ["over ssh"] if is_ssh else []
    facts = {"terminal": name or None, "tmux": tmux.version or None, "screen": has_screen, "ssh": is_ssh}
    grade, cause, step = Grade.OK, f"{', '.join(parts)}.", ""
    if tmux.escape_ms > SLOW_ESCAPE_MS:
        grade, step = Grade.WARNING, "tmux set-option -sg escape-time 10"
        cause += f" tmux keeps Esc back for {tmux.escape_ms} ms, so that stopping an answer is late."
    return _row("kind", "Program", grade, cause, step, **facts)


def _locale(environ: Mapping[str, str]) -> Finding:
    """Go by what is set: Python reads UTF-8 where the locale is C, the programs around it may not."""
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    value = environ.get(variable, "")
    facts = {"variable": variable or None, "locale": value or None}
    if "utf8" in value.lower().replace("-", ""):
        return _row("locale", "Letters", Grade.OK, f"Unicode ({variable}={value}).", **facts)
    told = f"{variable}={value} does not name UTF-8" if variable else "No locale is set"
    cause = f"{told}: letters beyond ASCII may come out wrong."
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return _row("locale", "Letters", Grade.WARNING, cause, step, **facts)


def _keys(environ: Mapping[str, str], tmux: Tmux) -> Finding:
    limits = key_limits(environ, prefix=tmux.prefix, has_extended_keys=tmux.has_extended_keys)
    words = [f"{one.keys}: {one.reason} ({one.instead})." for one in limits]
    grade, step = Grade.OK, ""
    if any(one is not _SHIFT_ENTER for one in limits):
        grade, step = Grade.WARNING, limits[0].instead
    facts = {"limited": [one._asdict() for one in limits]}
    return _row(
        "keys", "Keys", grade, " ".join(words) or "All keys of lmchat arrive as pressed.", step, **facts
    )


def clipboard_findings(clipboard: Clipboard) -> list[Finding]:
    """Say which way would be taken; nothing is copied."""
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


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try every way, put back what was there, and say which works."""
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
