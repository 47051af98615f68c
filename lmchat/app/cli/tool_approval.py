"""Approval of tool calls, and questions about tool servers, on the command line."""

from __future__ import annotations

import sys

from lmchat.app.cli.context import Context
from lmchat.app.terminal.output import ask_yes_no, can_ask, drop_typed, question_rows, typed_line
from lmchat.app.terminal.programs import open_in_browser
from lmchat.app.terminal.tty import has_more_input
from lmchat.base.safe_text import marked_line, safe_line
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.config.toml import toml_value
from lmchat.core.tools.calls import APPROVAL_SCOPES, ApprovalScope, Decision
from lmchat.core.tools.questions import ServerQuestion

_PASTE_S = 0.05  # a line that follows within this time was pasted
_MAX_NAME = 60  # characters
_CHOICES = ", ".join(f"{key} {text}" for key, text in APPROVAL_SCOPES.items())


async def ask_about_call(question: ToolQuestion, context: Context) -> Decision:
    """Ask the user whether a call may run, until the answer is one of the choices.

    What is typed after a no is the reason, for the model. Without a terminal, and for arguments
    that it cannot show, the decision is no, and a note says how to allow the tool.
    """
    note = context.output.note
    name = marked_line(safe_line(question.name, limit=_MAX_NAME))
    arguments = question.message.tool_calls[0].arguments  # written by the model
    rows = question_rows(arguments) if can_ask() else []
    if not rows:
        setting = f'{toml_value(safe_line(question.name))} = "always"'
        way = "To allow it,"
        reason = "A tool that needs approval cannot run without a terminal."
        if can_ask():
            way = "Its arguments do not fit on the screen: call it in the chat screen, or"
            reason = "Its arguments are too long to show."
        context.note(f"Not allowed: {name}. {way} set [tools.approval] {setting} in config.toml.")
        return Decision(choice=ApprovalScope.NO, reason=reason)

    if question.note:  # why an always allowed tool needs an answer
        context.note(question.note)
    while True:
        await drop_typed(note)  # what was typed before does not answer
        note(f"{name} wants to run:", *(f"    {row}" for row in rows))
        line = await typed_line(f"{name}? {_CHOICES}:")
        if not line:  # Ctrl+D, or the terminal is gone
            note("")
            return Decision(choice=ApprovalScope.NO)
        if has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S):  # a paste was meant as a prompt
            continue
        word, _, reason = line.decode("utf-8", "replace").strip().partition(" ")
        choice = APPROVAL_SCOPES.get(word.lower())
        if choice is not None:
            return Decision(choice=choice, reason=reason)


async def ask_about_server(question: ServerQuestion, context: Context) -> bool:
    """Ask the user about a tool server; without a terminal, the answer is no."""
    note = context.output.note
    if not can_ask():
        context.note(f"Declined without a terminal: {question.title}")
        return False
    context.note(question.title)
    await drop_typed(note)
    asked = "Open the address in your browser?" if question.url else "Yes?"
    if not await ask_yes_no(asked, *question.rows):
        return False
    environ = context.environ_of_programs
    if question.url and not await open_in_browser(question.url, environ=environ):
        note(
            "No browser is available: open the address yourself. Ctrl+C stops the wait.",
            question.url,
        )
    return True
