"""What this terminal can do: its size, colours, letters and keys, and what stands between it and lmchat."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from msgspec import Struct

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.terminal import processes
from lmchat.terminal.clipboard import Clipboard, WayChecked, is_over_ssh
from lmchat.terminal.clipboard_trial import try_ways


class KeyLimit(Struct, frozen=True, kw_only=True):
    """Keys that do not arrive as pressed."""

    keys: str
    """As the help writes them."""
    reason: str
    """What becomes of them."""
    instead: str
    """What does the same, or what lets them through."""


_SHIFT_ENTER = KeyLimit(
    keys="Shift+Enter", reason="it arrives as Enter, which sends", instead="Ctrl+J makes a new line"
)
_TELLS_SHIFT_ENTER = ("kitty", "Ghostty", "foot", "Alacritty")
"""Terminals that speak kitty's keyboard protocol unless told otherwise."""
_LIMITS: Mapping[str, tuple[KeyLimit, ...]] = {
    "Terminal.app": (
        KeyLimit(
            keys="Alt+1 … Alt+9, Alt+Enter, Alt+↑, Alt+↓",
            reason="Option types characters instead",
            instead="Settings, Profiles, Keyboard: turn on Use Option as Meta key",
        ),
    ),
    "iTerm2": (
        KeyLimit(
            keys="Alt+1 … Alt+9, Alt+Enter",
            reason="Option types characters instead",
            instead="Settings, Profiles, Keys: set Left Option key to Esc+",
        ),
    ),
    "VS Code": (
        KeyLimit(
            keys="Ctrl+B, Ctrl+E, Ctrl+F, Ctrl+K, Ctrl+P, F1",
            reason="VS Code keeps them for itself",
            instead='Set "terminal.integrated.sendKeybindingsToShell": true in its settings',
        ),
    ),
    "GNOME Terminal": (
        KeyLimit(
            keys="Alt+1 … Alt+9",
            reason="they switch tabs where there are several",
            instead="/model N does the same",
        ),
        KeyLimit(keys="F1", reason="it opens the terminal's own help", instead="/help does the same"),
    ),
    "Windows Terminal": (
        KeyLimit(
            keys="Alt+Enter",
            reason="it switches to full screen",
            instead="Ctrl+J makes a new line",
        ),
    ),
    "JetBrains": (
        KeyLimit(
            keys="Esc",
            reason="it moves the focus to the editor",
            instead="Settings, Tools, Terminal: turn off Move focus to the editor with Escape",
        ),
    ),
}
_BY_VARIABLE = (
    ("KITTY_WINDOW_ID", "kitty"),
    ("GHOSTTY_RESOURCES_DIR", "Ghostty"),
    ("ALACRITTY_WINDOW_ID", "Alacritty"),
    ("WEZTERM_PANE", "WezTerm"),
    ("KONSOLE_VERSION", "Konsole"),
    ("WT_SESSION", "Windows Terminal"),
    ("VTE_VERSION", "GNOME Terminal"),
)
_BY_PROGRAM = {
    "Apple_Terminal": "Terminal.app",
    "iTerm.app": "iTerm2",
    "vscode": "VS Code",
    "WezTerm": "WezTerm",
    "ghostty": "Ghostty",
}
_BY_TERM = {
    "xterm-kitty": "kitty",
    "xterm-ghostty": "Ghostty",
    "alacritty": "Alacritty",
    "linux": "the Linux console",
}
_CONTROL = "C-"
_CTRL_KEYS = "BCEFGJKNOPQRTZ"
"""Letters that lmchat has a key with Ctrl for."""


def terminal_name(environ: Mapping[str, str]) -> str:
    """Return which terminal draws, as far as it tells; empty where it does not."""
    named = _BY_PROGRAM.get(environ.get("TERM_PROGRAM", ""))
    if named:
        return named
    if environ.get("TERMINAL_EMULATOR", "").startswith("JetBrains"):
        return "JetBrains"
    for variable, name in _BY_VARIABLE:
        if environ.get(variable):
            return name
    term = environ.get("TERM", "")
    return "foot" if term.startswith("foot") else _BY_TERM.get(term, "")


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
    letter = prefix.removeprefix(_CONTROL).upper()
    if prefix.startswith(_CONTROL) and letter in _CTRL_KEYS:
        limits.append(
            KeyLimit(
                keys=f"Ctrl+{letter}",
                reason="tmux begins its own commands with it",
                instead=f"Press it twice{', or F2' if letter == 'B' else ''}",
            )
        )
    is_between = bool(environ.get("STY")) or (bool(prefix) and not has_extended_keys)
    if name not in _TELLS_SHIFT_ENTER or is_between:
        limits.append(_SHIFT_ENTER)
    return tuple(limits)


