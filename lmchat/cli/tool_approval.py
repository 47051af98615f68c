"""Approval of tool calls by `ask --tools` and the plain chat."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.cli.call_question import call_question
from lmchat.cli.context import Context
from lmchat.config.file import toml_value
from lmchat.config.state import change_state
from lmchat.errors import LMChatError
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ToolCallPart
from lmchat.terminal.output import can_ask, typed_line
from lmchat.terminal.tty import drop_typed, has_more_input
from lmchat.tools.tool import CHOICES, Choice, Decision

_USUAL_COLUMNS = 80
_PASTE_S = 0.05  # a line after which another arrives within this time was pasted
_MAX_NAME = 80  # characters
_NO_TERMINAL = "A tool that needs approval cannot run without a terminal."


async def decide(
    asked: ToolQuestion, context: Context, read: Callable[[], Awaitable[bytes]] = typed_line
) -> Decision:
    """Ask the user whether a call may run, and return the decision.

    The question is repeated until its answer is known. `read` waits for the line with the answer.
    The answer "always" is saved. Without a terminal, the decision is no, and a note says how to
    allow the tool.
    """
    note = context.output.note
    if not can_ask():
        name = safe_line(asked.name)
        setting = f'{toml_value(name)} = "always"'
        note(f"lmchat: Not allowed: {name}. To allow it, set [tools.approval] {setting}.")
        return Decision(choice=Choice.NO, reason=_NO_TERMINAL)

    if asked.note:
        note(f"lmchat: {asked.note}")
    decision = None
    while decision is None:
        decision = await _ask_once(asked.message.tool_calls[0], context, read)
    if decision.choice is Choice.ALWAYS:
        await _save_allowed(context, asked)
    return decision


async def _ask_once(
    call: ToolCallPart, context: Context, read: Callable[[], Awaitable[bytes]]
) -> Decision | None:
    """Print the question, wait for the answer, and return the decision.

    The end of the input means no. Return None if the answer is no known choice or was pasted. The
    words after a no are the reason, which the model gets.
    """
    drop_typed(sys.stdin.fileno())  # what was typed before the question does not answer it
    sys.stderr.write(call_question(call, _columns()))
    sys.stderr.flush()
    line = await read()
    if not line:  # Ctrl+D, or the terminal is gone
        context.output.note("")
        return Decision(choice=Choice.NO)

    was_pasted = has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S)
    if was_pasted:  # it was meant as a prompt, and not written for this question
        return None
    word, _, reason = line.decode("utf-8", "replace").strip().partition(" ")
    choice = CHOICES.get(word.lower())
    if choice is None:
        return None
    return Decision(choice=choice, reason=reason if choice is Choice.NO else "")


async def _save_allowed(context: Context, asked: ToolQuestion) -> None:
    """Save that the tool of a call may always run; a note says so if that fails.

    It is saved with a fingerprint, as a tool that has changed needs approval again. If the
    configuration asks about each call of this tool, nothing is saved, and a note says that the tool
    is allowed for this session only.
    """
    note = context.output.note
    is_asked_by_configuration = not asked.fingerprint  # empty for a tool with a rule there
    if is_asked_by_configuration:
        name = safe_line(asked.name, limit=_MAX_NAME)
        note(f"lmchat: config.toml asks about {name}; it is allowed for this session.")
        return
    file = context.paths.state_file
    try:
        await asyncio.to_thread(
            change_state, file, lambda state: state.with_allowed(asked.name, asked.fingerprint)
        )
    except LMChatError as error:
        note(f"lmchat: the choice could not be saved: {error.message}")


def _columns() -> int:
    """Return the width of the terminal that shows the question, 80 if it is unknown."""
    try:
        # some terminals, as those of containers, report 0 columns
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS
