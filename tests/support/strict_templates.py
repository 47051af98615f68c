"""Chat templates and validators of messages that take roles in one order only.

The sentences are those of Mistral's and Gemma's templates, and of mistral-common, as users of vLLM, SGLang,
LM Studio and llama.cpp report them (vllm #2964 and #6862, mistral-vibe #578, lmstudio-bug-tracker #1054).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.support.scripted_products import chat_reply
from tests.support.scripted_server import Reply, Seen, json_reply

ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
ONLY_TWO = "Only user and assistant roles are supported!"
NO_SYSTEM = "System role not supported"

Message = Mapping[str, Any]


def wrong_order(messages: Sequence[Message]) -> str:
    """Return how a strict server refuses these messages; "" if it takes them."""
    dialogue = messages[1:] if messages[:1] and messages[0]["role"] == "system" else messages
    turns = [one for one in dialogue if one["role"] != "tool" and "tool_calls" not in one]
    for number, message in enumerate(turns):
        if (message["role"] == "user") != (number % 2 == 0):
            return f"After the optional system message, conversation roles {ALTERNATE[19:]}"
    open_ids: list[str] = []
    before = ""
    for message in dialogue:
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_ids:
                return f"Unexpected role 'tool' after role '{before}'"
            open_ids.remove(message["tool_call_id"])
        elif open_ids:
            return "Not the same number of function calls and responses"
        elif role == "user" and before == "tool":
            return "Unexpected role 'user' after role 'tool'"
        elif before and role == before:
            return f"Unexpected role '{role}' after role '{before}'"
        if role == "assistant":
            if not (message["content"] or message.get("tool_calls")):
                return "Assistant message must have either content or tool_calls, but not both."
            open_ids = [call["id"] for call in message.get("tool_calls", ())]
        before = role
    return "Not the same number of function calls and responses" if open_ids else ""


def without_system(messages: Sequence[Message]) -> str:
    """Return how Mistral 7B's first template refuses these messages; "" if it takes them."""
    for number, message in enumerate(messages):
        if (message["role"] == "user") != (number % 2 == 0):
            return ALTERNATE
    return ""


def strict(
    rule: Callable[[Sequence[Message]], str] = wrong_order,
    play: Callable[[Seen], Reply] = lambda _: chat_reply(),
) -> Callable[[Seen], Reply]:
    """Return a script that refuses as vLLM does what `rule` refuses, and plays `play` for anything else."""

    def script(seen: Seen) -> Reply:
        wrong = rule(seen.json["messages"])
        if not wrong:
            return play(seen)
        error = {"message": wrong, "type": "BadRequestError", "param": None, "code": 400}
        return json_reply({"error": error}, status=400)

    return script
