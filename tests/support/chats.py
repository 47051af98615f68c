"""Sessions and messages for tests.

`python -m tests.support.chats PATH SESSION_ID NAME TURNS` writes whole turns into a session of a
store.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Failure,
    Limit,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    new_id,
    now,
    text_message,
)
from lmchat.core.sessions.session import MessagePath, Session, SessionHeader, title_from
from lmchat.core.storage import message_records
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


class Clock:
    """A clock that a test moves; every look is one second later, so that order is certain."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


MEASURED = AnswerStats(
    product="lm_studio",
    ttft_ms=1.0,
    prompt_tokens_per_second=1.0,
    tokens_per_second=40.0,
    prompt_tokens=1,
    completion_tokens=1,
    is_estimated=False,
    elapsed_ms=1.0,
    finish_reason="stop",
)
LM_STUDIO = "http://localhost:1234"


async def add_stats(
    store: StatsStore,
    stats: AnswerStats = MEASURED,
    *,
    model: str = "tiny",
    endpoint: str = LM_STUDIO,
    state: AnswerState = AnswerState.COMPLETE,
    stalls: int = 0,
) -> None:
    await store.add(
        new_id(),
        endpoint=endpoint,
        model=model,
        state=state,
        stats=stats,
        stalls=stalls,
    )


def header(title: str = "", *, moment: datetime = START) -> SessionHeader:
    return SessionHeader(session_id=new_id(), title=title, created_at=moment, updated_at=moment)


def prompt(text: str, parent: ChatMessage | None = None) -> ChatMessage:
    message = text_message(Role.USER, text, parent_id=parent.message_id if parent else None)
    return replace(message, created_at=START)


def answer(
    *parts: Part | str, parent: ChatMessage, state: AnswerState = AnswerState.COMPLETE
) -> ChatMessage:
    return ChatMessage(
        message_id=new_id(),
        role=Role.ASSISTANT,
        parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts),
        created_at=START,
        parent_id=parent.message_id,
        state=state,
        model="qwen3-8b",
        endpoint="http://localhost:1234",
        stats=None
        if state is AnswerState.STREAMING
        else AnswerStats(completion_tokens=3, is_estimated=False, finish_reason="stop"),
    )


def tool_message(
    result: str | None,
    *,
    parent: ChatMessage,
    arguments: str = '{"path": "notes.md"}',
    state: AnswerState = AnswerState.COMPLETE,
) -> ChatMessage:
    call = ToolCallPart(call_id="c1", name="files/read_text", arguments=arguments)
    return ChatMessage(
        message_id=new_id(),
        role=Role.TOOL,
        parts=(call,) if result is None else (call, ToolResultPart(text=result)),
        created_at=START,
        parent_id=parent.message_id,
        state=state,
        stats=None if state is AnswerState.STREAMING else AnswerStats(elapsed_ms=120.0),
    )


def chat_with_tools(
    result: str = "Buy lettuce.",
    arguments: str = '{"path": "notes.md"}',
    *,
    state: AnswerState = AnswerState.COMPLETE,
) -> Session:
    """A prompt, an answer that calls a tool, the call as it ran, and the answer after it."""
    asked = prompt("Read my notes.")
    call = ToolCallPart(call_id="c1", name="files__read_text", arguments=arguments)
    asking = answer(call, parent=asked)
    ran = tool_message(result, parent=asking, arguments=arguments, state=state)
    messages = MessagePath((asked, asking, ran, answer("You want lettuce.", parent=ran)))
    return Session(header=header("Notes"), messages=messages)


def chat(*texts: str, title: str = "Plan for the garden") -> Session:
    messages: list[ChatMessage] = []
    for index, text in enumerate(texts or ("Which vegetables?", "Lettuce.")):
        parent = messages[-1] if messages else None
        messages.append(
            answer(text, parent=parent) if index % 2 and parent else prompt(text, parent)
        )
    known = replace(header(title), model="qwen3-8b", endpoint="http://localhost:1234")
    return Session(header=known, messages=MessagePath(messages))


def list_of_exports(count: int, *texts: str) -> str:
    """Write a JSON list of so many sessions of lmchat, with these texts."""
    session = chat(*texts)
    one = to_json(replace(session, header=replace(session.header, session_id="{session}")))
    for number, message in enumerate(session.messages):
        # ids that are no hashes yet become some of each session's own
        one = one.replace(message.message_id, f"message {number}")
    return f"[{', '.join(one.replace('{session}', f'{number:016x}') for number in range(count))}]"


async def say(
    store: Store, session: SessionHeader, text: str, parent: ChatMessage | None = None
) -> ChatMessage:
    message = prompt(text, parent)
    await store.append(replace(session, title=session.title or title_from(text)), message)
    return message


async def start_session(store: Store, text: str) -> tuple[SessionHeader, ChatMessage]:
    session = header()
    return session, await say(store, session, text)


async def reply(
    store: Store, session: SessionHeader, text: str, parent: ChatMessage
) -> ChatMessage:
    message = answer(text, parent=parent)
    await store.start_answer(
        session.session_id, replace(message, parts=(), state=AnswerState.STREAMING)
    )
    await store.end_answer(session.session_id, message)
    return message


async def answered_chats(store: Store, *titles: str) -> list[str]:
    """Write a chat of one turn for each title; return their ids."""
    made = []
    for title in titles:
        session = header(title)
        await reply(
            store, session, f"answer to {title}", await say(store, session, f"about {title}")
        )
        made.append(session.session_id)
    return made


def store_at(folder: Path, clock: Clock | None = None) -> Store:
    return Store(folder / "lmchat" / "sessions.db", clock=clock or Clock())