_row = Rows(Group.TERMINAL, "terminal.")
SMALLEST = (40, 12)
"""Columns and rows that the screen is made for at least."""
SLOW_ESCAPE_MS = 100
_TMUX_S = 2.0
_MUTE = ("", "dumb", "unknown")
_DEEP = ("truecolor", "24bit")
_OPTIONS = (("-gv", "prefix"), ("-sv", "escape-time"), ("-sv", "extended-keys"))


class Tmux(Struct, frozen=True, kw_only=True):
    """What tmux in between is set to."""

    version: str = ""
    """As it writes it; empty without tmux."""
    prefix: str = ""
    """The key that begins its commands."""
    escape_ms: int = 0
    """How long it waits after Esc."""
    has_extended_keys: bool = True
    """Whether it passes on which Enter was pressed."""


async def terminal_findings(environ: Mapping[str, str], files: Sequence[int | None]) -> list[Finding]:
    """Return the rows about the terminal; `files` are stdin and stderr, None where there is none."""
    tmux = await _tmux(environ)
    rows = [_size_finding(files), _colour_finding(environ), _kind_finding(environ, tmux)]
    return [*rows, _locale_finding(environ), _key_finding(environ, tmux)]


async def _tmux(environ: Mapping[str, str]) -> Tmux:
    if not environ.get("TMUX"):
        return Tmux()
    version, *values = await asyncio.gather(
        _told(environ, "-V"), *(_told(environ, "show-options", scope, name) for scope, name in _OPTIONS)
    )
    prefix, escape, extended = values
    return Tmux(
        version=version or "tmux",
        prefix=prefix or "C-b",
        escape_ms=int(escape) if escape.isdecimal() else 0,
        has_extended_keys=extended not in ("", "off"),
    )


async def _told(environ: Mapping[str, str], *words: str) -> str:
    data = await processes.read(("tmux", *words), environ=environ, timeout_s=_TMUX_S)
    return (data or b"").decode(errors="replace").strip()


def _size_finding(files: Sequence[int | None]) -> Finding:
    terminals = [file for file in files if file is not None and os.isatty(file)]
    if len(terminals) < len(files):
        return _row(
            "size",
            "Size",
            Grade.NOT_TRIED,
            "stdin or stderr is no terminal: the chat screen needs both.",
            "Run it in a terminal; for one answer without a screen: lmchat ask 'PROMPT'",
            columns=None,
            rows=None,
        )
    columns, rows = _size_of(terminals)
    facts = {"columns": columns, "rows": rows}
    if not columns or not rows:
        return _row(
            "size",
            "Size",
            Grade.WARNING,
            "The terminal does not tell its size; 80 × 24 is taken.",
            "stty rows 24 cols 80",
            **facts,
        )
    if columns < SMALLEST[0] or rows < SMALLEST[1]:
        return _row(
            "size",
            "Size",
            Grade.WARNING,
            f"{columns} × {rows}: below {SMALLEST[0]} × {SMALLEST[1]} not all of the screen has room.",
            "Make the window larger, or its letters smaller",
            **facts,
        )
    return _row("size", "Size", Grade.OK, f"{columns} × {rows}.", **facts)


def _size_of(files: Sequence[int]) -> tuple[int, int]:
    for file in files:
        try:
            size = os.get_terminal_size(file)
        except OSError:
            continue
        if size.columns and size.lines:
            return size.columns, size.lines
    return 0, 0


def _colour_finding(environ: Mapping[str, str]) -> Finding:
    term, depth = environ.get("TERM", ""), _depth(environ)
    facts = {
        "term": term or None,
        "colorterm": environ.get("COLORTERM") or None,
        "no_color": bool(environ.get("NO_COLOR")),
        "colours": depth,
    }
    if term in _MUTE:
        told = f"TERM is {term}" if term else "TERM is not set"
        step = "export TERM=xterm-256color, if the terminal draws colours"
        return _row(
            "colours", "Colours", Grade.WARNING, f"{told}: no colours, perhaps no screen.", step, **facts
        )
    if environ.get("NO_COLOR"):
        cause = "NO_COLOR is set: the command line prints no colours."
        return _row("colours", "Colours", Grade.OK, cause, **facts)
    words = {1 << 24: "16 million colours", 256: "256 colours"}.get(depth, "16 colours; /theme ansi suits it")
    how = f"TERM={term}" + (f", COLORTERM={environ['COLORTERM']}" if environ.get("COLORTERM") else "")
    return _row("colours", "Colours", Grade.OK, f"{words} ({how}).", **facts)


def _depth(environ: Mapping[str, str]) -> int:
    term = environ.get("TERM", "")
    if term in _MUTE:
        return 0
    if environ.get("COLORTERM", "").lower() in _DEEP or "direct" in term:
        return 1 << 24
    return 256 if "256" in term or terminal_name(environ) in ("kitty", "Alacritty", "foot", "Ghostty") else 16


