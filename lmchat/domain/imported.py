"""Tool calls of an imported chat: what is taken over of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, Role, ToolCallPart
from lmchat.domain.session import MessagePath, Session


def as_imported(session: Session) -> Session:
    """Return a session as it is imported: without calls that have no result.

    Nothing of a file may run, and such a call would look as if it waited for that. An answer that
    is nothing else is dropped. Tool messages name no server: lmchat did not run them.
    """
    whole = session.tree or session.messages
    answered = _answered_calls(whole)
    kept: dict[str, ChatMessage] = {}
    replacements: dict[str | None, str | None] = {}  # ids of dropped messages and those before them
    for message in whole:  # parents come first
        parent_id = replacements.get(message.parent_id, message.parent_id)
        imported = _imported_message(message, answered.get(message.message_id, set()))
        if imported is None:
            replacements[message.message_id] = parent_id
        else:
            kept[message.message_id] = replace(imported, parent_id=parent_id)
    path = [message.message_id for message in session.messages]
    shown = [kept[message_id] for message_id in path if message_id in kept]
    return replace(
        session,
        header=replace(session.header, message_count=len(kept)),
        messages=MessagePath(shown),
        tree=tuple(kept.values()) if session.tree else (),
        branch_names={key: name for key, name in session.branch_names.items() if key in kept},
    )


def is_imported_call(message: ChatMessage) -> bool:
    """Return whether a tool message was imported: lmchat's own ones name their server."""
    return message.role is Role.TOOL and not message.endpoint


def count_dropped_calls(before: Session, after: Session) -> int:
    """Return the number of calls that `as_imported` has dropped."""
    return _count_calls(before) - _count_calls(after)


def _count_calls(session: Session) -> int:
    return sum(len(message.tool_calls) for message in session.tree or session.messages)


def _imported_message(message: ChatMessage, answered: set[str]) -> ChatMessage | None:
    if message.role is Role.TOOL:
        return replace(message, model="", endpoint="")
    if not message.tool_calls:
        return message
    parts = tuple(
        part
        for part in message.parts
        if not isinstance(part, ToolCallPart) or _key(part) in answered
    )
    if not parts and message.failure is None:
        return None
    return replace(message, parts=parts)


def _answered_calls(messages: Iterable[ChatMessage]) -> Mapping[str, set[str]]:
    """Return the calls of each answer that have a result in a tool message, on any branch."""
    answered: dict[str, set[str]] = {}
    answers: dict[
        str | None, str | None
    ] = {}  # ids of tool messages and of the answers before them
    for message in messages:
        if message.role is not Role.TOOL:
            continue
        answer_id = answers.get(message.parent_id, message.parent_id)
        answers[message.message_id] = answer_id
        if answer_id is not None:
            answered.setdefault(answer_id, set()).update(map(_key, message.tool_calls))
    return answered


def _key(call: ToolCallPart) -> str:
    """Return what names a call among those of its answer; some programs give no ids."""
    return call.call_id or f"{call.name} {call.arguments}"
