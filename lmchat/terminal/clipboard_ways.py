"""The ways to a clipboard as values: which programs there are, and what became of a text."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from lmchat.terminal import processes

_OVER_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_PLAIN_TEXT = "text/plain"


class Tool(Struct, frozen=True, kw_only=True):
    """A program that sets the clipboard from its stdin."""

    name: str
    """Its name."""
    copy: tuple[str, ...]
    """Command line to set."""
    paste: tuple[str, ...]
    """Command line to read back; empty where there is none."""
    needs: str = ""
    """Environment variable without which it cannot work."""
    types: tuple[str, ...] = ()
    """Command line that lists what kinds of content there are; empty where there is none."""
    encoding: str = "utf-8"
    """What it reads."""


TOOLS = (
    Tool(
        name="wl-copy",
        # without a type it guesses one, and what begins like a program is pasted nowhere
        copy=("wl-copy", "--type", _PLAIN_TEXT),
        paste=("wl-paste", "--no-newline"),
        types=("wl-paste", "--list-types"),
        needs="WAYLAND_DISPLAY",
    ),
    Tool(
        name="xclip",
        copy=("xclip", "-selection", "clipboard"),
        paste=("xclip", "-selection", "clipboard", "-o"),
        types=("xclip", "-selection", "clipboard", "-o", "-t", "TARGETS"),
        needs="DISPLAY",
    ),
    Tool(
        name="xsel",
        copy=("xsel", "--clipboard", "--input"),
        paste=("xsel", "--clipboard", "--output"),
        needs="DISPLAY",
    ),
    Tool(name="pbcopy", copy=("pbcopy",), paste=("pbpaste",)),
    Tool(name="clip.exe", copy=("clip.exe",), paste=(), encoding="utf-16"),
)
"""Native tools, in the order in which they are tried."""
TMUX = Tool(name="tmux", copy=("tmux", "load-buffer", "-w", "-"), paste=("tmux", "show-buffer"), needs="TMUX")
"""Its own buffer, and with `-w` (tmux 3.2) the clipboard of the terminal around it."""
TMUX_ALONE = ("tmux", "load-buffer", "-")
"""For a text so long that the terminal around it would not take it, and might not bear it."""
TMUX_FEATURES = ("tmux", "display-message", "-p", "#{client_termfeatures}")
"""What tmux knows of the terminal around it; `clipboard` among it lets a text out."""


class Copied(Struct, frozen=True, kw_only=True):
    """What became of a text."""

    way: str
    """`wl-copy`, …, `tmux`, `OSC 52` or `file`."""
    detail: str = ""
    """The path where it is a file."""
    is_whole_way: bool = True
    """False where it came only half the way: tmux has it and hands it to no terminal, or a file has it only
    because it is too long for the terminal."""

    @property
    def words(self) -> str:
        """One sentence for a toast, that promises no more than is known."""
        match self.way:
            case "file" if not self.is_whole_way:
                return f"Too long for the terminal's clipboard; saved as {self.detail}"
            case "file":
                return f"No clipboard can be reached; saved as {self.detail}"
            case "OSC 52":
                return "Sent to the terminal's clipboard (OSC 52); it does not tell whether it took it"
            case "tmux" if self.is_whole_way:
                return "Copied (tmux, and handed to its terminal)"
            case "tmux":
                return "Copied (tmux alone: prefix ] pastes it; its terminal did not get it)"
            case _:
                return f"Copied ({self.way})"


class WayChecked(Struct, frozen=True, kw_only=True):
    """One way, as the doctor tells it."""

    way: str
    """Its name."""
    works: bool | None
    """None where it cannot be told."""
    reason: str
    """Why, in few words."""
    is_there: bool = True
    """Whether it could be tried at all."""


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the screen stands elsewhere."""
    return any(environ.get(name) for name in _OVER_SSH)


async def environ_now(environ: Mapping[str, str], *, timeout_s: float) -> Mapping[str, str]:
    """Return the environment as of who looks on now.

    A session of tmux outlives the window, or the connection over ssh, that it was begun in; tmux notes what
    each who attaches to it brings along.
    """
    if not environ.get(TMUX.needs):
        return environ
    data = await processes.read(("tmux", "show-environment"), environ=environ, timeout_s=timeout_s)
    lines = (data or b"").decode(errors="replace").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    now = {name: told[name] for name in _DISPLAYS if told.get(name)} | dict(environ)
    if f"-{_OVER_SSH[0]}" in lines:
        return {name: value for name, value in now.items() if name not in _OVER_SSH}
    return now | {name: told[name] for name in _OVER_SSH[:1] if name in told}
