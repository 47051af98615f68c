"""The doctor's checks of the terminal and the clipboard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.terminal.clipboard import FILE, Clipboard, is_over_ssh

_SMALLEST = (40, 12)  # minimum columns and rows of the screen
_row = partial(Finding, Group.TERMINAL)
_MUTE = ("", "dumb", "unknown")
_DEEP = ("truecolor", "24bit")
_TRY = "Copy an answer (/copy), then paste it into another window"


class KeyLimit(NamedTuple):
    """Keys that do not arrive as pressed, with the reason."""

    keys: str
    instead: str


_OPTION = "Option types characters instead"
_SHIFT_ENTER = KeyLimit("Shift+Enter: it arrives as Enter, which sends", "Ctrl+J makes a new line")
_PREFIX = KeyLimit("Ctrl+B: tmux begins its own commands with it", "Press it twice, or F2")
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
            f"Alt+1 … Alt+9, Alt+Enter: {_OPTION}", "Settings, Profiles, Keys: set Left Option key to Esc+"
        ),
    ),
    "VS Code": (
        KeyLimit(
            "Ctrl+B, Ctrl+E, Ctrl+F, Ctrl+K, Ctrl+P, F1: VS Code keeps them for itself",
            'Set "terminal.integrated.sendKeybindingsToShell": true in its settings',
        ),
    ),
    "GNOME Terminal": (
        KeyLimit("Alt+1 … Alt+9: they switch tabs where there are several", "/model N does the same"),
        KeyLimit("F1: it opens the terminal's own help", "/help does the same"),
    ),
    "Windows Terminal": (KeyLimit("Alt+Enter: it switches to full screen", "Ctrl+J makes a new line"),),
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


def terminal_findings(environ: Mapping[str, str], files: Sequence[int] = (0, 2)) -> list[Finding]:
    """Return the terminal rows; `files` are the descriptors of stdin and stderr."""
    return [_size(files), _colours(environ), _locale(environ), _keys(environ)]


def _size(files: Sequence[int]) -> Finding:
    columns = lines = 0
    with suppress(OSError):
        columns, lines = os.get_terminal_size(files[-1])
    grade, cause, step = Grade.OK, f"{columns} × {lines}.", ""
    if not all(os.isatty(file) for file in files):
        grade, cause = Grade.NOT_TRIED, "stdin or stderr is no terminal: the chat screen needs both."
        step = "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'"
    elif columns < _SMALLEST[0] or lines < _SMALLEST[1]:
        grade, step = Grade.WARNING, "Make the window larger, or its letters smaller"
        cause = f"{columns} × {lines}: below {_SMALLEST[0]} × {_SMALLEST[1]} not all of the screen has room."
    facts = {"columns": columns or None, "rows": lines or None}
    return _row("terminal.size", "Size", grade, cause, step, facts)


def _colours(environ: Mapping[str, str]) -> Finding:
    """Check the colours; the row also names the terminal and what is between it and lmchat."""
    term, colorterm, name = environ.get("TERM", ""), environ.get("COLORTERM", ""), terminal_name(environ)
    between = {"tmux": bool(environ.get("TMUX")), "screen": bool(environ.get("STY"))}
    between["ssh"] = is_over_ssh(environ)
    depth = 256 if "256" in term or name in _CAPABLE else 16
    if colorterm.lower() in _DEEP or "direct" in term:
        depth = 1 << 24
    how = [f"TERM={term}", *([f"COLORTERM={colorterm}"] if colorterm else []), *([name] if name else [])]
    how += [
        f"over {one}" if one == "ssh" else f"inside {one}" for one, is_there in between.items() if is_there
    ]
    words = {1 << 24: "16 million colours", 256: "256 colours"}.get(depth, "16 colours; /theme ansi suits it")
    grade, cause, step = Grade.OK, f"{words} ({', '.join(how)}).", ""
    if term in _MUTE:
        grade, depth = Grade.WARNING, 0
        cause = f"{f'TERM is {term}' if term else 'TERM is not set'}: no colours, perhaps no screen."
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
        grade, cause = Grade.WARNING, f"{fault}: letters beyond ASCII may come out wrong."
        step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    return _row("terminal.locale", "Letters", grade, cause, step, {"locale": value or None})


def _keys(environ: Mapping[str, str]) -> Finding:
    limits = key_limits(environ)
    words = [f"{one.keys} ({one.instead})." for one in limits]
    is_much = any(one is not _SHIFT_ENTER for one in limits)
    return _row(
        "terminal.keys",
        "Keys",
        Grade.WARNING if is_much else Grade.OK,
        " ".join(words) or "All keys of lmchat arrive as pressed.",
        limits[0].instead if is_much else "",
        {"limited": [one._asdict() for one in limits]},
    )


async def clipboard_findings(clipboard: Clipboard, *, with_ways: bool = False) -> list[Finding]:
    """Return the row about the way that is used, and one for each way; nothing is copied."""
    ways, row = await clipboard.ways(), partial(Finding, Group.CLIPBOARD)
    used = next(way.name for way in ways if not way.obstacle)
    grade, cause, step = Grade.OK, f"{used} is used; whether it works is not known.", _TRY
    if used == FILE:
        grade, cause = Grade.WARNING, "No clipboard can be reached; what is copied goes into a file."
        step = "Install wl-clipboard (Wayland), xclip (X11) or tmux 3.2"
    facts = {"way": used, "ways": {way.name: way.obstacle or way.remark for way in ways}}
    found = [row("clipboard", "Copying", grade, cause, step, facts)]
    for way in ways if with_ways else ():
        words = way.obstacle or way.remark
        grade = Grade.ABSENT if way.obstacle else Grade.NOT_TRIED
        found.append(row("clipboard.way", way.name, grade, f"{words[:1].upper()}{words[1:]}."))
    return found