def _kind_finding(environ: Mapping[str, str], tmux: Tmux) -> Finding:
    is_ssh = is_over_ssh(environ)
    name = terminal_name(environ)
    parts = [name or "It does not tell its name"]
    parts += [f"inside {tmux.version}"] if tmux.version else []
    parts += ["inside GNU screen"] if environ.get("STY") else []
    parts += ["over ssh"] if is_ssh else []
    facts = {
        "terminal": name or None,
        "tmux": tmux.version or None,
        "screen": bool(environ.get("STY")),
        "ssh": is_ssh,
    }
    cause = f"{', '.join(parts)}."
    if tmux.escape_ms > SLOW_ESCAPE_MS:
        cause += f" tmux keeps Esc back for {tmux.escape_ms} ms, so that stopping an answer is late."
        return _row("kind", "Program", Grade.WARNING, cause, "tmux set-option -sg escape-time 10", **facts)
    return _row("kind", "Program", Grade.OK, cause, **facts)


def _locale_finding(environ: Mapping[str, str]) -> Finding:
    """Go by what is set: Python reads UTF-8 where the locale is C, the programs around it may not."""
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    value = environ.get(variable, "")
    facts = {"variable": variable or None, "locale": value or None}
    if "utf8" in value.lower().replace("-", ""):
        return _row("locale", "Letters", Grade.OK, f"Unicode ({variable}={value}).", **facts)
    told = f"{variable}={value} does not name UTF-8" if variable else "No locale is set"
    return _row(
        "locale",
        "Letters",
        Grade.WARNING,
        f"{told}: letters beyond ASCII may come out wrong.",
        "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration",
        **facts,
    )


def _key_finding(environ: Mapping[str, str], tmux: Tmux) -> Finding:
    limits = key_limits(environ, prefix=tmux.prefix, has_extended_keys=tmux.has_extended_keys)
    facts = {"limited": [{"keys": one.keys, "reason": one.reason, "instead": one.instead} for one in limits]}
    if not limits:
        return _row("keys", "Keys", Grade.OK, "All keys of lmchat arrive as pressed.", **facts)
    is_small = all(one.keys == "Shift+Enter" for one in limits)
    return _row(
        "keys",
        "Keys",
        Grade.OK if is_small else Grade.WARNING,
        " ".join(_in_words(one) for one in limits),
        "" if is_small else limits[0].instead,
        **facts,
    )


def _in_words(limit: KeyLimit) -> str:
    return f"{limit.keys}: {limit.reason} ({limit.instead})."


_clipboard_row = Rows(Group.CLIPBOARD)
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
        return [_clipboard_row("clipboard", "Copying", Grade.WARNING, cause, _INSTALL, **facts)]
    if first == "OSC 52":
        cause = "The terminal is asked (OSC 52); whether it copies, it does not tell."
        return [_clipboard_row("clipboard", "Copying", Grade.OK, cause, _TRY, **facts)]
    return [_clipboard_row("clipboard", "Copying", Grade.OK, f"By {first}; {_TRY} tries every way.", **facts)]


async def tried_findings(clipboard: Clipboard) -> list[Finding]:
    """Try every way, put back what was there, and say which works."""
    ways = [way async for way in try_ways(clipboard)]
    return [_summed_up(ways), *(_way(way) for way in ways)]


def _summed_up(ways: Sequence[WayChecked]) -> Finding:
    works = next((way.way for way in ways if way.works), "")
    perhaps = next((way.way for way in ways if way.works is None), "")
    if works:
        return _clipboard_row("clipboard", "Copying", Grade.OK, f"It works here by {works}.", way=works)
    if not perhaps:
        cause = "No clipboard can be reached, and no file can be written: nothing can be copied."
        return _clipboard_row("clipboard", "Copying", Grade.FAULT, cause, _INSTALL, way=None)
    if perhaps == "file":
        cause = "No clipboard can be reached; what is copied goes into a file."
        return _clipboard_row("clipboard", "Copying", Grade.WARNING, cause, _INSTALL, way=perhaps)
    cause = f"{perhaps} is used; whether it works cannot be told from here."
    step = "Copy an answer (/copy), then paste it into another window"
    return _clipboard_row("clipboard", "Copying", Grade.WARNING, cause, step, way=perhaps)


def _way(way: WayChecked) -> Finding:
    grade = {True: Grade.OK, None: Grade.NOT_TRIED, False: Grade.WARNING if way.is_there else Grade.ABSENT}
    return _clipboard_row(
        "clipboard.way",
        way.way,
        grade[way.works],
        f"{way.reason[:1].upper()}{way.reason[1:]}.",
        works=way.works,
    )
