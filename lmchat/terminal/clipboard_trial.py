"""Tries each way to the clipboard with a word of its own, and leaves the clipboard as it was."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from lmchat.terminal.clipboard import TMUX, TMUX_FEATURES, TOOLS, Clipboard, Tool, WayChecked, write_privately

_OWN_BUFFER = ("-b", "lmchat-doctor")
_NO_CLIENT = ("-w", "-t", "lmchat-doctor")
"""Lets `load-buffer` hand the text to a terminal that is not there: `-w` without its effect."""
_TEXT = ("text/plain", "text/plain;charset=utf-8", "text/plain;charset=utf8")
_LEFT_ALONE = "not tried: the clipboard holds something that could not be put back"
_FAILED = "failed, or took too long"


async def try_ways(clipboard: Clipboard) -> AsyncIterator[WayChecked]:
    """Try every way that can be tried without a trace, and put back what was there.

    Not the terminal: it tells nobody what its clipboard holds, nor whether it took what it was sent.
    """
    await clipboard.look_around()
    for tool in TOOLS:
        yield await _check(clipboard, tool)
    yield await _check_tmux(clipboard)
    yield clipboard.untried_osc_52()
    yield await asyncio.to_thread(_check_file, clipboard)


async def _check(clipboard: Clipboard, tool: Tool) -> WayChecked:
    untried = clipboard.untried(tool)
    if not untried.is_there:
        return untried
    before = await _text(clipboard, tool)
    if not await _can_be_put_back(clipboard, tool, before):
        return WayChecked(way=tool.name, works=None, reason=_LEFT_ALONE)
    return await _tried(clipboard, tool, before or "")


async def _tried(clipboard: Clipboard, tool: Tool, before: str) -> WayChecked:
    word, after = f"lmchat {secrets.token_hex(4)}", None
    try:
        if not await clipboard.set(tool, word):
            return WayChecked(way=tool.name, works=False, reason=_FAILED)
        after = await _text(clipboard, tool)
    finally:
        if after is None or after.strip() in ("", word):  # else somebody has copied something meanwhile
            await clipboard.set(tool, before)
    if after is None:
        return WayChecked(way=tool.name, works=None, reason="took the text; it cannot be read back")
    is_same = after.strip() == word
    return WayChecked(way=tool.name, works=is_same, reason="read back" if is_same else "lost")


async def _text(clipboard: Clipboard, tool: Tool) -> str | None:
    data = await clipboard.read(tool.paste) if tool.paste else None
    return None if data is None else data.decode(errors="replace")


async def _can_be_put_back(clipboard: Clipboard, tool: Tool, before: str | None) -> bool:
    """Whether all that is there is text: no picture, no file, no text with its looks, nothing unreadable."""
    if not tool.types:
        return bool(before) and "\ufffd" not in (before or "")  # a picture reads as nothing
    listed = (await clipboard.read(tool.types) or b"").decode(errors="replace")
    kinds = {line.strip().lower() for line in listed.splitlines() if "/" in line}
    return kinds <= set(_TEXT) and "\ufffd" not in (before or "")


async def _check_tmux(clipboard: Clipboard) -> WayChecked:
    """Try a buffer of our own: what the terminal around holds could not be put back."""
    untried = clipboard.untried(TMUX)
    if not untried.is_there:
        return untried
    word, name = f"lmchat {secrets.token_hex(4)}", TMUX.name
    is_set = await clipboard.feed((name, "load-buffer", *_OWN_BUFFER, "-"), word.encode())
    after = await clipboard.read((name, "show-buffer", *_OWN_BUFFER))
    hands_on = await clipboard.feed((name, "load-buffer", *_NO_CLIENT, *_OWN_BUFFER, "-"), word.encode())
    await clipboard.read((name, "delete-buffer", *_OWN_BUFFER))
    if not is_set or (after or b"").decode(errors="replace").strip() != word:
        return WayChecked(way=name, works=False, reason=_FAILED)
    if not hands_on:
        return WayChecked(way=name, works=False, reason="it hands nothing on: tmux 3.2 or later does")
    return await _check_around_tmux(clipboard)


async def _check_around_tmux(clipboard: Clipboard) -> WayChecked:
    name = TMUX.name
    told = await clipboard.read((name, "show-options", "-sv", "set-clipboard"))
    if (told or b"").strip() == b"off":
        reason = "its own buffer only: tmux set-option -s set-clipboard external lets it out"
        return WayChecked(way=name, works=False, reason=reason)
    if b"clipboard" not in (await clipboard.read(TMUX_FEATURES) or b""):
        term = (await clipboard.read((name, "display-message", "-p", "#{client_termname}")) or b"").decode(
            errors="replace"
        )
        reason = (
            "its own buffer only: it knows of no clipboard in the terminal around it; if there is one: "
            f"tmux set-option -as terminal-features ',{term.strip() or 'TERM'}:clipboard', then attach again"
        )
        return WayChecked(way=name, works=False, reason=reason)
    reason = "its buffer was read back, and it hands it to the terminal around it, which does not answer"
    return WayChecked(way=name, works=True, reason=reason)


def _check_file(clipboard: Clipboard) -> WayChecked:
    """Write beside the file: what was copied into it last stays."""
    place = clipboard.file.with_name(f"{clipboard.file.name}-doctor")
    try:
        write_privately(place, "lmchat")
        Path(place).unlink()
    except OSError as error:
        reason = f"{clipboard.file} cannot be written: {error.strerror}"
        return WayChecked(way="file", works=False, reason=reason)
    return clipboard.untried_file()
