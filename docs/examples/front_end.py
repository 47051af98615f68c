"""A front end that streams a turn, whose tools run after a yes: `python front_end.py PROMPT`."""

import sys

from lmchat.api import (
    ApprovalScope,
    Ask,
    Decision,
    MessageEnded,
    SyncHome,
    TextDelta,
    ToolQuestion,
    TurnEnded,
    safe_text,
)


def approve(question: ToolQuestion) -> Decision:
    call = question.message.tool_calls[0]
    asked = safe_text(f"{call.arguments!r}\nRun {question.name} with this? [y/n] ")
    is_yes = input(asked) == "y"
    return Decision(choice=ApprovalScope.ONCE if is_yes else ApprovalScope.NO)


with SyncHome() as home:
    for event in home.turn(Ask(prompt=sys.argv[1], approve=approve)):
        if isinstance(event, TextDelta):
            print(safe_text(event.text), end="", flush=True)
        elif isinstance(event, MessageEnded) and event.message.tool_result:
            print(f"\n= {safe_text(event.message.tool_result)}")
        elif isinstance(event, TurnEnded):
            print(f"\n{event.error or event.state}")
