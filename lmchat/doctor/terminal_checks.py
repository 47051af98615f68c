"""The doctor's checks of the terminal.

A row is a `CheckResult`: one line of the doctor's report, with a grade, a cause and a next step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from lmchat.doctor.report import CheckResult, Grade, Group, Subject

_SMALLEST = (40, 12)  # columns and rows that the screen needs
_TERMS_WITHOUT_COLOURS = ("", "dumb", "unknown")  # values of $TERM
_TRUE_COLOURS = ("truecolor", "24bit")  # values of $COLORTERM


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
    ("TERM_PROGRAM", "ghostty", "Ghostty"),
    ("TERMINAL_EMULATOR", "JetBrains", "JetBrains"),
    ("KITTY_WINDOW_ID", "", "kitty"),
    ("GHOSTTY_RESOURCES_DIR", "", "Ghostty"),
    ("ALACRITTY_WINDOW_ID", "", "Alacritty"),
    ("WT_SESSION", "", "Windows Terminal"),
    ("VTE_VERSION", "", "GNOME Terminal"),
    ("TERM", "xterm-kitty", "kitty"),
    ("TERM", "xterm-ghostty", "Ghostty"),
    ("TERM", "alacritty", "Alacritty"),
    ("TERM", "foot", "foot"),
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


def terminal_findings(
    environ: Mapping[str, str], files: Sequence[int] = (0, 2), *, system: str = os.name
) -> list[CheckResult]:
    """Return the rows about size, colours, locale and keys of the terminal.

    `files` are the descriptors of stdin and stderr. On Windows there are no rows about colours and
    locale: its terminals have no variables that tell them.
    """
    by_variables = [] if system == "nt" else [_check_colours(environ), _check_locale(environ)]
    return [_check_size(files), *by_variables, _check_keys(environ)]


def _check_size(files: Sequence[int]) -> CheckResult:
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


def _check_colours(environ: Mapping[str, str]) -> CheckResult:
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


def _check_locale(environ: Mapping[str, str]) -> CheckResult:
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


def _check_keys(environ: Mapping[str, str]) -> CheckResult:
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
