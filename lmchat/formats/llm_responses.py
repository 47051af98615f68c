"""Import of the tables in which llm kept its conversations before version 0.36, checked with 0.26."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from lmchat.domain.message import Part, Receipt, Role, TextPart, ToolCallPart, ToolResultPart
from lmchat.domain.session import Session, Skipped
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    each_chat,
    foreign_session,
    left_out,
    spoken,
    time_of,
)
from lmchat.formats.sources import Tables, numbered, numbers_by

_OLD = "select * from conversations order by id"
_NOT_CONTINUED = "select * from conversations where id not in (select id from threads) order by id"
_FRAGMENTS = (
    "select content from {}_fragments f join fragments on id = fragment_id"
    ' where response_id = ? order by f."order"'
)
_ATTACHMENTS = "select count(*) from prompt_attachments where response_id = ?"
Row = dict[str, Any]


def read_responses(
    connection: sqlite3.Connection, tables: Tables, source: str, moment: datetime
) -> Iterator[Session | Skipped]:
    """Read each conversation; one that version 0.36 continued is whole in its own tables."""
    responses = _Responses(connection, tables)

    def chat(row: sqlite3.Row) -> Iterator[Session | Skipped]:
        others: Counter[str] = Counter()
        rows = list(responses.messages(row["id"], others))
        title = row["name"] or ""
        yield from left_out(title, others)
        head = ForeignChat(source=source, key=row["id"], title=title, model=row["model"])
        yield foreign_session(head, rows, moment=moment)

    chats = connection.execute(_NOT_CONTINUED if "threads" in tables else _OLD).fetchall()
    yield from each_chat(chats, chat)


def answer_facts(row: Row) -> dict[str, Any]:
    """Return time, model and figures of an answer, of a row of `responses` or of `turns`."""
    begun, spent_ms = time_of(row["datetime_utc"]), row["duration_ms"] or 0
    receipt = Receipt(
        prompt_tokens=row.get("input_tokens"),
        completion_tokens=row.get("output_tokens"),
        is_estimated=False,
        elapsed_ms=spent_ms,
        finish_reason="stop",
    )
    ended = begun and begun + timedelta(milliseconds=spent_ms)
    return {"created_at": ended, "model": row["model"], "receipt": receipt}


class _Responses:
    """Reader of responses, each with the prompt before it; several tables came in later versions."""

    def __init__(self, connection: sqlite3.Connection, tables: Tables) -> None:
        self._connection, self._tables = connection, tables
        self._of_chat = numbers_by(connection, "responses", "conversation_id")
        has_tools = "tool_calls" in tables
        self._calls = numbers_by(connection, "tool_calls", "response_id") if has_tools else {}
        self._results = numbers_by(connection, "tool_results", "response_id") if has_tools else {}

    def messages(self, chat: str, others: Counter[str]) -> Iterator[ForeignMessage]:
        """Yield the messages of a conversation in order."""
        last: str | None = None
        system = ""
        for response in numbered(self._connection, "responses", self._of_chat.get(chat, ())):
            before, system = system, self._text(response, "system", "\n\n") or system
            asked = {"created_at": time_of(response["datetime_utc"])}
            pieces = self._parts(response, system if system != before else "", others)
            for number, (role, parts) in enumerate(pieces):
                key = f"{response['id']}.{number}"
                facts = answer_facts(response) if role is Role.ASSISTANT else asked
                yield ForeignMessage(key=key, parent=last, role=role, parts=parts, **facts)
                last = key

    def _parts(
        self, response: Row, system: str, others: Counter[str]
    ) -> Iterator[tuple[Role, tuple[Part, ...]]]:
        if system:
            yield Role.SYSTEM, (TextPart(text=system),)
        for result in numbered(self._connection, "tool_results", self._results.get(response["id"], ())):
            call = ToolCallPart(call_id=result["tool_call_id"] or "", name="", arguments="")
            yield Role.TOOL, (call, ToolResultPart(text=result["output"]))
        if prompt := self._text(response, "prompt", "\n"):
            yield Role.USER, (TextPart(text=prompt),)
        if "prompt_attachments" in self._tables:
            count = self._connection.execute(_ATTACHMENTS, (response["id"],)).fetchone()[0]
            others += Counter(attachment=count)
        calls = (
            ToolCallPart(call_id=call["tool_call_id"] or "", name=call["name"], arguments=call["arguments"])
            for call in numbered(self._connection, "tool_calls", self._calls.get(response["id"], ()))
        )
        yield (
            Role.ASSISTANT,
            (*spoken(response["response"] or "", thought=response.get("reasoning") or ""), *calls),
        )

    def _text(self, response: Row, kind: str, between: str) -> str:
        """Return a prompt with the files that it borrows, which are stored once, as fragments."""
        texts: list[str] = []
        if f"{kind}_fragments" in self._tables:
            query = _FRAGMENTS.format(kind)
            texts += [row[0] for row in self._connection.execute(query, (response["id"],)).fetchall()]
        return between.join([*texts, *filter(None, [response[kind]])])
