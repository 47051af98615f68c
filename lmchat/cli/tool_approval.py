"""Approval of tool calls by `ask --tools` and the plain chat."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from lmchat.cli.call_question import call_question
from lmchat.cli.context import Context
from lmchat.cli.questions import can_ask, typed_line
from lmchat.config.example_file import toml_value
from lmchat.domain.message import ToolCallPart
from lmchat.domain.tool import CHOICES, Choice, Decision
from lmchat.errors import LMChatError
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.storage import remembered_file
from lmchat.terminal.terminal_output import drop_typed, has_more_input
from lmchat.text import safe_line

_USUAL_COLUMNS = 80
_PASTE_S = 0.05  # lines that come together were pasted, and answer nothing
_MAX_NAME = 80  # characters
_NO_TERMINAL = "A tool that needs approval cannot run without a terminal."


async def decide(
    asked: ApprovalAsked, context: Context, read: Callable[[], Awaitable[bytes]] = typed_line
) -> None:
    """Ask whether a call may run; without a terminal it may not. `read` returns the answer."""
    note = context.output.note
    if not can_ask():
        name = safe_line(asked.name)
        row = f'{toml_value(name)} = "always"'
        note(f"lmchat: Not allowed: {name}. To allow it, set [tools.approval] {row}.")
        asked.decision.set_result(Decision(choice=Choice.NO, reason=_NO_TERMINAL))
        return

    if asked.note:
        note(f"lmchat: {asked.note}")
    decision = None
    while decision is None:
        decision = await _read_decision(asked.message.tool_calls[0], context, read)
    if decision.choice is Choice.ALWAYS:
        await _save_allowed(context, asked)
    asked.decision.set_result(decision)


async def _read_decision(
    call: ToolCallPart, context: Context, read: Callable[[], Awaitable[bytes]]
) -> Decision | None:
    """Ask once; return None for an unknown or a pasted answer."""
    drop_typed(sys.stdin.fileno())  # what was typed before the question is no answer to it
    sys.stderr.write(call_question(call, _columns()))
    sys.stderr.flush()
    line = await read()
    if not line:  # Ctrl+D, or the terminal is gone
        context.output.note("")
        return Decision(choice=Choice.NO)

    if has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S):
        return None
    word, _, reason = line.decode("utf-8", "replace").strip().partition(" ")
    choice = CHOICES.get(word.lower())
    if choice is None:
        return None
    return Decision(choice=choice, reason=reason if choice is Choice.NO else "")


async def _save_allowed(context: Context, asked: ApprovalAsked) -> None:
    """Add a tool that always runs to the saved state, unless the configuration asks each time."""
    note = context.output.note
    if not asked.fingerprint:
        name = safe_line(asked.name, limit=_MAX_NAME)
        note(f"lmchat: config.toml asks about {name}; it is allowed for this session.")
        return
    file = context.paths.remembered_file
    try:
        remembered, _ = await asyncio.to_thread(remembered_file.load, file)
        fresh = remembered.with_allowed(asked.name, asked.fingerprint)
        await asyncio.to_thread(remembered_file.save, file, fresh)
    except LMChatError as error:
        note(f"lmchat: the choice could not be saved: {error.message}")


def _columns() -> int:
    """Return the width of the terminal that shows the question."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS
