"""Import of the tables in which llm kept its conversations before version 0.36, checked with 0.26."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from lmchat.domain.message import FilePart, ReasoningPart, Receipt
from lmchat.formats.foreign import Chats, ForeignChat, Step, call_of, time_of
from lmchat.formats.sources import ForeignDatabase, Row, RowsBy

SOURCE = "llm"
_NOT_CONTINUED = " where id not in (select id from threads)"
_FRAGMENTS = (
    "select content from {}_fragments f join fragments on id = fragment_id"
    ' where response_id = :id order by f."order"'
)
_ATTACHED = (
    'select attachment_id as id from prompt_attachments where response_id = :id order by "order"'
)


def read_responses(database: ForeignDatabase) -> Chats:
    """Read each conversation; one that version 0.36 continued is whole in its own tables."""
    responses = database.rows_by("responses", "conversation_id")
    tools = (
        database.rows_by("tool_calls", "response_id"),
        database.rows_by("tool_results", "response_id"),
    )
    where = _NOT_CONTINUED if "threads" in database.tables else ""
    for row in database.rows(f"select * from conversations{where} order by id"):  # noqa: S608 - a constant
        yield partial(_chat, database, row, responses(row["id"]), tools)


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


def _chat(
    database: ForeignDatabase, row: Row, responses: Iterator[Row], tools: tuple[RowsBy, RowsBy]
) -> Iterator[ForeignChat]:
    """Read responses, each with the prompt before it; several tables came in later versions."""
    chat = ForeignChat(source=SOURCE, key=row["id"], title=row["name"], model=row["model"])
    system = ""
    for response in responses:
        with chat.damage_counted():
            system = _add_response(database, response, chat, tools, system)
    yield chat


def _add_response(
    database: ForeignDatabase,
    response: Row,
    chat: ForeignChat,
    tools: tuple[RowsBy, RowsBy],
    before: str,
) -> str:
    """Add a response and its prompt; return the system prompt from here on."""
    calls, results = tools
    key, time = response["id"], time_of(response["datetime_utc"])
    system = _text(database, response, "system", "\n\n") or before
    asked: list[tuple[str, list[Step]]] = [("system", [system])] if system != before else []
    asked += [("tool", [(found["tool_call_id"] or "", found["output"])]) for found in results(key)]
    files = database.rows(_ATTACHED, id=key) if "prompt_attachments" in database.tables else ()
    asked.append(
        ("user", [*attached(database, files, chat), _text(database, response, "prompt", "\n")])
    )
    for number, (role, steps) in enumerate(asked):
        chat.add(f"{key}.{number}", role, steps, parent=chat.last, created_at=time)
    steps = [ReasoningPart(text=response.get("reasoning") or ""), response["response"] or ""]
    steps += [call_of(call["tool_call_id"], call["name"], call["arguments"]) for call in calls(key)]
    chat.add(key, "assistant", steps, parent=chat.last, **answer_facts(response))
    return system


def attached(
    database: ForeignDatabase, files: Iterable[Row], chat: ForeignChat
) -> Iterator[FilePart]:
    """Yield the images that the database holds, and count other files."""
    for file in files:
        query = "select content from attachments where id = :id"
        rows = database.rows(query, id=file["id"]) if "attachments" in database.tables else ()
        if image := next((chat.image(row["content"]) for row in rows), None):
            yield image
        else:
            chat.omitted["attachment"] += 1


def _text(database: ForeignDatabase, response: Row, kind: str, between: str) -> str:
    """Return a prompt with the files that it borrows, which are stored once, as fragments."""
    texts: list[str] = []
    if f"{kind}_fragments" in database.tables:
        texts += [
            row["content"] for row in database.rows(_FRAGMENTS.format(kind), id=response["id"])
        ]
    return between.join([*texts, *filter(None, [response[kind]])])