def stats_store_at(folder: Path, clock: Clock | None = None) -> StatsStore:
    clock = clock or Clock()
    return StatsStore(store_at(folder, clock).database, clock)


async def fill(store: Store, count: int) -> None:
    """Write sessions of a prompt and an answer in one transaction: hundreds of commits take seconds."""
    talks = []
    for number in range(count):
        asked = prompt(f"prompt {number}")
        talks.append((header(asked.text), [asked, answer(f"answer {number} " * 50, parent=asked)]))
    await _write(store, talks)


async def fill_long(store: Store, count: int) -> list[ChatMessage]:
    """Write one session of so many messages, prompts and answers in turn; return them."""
    talk = [prompt("prompt 0")]
    for number in range(1, count):
        last = talk[-1]
        talk.append(
            answer(f"answer {number}", parent=last)
            if number % 2
            else prompt(f"prompt {number}", last)
        )
    await _write(store, [(header("Long"), talk)])
    return talk


async def _write(store: Store, talks: list[tuple[SessionHeader, list[ChatMessage]]]) -> None:
    def job(connection):
        for session, talk in talks:
            message_records.put_session(connection, session)
            for message in talk:
                message_records.put_message(connection, session.session_id, message)
            message_records.make_leaf(connection, session.session_id, talk[-1], START)

    await store.database.write(job)


class GatedStore(Store):
    """A store that reads what stands before the end of a session only once it is let, or not at all."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.error: LMChatError | None = None

    async def read_path(self, session_id, message_id, *, count):
        self.asked.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().read_path(session_id, message_id, count=count)


TEXT = TextPart(text="See https://example.org\n\n```py\n1\n```\n")
THOUGHT = ReasoningPart(text="They ask.")
FAILURE = Failure(kind="dropped", message="The connection broke off.")


def acted_reply(*parts, state: AnswerState = AnswerState.COMPLETE, **more) -> ChatMessage:
    return ChatMessage(
        message_id=new_id(), role=Role.ASSISTANT, parts=parts, created_at=now(), state=state, **more
    )


MESSAGES = {
    "prompt": text_message(Role.USER, "Hello"),
    "system": text_message(Role.SYSTEM, "Be brief."),
    "result of a tool": text_message(Role.TOOL, "42"),
    "answer": acted_reply(TEXT, stats=AnswerStats(finish_reason="stop")),
    "cut short": acted_reply(
        TEXT, stats=AnswerStats(finish_reason="length", limit=Limit.MAX_TOKENS)
    ),
    "second version": acted_reply(TEXT, version=2, versions=2),
    "thought only": acted_reply(THOUGHT, state=AnswerState.STOPPED),
    "stopped": acted_reply(THOUGHT, TEXT, state=AnswerState.STOPPED),
    "interrupted": acted_reply(TEXT, state=AnswerState.INTERRUPTED, failure=FAILURE),
    "failed": acted_reply(state=AnswerState.FAILED, failure=FAILURE),
    "stopped before a word": acted_reply(state=AnswerState.STOPPED),
    "streaming": acted_reply(TEXT, state=AnswerState.STREAMING),
    "call of a tool": acted_reply(ToolCallPart(call_id="1", name="add", arguments='{"a": 1}')),
}
UNFINISHED = {
    "cut short",
    "thought only",
    "stopped",
    "interrupted",
    "failed",
    "stopped before a word",
}
SENSIBLE = {
    "copy": set(MESSAGES) - {"stopped before a word"},
    "copy_code": {"answer", "cut short", "second version", "stopped", "interrupted", "streaming"},
    "edit": set(MESSAGES) - {"system", "result of a tool"},
    "rewrite": set(MESSAGES)
    - {"prompt", "system", "result of a tool", "streaming", "call of a tool"},
    "regenerate": set(MESSAGES) - {"system", "result of a tool"},
    "another_model": set(MESSAGES) - {"system", "result of a tool"},
    "resume": UNFINISHED,
    "probabilities": set(MESSAGES) - {"prompt", "system", "result of a tool", "streaming"},
    "details": set(MESSAGES) - {"prompt", "system", "result of a tool", "streaming"},
    "fork": set(MESSAGES),
    "previous_version": {"second version"},
    "next_version": {"second version"},
    "tree": set(MESSAGES),
    "source": set(MESSAGES) - {"prompt", "system", "result of a tool"},
    "links": {"answer", "cut short", "second version", "stopped", "interrupted", "streaming"},
    "fold": {"system", "result of a tool", "thought only", "stopped"},
    "pager": set(MESSAGES) - {"failed", "stopped before a word"},
    "save": set(MESSAGES) - {"failed", "stopped before a word"},
    "delete": set(MESSAGES),
}
ACTS = tuple(SENSIBLE)


async def write_turns(path: str, session_id: str, name: str, turns: str) -> None:
    store = Store(Path(path))
    session = replace(header(), session_id=session_id)
    parent = None
    for turn in range(int(turns)):
        asked = await say(store, session, f"{name} asks {turn}", parent)
        parent = await reply(store, session, f"to {name} {turn}", asked)
        await store.update_session(session_id, {"title": f"{name} {turn}"})
    await store.aclose()
    sys.stdout.write("done\n")


def faults_in(path: Path) -> str:
    """Return what SQLite finds wrong with a file, empty where it is sound."""
    with closing(sqlite3.connect(path)) as raw:
        found = [str(row[0]) for row in raw.execute("pragma integrity_check(10)")]
    return "" if found == ["ok"] else "; ".join(found)


if __name__ == "__main__":
    asyncio.run(write_turns(*sys.argv[1:]))
