"""Tool calls of an imported chat: which of them are kept, so that none of them can run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from lmchat.sessions.message import ChatMessage, Role, ToolCallPart
from lmchat.sessions.session import MessagePath, Session


def as_imported(session: Session) -> Session:
    """Return a session as it is imported: without calls that have no result.

    Nothing of a file may run, and such a call would look as if it waited to run. An answer that
    holds nothing else is dropped; the messages that followed it then follow the message before it.
    Tool messages lose their model and the name of their server: lmchat did not run them. Answers
    lose the id under which a server keeps them: opening the session must contact no server that the
    file names.
    """
    messages = session.tree or session.messages
    calls_with_result = _calls_with_result(messages)
    imported_by_id: dict[str, ChatMessage] = {}
    parents_of_dropped: dict[str | None, str | None] = {}  # id of the parent, by the dropped id
    for message in messages:  # each after its parent: readers of files order them so
        # the parent, or the parent of a dropped parent
        parent_id = parents_of_dropped.get(message.parent_id, message.parent_id)
        keys = calls_with_result.get(message.message_id, set())
        imported = _imported_message(message, keys)
        if imported is None:
            parents_of_dropped[message.message_id] = parent_id
        else:
            imported_by_id[message.message_id] = replace(imported, parent_id=parent_id)

    path_ids = [message.message_id for message in session.messages]
    path = [imported_by_id[message_id] for message_id in path_ids if message_id in imported_by_id]
    return replace(
        session,
        header=replace(session.header, message_count=len(imported_by_id)),
        messages=MessagePath(path),
        tree=tuple(imported_by_id.values()) if session.tree else (),
    )


def count_dropped_calls(before: Session, after: Session) -> int:
    """Return how many tool calls `as_imported` has dropped between two states of a session."""
    return _count_calls(before) - _count_calls(after)


def _count_calls(session: Session) -> int:
    return sum(len(message.tool_calls) for message in session.tree or session.messages)


def _imported_message(message: ChatMessage, calls_with_result: set[str]) -> ChatMessage | None:
    """Return a message as it is imported; None for an answer of which nothing is left.

    `calls_with_result` has the keys of its calls that have a result: the other calls are dropped.
    """
    if message.stats is not None:
        message = replace(message, stats=replace(message.stats, replay_id=""))
    if message.role is Role.TOOL:
        return replace(message, model="", endpoint="")
    if not message.tool_calls:
        return message
    parts = tuple(
        part
        for part in message.parts
        if not isinstance(part, ToolCallPart) or _call_key(part) in calls_with_result
    )
    if not parts and message.failure is None:  # an error is shown, so its message is kept
        return None
    return replace(message, parts=parts)


def _calls_with_result(messages: Iterable[ChatMessage]) -> Mapping[str, set[str]]:
    """Return the keys of the calls that have a result on any branch, by the id of the answer.

    A tool message holds a result and repeats its call. The tool messages of an answer follow each
    other, and the first one follows the answer.
    """
    keys_by_answer: defaultdict[str, set[str]] = defaultdict(set)
    answer_ids: dict[str | None, str | None] = {}  # id of the answer, by that of a tool message
    for message in messages:
        if message.role is not Role.TOOL:
            continue
        # the parent is the answer, or a tool message whose answer is known
        answer_id = answer_ids.get(message.parent_id, message.parent_id)
        answer_ids[message.message_id] = answer_id
        if answer_id is not None:
            keys_by_answer[answer_id].update(map(_call_key, message.tool_calls))
    return keys_by_answer


def _call_key(call: ToolCallPart) -> str:
    """Return a text that distinguishes a call from the other calls of an answer.

    Some programs give no ids to calls; then it is made of name and arguments.
    """
    return call.call_id or f"{call.name} {call.arguments}"
