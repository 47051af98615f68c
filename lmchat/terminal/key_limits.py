"""Which of lmchat's keys a terminal is known to keep for itself or to send as another key; a table."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


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
