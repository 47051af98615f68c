"""Import of the tables of llm's conversations before version 0.36, checked with 0.26."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial

from lmchat.domain.message import FilePart, ReasoningPart, Receipt
from lmchat.formats.file_values import Record, time_of
from lmchat.formats.foreign import (
    ChatReaders,
    ForeignChat,
    MessageFacts,
    MessagePiece,
    ToolRun,
    call_of,
)
from lmchat.formats.foreign_database import ForeignDatabase

_NOT_CONTINUED = " where id not in (select id from threads)"
_FRAGMENTS = (
    "select content from {}_fragments f join fragments on id = fragment_id"
    ' where response_id = :id order by f."order"'
)
_ATTACHED = (
    'select attachment_id as id from prompt_attachments where response_id = :id order by "order"'
)
_ATTACHMENT = "select content from attachments where id = :id"


def read_responses(database: ForeignDatabase) -> ChatReaders:
    """Read each conversation; one that version 0.36 continued is whole in its own tables."""
    reader = _ResponseReader(database)
    where = _NOT_CONTINUED if "threads" in database.tables else ""
    conversations = f"select * from conversations{where} order by id"  # noqa: S608 - a constant
    for row in database.rows(conversations):
        yield partial(reader.chat, row)


def answer_facts(row: Record) -> MessageFacts:
    """Return time, model and figures of an answer, of a row of `responses` or of `turns`."""
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
    return MessageFacts(created_at=ended, model=row["model"], receipt=receipt)


class _ResponseReader:
    """Reader of responses, each with the prompt before it.

    Several tables came in later versions.
    """

    def __init__(self, database: ForeignDatabase) -> None:
        self._database = database
        self._responses = database.rows_by("responses", "conversation_id")
        self._calls = database.rows_by("tool_calls", "response_id")
        self._results = database.rows_by("tool_results", "response_id")

    def chat(self, row: Record) -> Iterator[ForeignChat]:
        chat = ForeignChat(key=row["id"], title=row["name"], model=row["model"])
        system = ""
        for response in self._responses(row["id"]):
            with chat.damage_counted():
                system = self._add(response, chat, system)
        yield chat

    def _add(self, response: Record, chat: ForeignChat, system_before: str) -> str:
        """Add a response and its prompt; return the system prompt from here on."""
        key = response["id"]
        system = self._text(response, "system", "\n\n") or system_before
        prompts: list[tuple[str, list[MessagePiece]]] = []
        if system != system_before:
            prompts.append(("system", [system]))
        for found in self._results(key):
            run = ToolRun(call=found["tool_call_id"] or "", result=found["output"])
            prompts.append(("tool", [run]))
        text = self._text(response, "prompt", "\n")
        prompts.append(("user", [*self._files(key, chat), text]))
        asked = MessageFacts(created_at=time_of(response["datetime_utc"]))
        for number, (role, pieces) in enumerate(prompts):
            chat.add(f"{key}.{number}", role, pieces, parent=chat.last, facts=asked)

        answer: list[MessagePiece] = [
            ReasoningPart(text=response.get("reasoning") or ""),
            response["response"] or "",
        ]
        answer += [
            call_of(call["tool_call_id"], call["name"], call["arguments"])
            for call in self._calls(key)
        ]
        chat.add(key, "assistant", answer, parent=chat.last, facts=answer_facts(response))
        return system

    def _files(self, response_id: str, chat: ForeignChat) -> Iterator[FilePart]:
        if "prompt_attachments" in self._database.tables:
            files = self._database.rows(_ATTACHED, id=response_id)
            yield from attached(self._database, files, chat)

    def _text(self, response: Record, kind: str, between: str) -> str:
        """Return a prompt with the files that it borrows, which are stored once, as fragments."""
        texts: list[str] = []
        if f"{kind}_fragments" in self._database.tables:
            rows = self._database.rows(_FRAGMENTS.format(kind), id=response["id"])
            texts += [row["content"] for row in rows]
        if response[kind]:
            texts.append(response[kind])
        return between.join(texts)


def attached(
    database: ForeignDatabase, files: Iterable[Record], chat: ForeignChat
) -> Iterator[FilePart]:
    """Yield the images that the database holds, and count other files."""
    has_contents = "attachments" in database.tables
    for file in files:
        rows = database.rows(_ATTACHMENT, id=file["id"]) if has_contents else []
        image = chat.image(rows[0]["content"]) if rows else None
        if image:
            yield image
        else:
            chat.omitted["attachment"] += 1
