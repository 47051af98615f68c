"""Start of a turn: which messages it follows, which it adds, and what it continues or repeats."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.attachments import Attachment
from lmchat.chat.choosing import BegunAnswer
from lmchat.chat.rewriting import rewritten, without_blank_end
from lmchat.errors import RequestInvalid
from lmchat.servers.model import Target
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    FilePart,
    Part,
    Role,
    TokenProbabilities,
    ToolCallPart,
    is_imported_call,
    new_id,
    now,
    text_message,
)
from lmchat.sessions.session import MessagePath


class CallBatch(Struct, frozen=True, kw_only=True):
    """Tool calls that run at the same time."""

    calls: tuple[ToolCallPart, ...]
    ended: tuple[ChatMessage, ...] = ()
    """Tool messages after a repeated call, which do not run again; the new branch has copies."""


class TurnStart(Struct, frozen=True, kw_only=True):
    """Start of a turn, determined before memory, disk or server are touched."""

    path: MessagePath  # messages before the new ones; those after it go to another branch
    prompts: tuple[ChatMessage, ...] = ()  # the new prompt, perhaps after a system prompt
    files: Sequence[Attachment] = ()  # new files of the prompt
    version: int = 1  # of the first answer, or of the repeated call
    continued: ChatMessage | None = None  # the unfinished answer to continue
    begun_choices: tuple[
        TokenProbabilities, ...
    ] = ()  # of the tokens of that answer, if they are known
    batch: CallBatch | None = None  # the tool call to repeat

    def new_files_of(self, prompt: ChatMessage) -> list[Attachment]:
        """Return the files of a prompt that are not on the disk yet: those that have data."""
        return [file for file in self.files if file.data and file.part in prompt.files]


def start_at_end(
    path: MessagePath, text: str, files: Sequence[Attachment], system_prompt: str
) -> TurnStart:
    """Return the start of a turn with a new prompt behind `path`.

    If the path is empty, the system prompt comes first, unless it is empty, too.
    """
    prompts: list[ChatMessage] = []
    parent_id = path[-1].message_id if path else None
    if not path and system_prompt:
        system = text_message(Role.SYSTEM, system_prompt)
        prompts.append(system)
        parent_id = system.message_id
    prompt = text_message(Role.USER, text, parent_id=parent_id)
    prompts.append(_with_files(prompt, tuple(file.part for file in files)))
    return TurnStart(path=path, prompts=tuple(prompts), files=files)


def start_with_edit(
    path: MessagePath, message_id: str, text: str, files: Sequence[Attachment] | None
) -> TurnStart:
    """Return the start of a turn with another version of a prompt; `files` None keeps its files.

    Raises `RequestInvalid` for a message on another branch.
    """
    index = _index_of(path, message_id)
    prompt = _new_version(path[index], text, files)
    return TurnStart(path=MessagePath(path[:index]), prompts=(prompt,), files=files or ())


def start_at(
    path: MessagePath, message_id: str, *, is_resumed: bool, begun: BegunAnswer | None = None
) -> TurnStart:
    """Return the start of a turn that works on a message of the path and adds no prompt.

    A prompt is answered, and a tool call is repeated. An answer gets another version: a new one, or
    with `is_resumed` one that continues `begun`, or without `begun` the old version. Raises
    `RequestInvalid` for a message on another branch, for an imported call, and if a message that
    the turn needs is taken out of requests.
    """
    index = _index_of(path, message_id)
    earlier = MessagePath(path[:index])
    old = path[index]
    # an answer that is not continued is not sent: its new version takes its place
    is_replaced = old.role is Role.ASSISTANT and not is_resumed
    _require_sent(earlier, None if is_replaced else old)
    if is_imported_call(old):
        problem = "This call came with an imported chat, so lmchat does not run it."
        hint = "Retry the answer above it: the model then makes its own call."
        raise RequestInvalid(problem, hint=hint)
    if old.role is Role.USER:
        return TurnStart(path=earlier.added(old))
    version = old.versions + 1
    if old.role is Role.TOOL:
        following = takewhile(_is_tool_message, path[index + 1 :])
        batch = CallBatch(calls=old.tool_calls, ended=tuple(following))
        return TurnStart(path=earlier, version=version, batch=batch)
    if begun is not None:
        return TurnStart(
            path=earlier, version=version, continued=begun.message, begun_choices=begun.choices
        )
    continued = _as_continued(old) if is_resumed else None
    return TurnStart(path=earlier, version=version, continued=continued)


def _as_continued(answer: ChatMessage) -> ChatMessage:
    """Return an answer as a turn continues it: blanks that end words of the user are left out."""
    ends_with_edit = answer.stats is not None and answer.stats.ends_with_edit
    return without_blank_end(answer) if ends_with_edit else answer


def path_with_rewritten(path: MessagePath, answer_id: str, text: str) -> MessagePath:
    """Return a path that ends with another version of an answer, which has a text by the user.

    Raises `RequestInvalid` for a message on another branch, and as `rewritten` does.
    """
    index = _index_of(path, answer_id)
    return MessagePath(path[:index]).added(rewritten(path[index], text))


def _index_of(path: MessagePath, message_id: str) -> int:
    """Return the index of a message on the path; raises `RequestInvalid` if it is not there."""
    index = path.index_of(message_id)
    if index is None:
        problem = "This message is on another branch."
        raise RequestInvalid(problem, hint="Open it in the tree.")
    return index


def _require_sent(earlier: MessagePath, old: ChatMessage | None) -> None:
    """Raise `RequestInvalid` if a message that the turn needs is taken out of requests.

    `earlier` is the path before the message on which the turn works. `old` is that message, or None
    if a new version takes its place. The turn needs `old`, and the prompt that is answered: if that
    is not `old` itself, it is the last one of `earlier`.
    """
    prompts = [message for message in earlier if message.role is Role.USER]
    needed = prompts[-1:]  # a list of one message, or of none
    if old is not None:
        needed = [old] if old.role is Role.USER else [*needed, old]
    if any(message.is_excluded for message in needed):
        problem = "This message, or its prompt, is taken out of requests."
        raise RequestInvalid(problem, hint="Put it back with /context, then try again.")


def _is_tool_message(message: ChatMessage) -> bool:
    return message.role is Role.TOOL


def _new_version(old: ChatMessage, text: str, files: Sequence[Attachment] | None) -> ChatMessage:
    """Return another version of a prompt; `files` None keeps its files."""
    file_parts = old.files if files is None else tuple(file.part for file in files)
    message = _with_files(text_message(old.role, text, parent_id=old.parent_id), file_parts)
    version = old.versions + 1
    return replace(message, version=version, versions=version)


def _with_files(message: ChatMessage, files: tuple[FilePart, ...]) -> ChatMessage:
    """Return a prompt that begins with files; an empty text is dropped if there are any."""
    text_parts = message.parts
    if files and not message.text:
        text_parts = ()
    return replace(message, parts=(*files, *text_parts))


def streaming_message(
    role: Role, parts: tuple[Part, ...], path: MessagePath, target: Target, version: int
) -> ChatMessage:
    """Return a new message below the last one of a path; its content is still to come.

    `parts` is the content that it begins with; `version` is its number, and the highest so far.
    """
    return ChatMessage(
        message_id=new_id(),
        role=role,
        parts=parts,
        created_at=now(),
        parent_id=path[-1].message_id if path else None,
        state=AnswerState.STREAMING,
        model=target.model_id,
        endpoint=target.endpoint.url,
        version=version,
        versions=version,
    )
