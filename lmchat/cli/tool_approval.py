"""Approval of tool calls by `ask --tools` and the plain chat."""

from __future__ import annotations

import sys

from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.cli.context import Context
from lmchat.config.toml import toml_value
from lmchat.safe_text import safe_line
from lmchat.terminal.output import can_ask, typed_line
from lmchat.terminal.tty import drop_typed, has_more_input
from lmchat.tools.calls import APPROVAL_SCOPES, ApprovalScope, Decision

_PASTE_S = 0.05  # a line after which another arrives within this time was pasted
_MAX_NAME = 60  # characters
_MAX_ARGUMENTS = 600  # so that the whole question fits on a screen of 24 lines
_CHOICES = ", ".join(f"{key} {words}" for key, words in APPROVAL_SCOPES.items())


async def ask_about_call(question: ToolQuestion, context: Context) -> Decision:
    """Ask the user whether a call may run, until the answer is one of the choices.

    What the user types after a no is the reason, which the model gets. Without a terminal, the
    decision is no, and a note says how to allow the tool.
    """
    note = context.output.note
    name = safe_line(question.name, limit=_MAX_NAME)
    if not can_ask():
        setting = f'{toml_value(safe_line(question.name))} = "always"'
        note(f"lmchat: Not allowed: {name}. To allow it, set [tools.approval] {setting}.")
        reason = "A tool that needs approval cannot run without a terminal."
        return Decision(choice=ApprovalScope.NO, reason=reason)

    if question.note:  # it says why a tool that was always allowed needs an answer again
        note(f"lmchat: {question.note}")
    arguments = safe_line(question.message.tool_calls[0].arguments, limit=_MAX_ARGUMENTS)
    while True:
        drop_typed(sys.stdin.fileno())  # what was typed before the question does not answer it
        # the model writes the arguments; they are cut, so that they cannot scroll the name away
        note(f"{name} wants to run:", f"    {arguments}")
        sys.stderr.write(f"{name}? {_CHOICES}: ")
        sys.stderr.flush()
        line = await typed_line()
        if not line:  # Ctrl+D, or the terminal is gone
            note("")
            return Decision(choice=ApprovalScope.NO)
        if has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S):  # a paste was meant as a prompt
            continue
        word, _, reason = line.decode("utf-8", "replace").strip().partition(" ")
        choice = APPROVAL_SCOPES.get(word.lower())
        if choice is not None:
            return Decision(choice=choice, reason=reason)
