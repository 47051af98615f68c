"""Import of llm's conversations before its version 0.36, checked with 0.26.

A row of `responses` holds a prompt and its answer. Tables for fragments, attachments and tools came
with later versions, so each may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial

from lmchat.domain.message import FilePart, ReasoningPart, Receipt
from lmchat.formats.file_values import Record, time_of
from lmchat.formats.foreign import (
    ChatReaders,
    ForeignChat,
    ForeignPart,
    MessageMetadata,
    ToolRun,
    call_of,
)
from lmchat.formats.foreign_database import ForeignDatabase

_NOT_CONTINUED = " where id not in (select id from threads)"
# Files of a prompt or system prompt; `{}` is `prompt` or `system`.
_FRAGMENTS = (
    "select content from {}_fragments f join fragments on id = fragment_id"
    ' where response_id = :id order by f."order"'
)
_ATTACHED = (
    'select attachment_id as id from prompt_attachments where response_id = :id order by "order"'
)
_ATTACHMENT = "select content from attachments where id = :id"


def read_responses(database: ForeignDatabase) -> ChatReaders:
    """Yield a function for each conversation, which reads it.

    Those that version 0.36 has moved to its table `threads` are left out.
    """
    reader = _ResponseReader(database)
    where = _NOT_CONTINUED if "threads" in database.tables else ""
    conversations = f"select * from conversations{where} order by id"  # noqa: S608 - a constant
    for row in database.rows(conversations):
        yield partial(reader.read_conversation, row)


def answer_metadata(row: Record) -> MessageMetadata:
    """Return time, model and figures of an answer from a row of `responses` or of `turns`.

    The time is the end of the answer.
    """
    begun = time_of(row["datetime_utc"])
    duration_ms = row["duration_ms"] or 0
    receipt = Receipt(
        prompt_tokens=row.get("input_tokens"),
        completion_tokens=row.get("output_tokens"),
        is_estimated=False,
        elapsed_ms=duration_ms,
        finish_reason="stop",
    )
    ended = None if begun is None else begun + timedelta(milliseconds=duration_ms)
    return MessageMetadata(created_at=ended, model=row["model"], receipt=receipt)


class _ResponseReader:
    """Reader of conversations, which are rows of `responses` with their tool calls and files."""

    def __init__(self, database: ForeignDatabase) -> None:
        self._database = database
        self._responses = database.rows_by("responses", "conversation_id")
        self._calls = database.rows_by("tool_calls", "response_id")
        self._results = database.rows_by("tool_results", "response_id")

    def read_conversation(self, row: Record) -> Iterator[ForeignChat]:
        """Yield the chat of a row of the table `conversations`."""
        chat = ForeignChat(key=row["id"], title=row["name"], model=row["model"])
        system = ""
        for response in self._responses(row["id"]):
            with chat.damage_counted():
                system = self._add_response(response, chat, system)
        yield chat

    def _add_response(self, response: Record, chat: ForeignChat, system_before: str) -> str:
        """Add the messages of a response, and return the system prompt from here on.

        These are, in this order: the system prompt, if it is another than `system_before`; results
        of tools that the answer before has called; the prompt with its images; the answer with its
        thought and tool calls. A response without a system prompt keeps `system_before`.
        """
        key = response["id"]
        system = self._prompt_text(response, "system", "\n\n") or system_before
        prompts: list[tuple[str, list[ForeignPart]]] = []  # role and parts of each message
        if system != system_before:
            prompts.append(("system", [system]))
        for result in self._results(key):
            run = ToolRun(call=result["tool_call_id"] or "", result=result["output"])
            prompts.append(("tool", [run]))
        text = self._prompt_text(response, "prompt", "\n")
        prompts.append(("user", [*self._images(key, chat), text]))
        prompt_metadata = MessageMetadata(created_at=time_of(response["datetime_utc"]))
        for number, (role, parts) in enumerate(prompts):
            chat.add(f"{key}.{number}", role, parts, parent=chat.last_key, metadata=prompt_metadata)

        answer: list[ForeignPart] = [
            ReasoningPart(text=response.get("reasoning") or ""),
            response["response"] or "",
        ]
        answer += [
            call_of(call["tool_call_id"], call["name"], call["arguments"])
            for call in self._calls(key)
        ]
        chat.add(key, "assistant", answer, parent=chat.last_key, metadata=answer_metadata(response))
        return system

    def _images(self, response_id: str, chat: ForeignChat) -> Iterator[FilePart]:
        """Yield the images attached to the prompt of a response, and count other files."""
        if "prompt_attachments" in self._database.tables:
            files = self._database.rows(_ATTACHED, id=response_id)
            yield from image_parts(self._database, files, chat)

    def _prompt_text(self, response: Record, kind: str, between: str) -> str:
        """Return the prompt or system prompt of a response, with the text of its files before it.

        `kind` is `prompt` or `system`; the text `between` separates the texts. Each file is stored
        once, in the table `fragments`.
        """
        texts: list[str] = []
        if f"{kind}_fragments" in self._database.tables:
            rows = self._database.rows(_FRAGMENTS.format(kind), id=response["id"])
            texts += [row["content"] for row in rows]
        if response[kind]:
            texts.append(response[kind])
        return between.join(texts)


def image_parts(
    database: ForeignDatabase, files: Iterable[Record], chat: ForeignChat
) -> Iterator[FilePart]:
    """Yield the images whose content the database holds, and count other files.

    `files` have the field `id` of a row of `attachments`.
    """
    has_contents = "attachments" in database.tables
    for file in files:
        rows = database.rows(_ATTACHMENT, id=file["id"]) if has_contents else []
        image = chat.add_image(rows[0]["content"]) if rows else None
        if image:
            yield image
        else:
            chat.omitted["attachment"] += 1
