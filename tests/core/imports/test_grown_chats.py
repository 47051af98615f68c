"""A chat is imported again after it has gone on, was edited or shortened in its program."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from lmchat.core.imports import PROGRAMS
from lmchat.core.library.importer import Importer, ImportOutcome
from tests.support.chats import say


class Row(NamedTuple):
    """A message as all programs have it; of each answer the parent is the prompt before it."""

    key: str
    parent: str
    text: str

    @property
    def role(self):
        return "user" if self.text.endswith("?") else "assistant"


ASKED = Row("p1", "", "Which vegetables?")
TOLD = Row("a1", "p1", "Lettuce.")
FIRST = [ASKED, TOLD, Row("p2", "a1", "And fruit?"), Row("a2", "p2", "Plums.")]
GROWN = [*FIRST, Row("p3", "a2", "And herbs?"), Row("a3", "p3", "Dill.")]
EDITED = [ASKED, TOLD, Row("p4", "a1", "And trees?"), Row("a4", "p4", "Larches.")]


def chatgpt(rows, others):
    nodes = {
        row.key: {
            "parent": row.parent or None,
            "message": {
                "author": {"role": row.role},
                "create_time": 1,
                "content": {"content_type": "text", "parts": [row.text]},
            },
        }
        for row in (*rows, *others)
    }
    return {"conversation_id": "c", "current_node": rows[-1].key, "mapping": nodes}


def claude(rows, others):
    messages = [
        {
            "uuid": row.key,
            "parent_message_uuid": row.parent,
            "sender": "human" if row.role == "user" else row.role,
            "text": row.text,
        }
        for row in (*others, *rows)
    ]
    return {"uuid": "c", "chat_messages": messages}


def lm_studio(rows, _others):
    messages = [
        {
            "versions": [{"role": row.role, "content": [{"type": "text", "text": row.text}]}],
            "currentlySelected": 0,
        }
        for row in rows
    ]
    return {"createdAt": 1, "messages": messages}


def jan(rows, others):
    return [
        {
            "id": row.key,
            "thread_id": "c",
            "role": row.role,
            "content": [{"type": "text", "text": {"value": row.text}}],
            "metadata": {"parentId": row.parent or None},
        }
        for row in (*others, *rows)
    ]


def message_list(rows, _others):
    return {"id": "c", "messages": [{"role": row.role, "content": row.text} for row in rows]}


@pytest.mark.parametrize("form", [chatgpt, claude, lm_studio, jan, message_list])
async def test_an_import_again_brings_what_is_new_and_loses_nothing(tmp_path, store, form):
    async def imported(rows, others=()):
        records = form(rows, others)
        lines = records if isinstance(records, list) else [records]
        path = tmp_path / ("messages.jsonl" if form is jan else "chat.json")
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        outcome = ImportOutcome()
        await Importer(store, programs=PROGRAMS).import_files([str(path)], outcome)
        assert outcome.refused == []
        (chat,) = outcome.chats
        session = await store.open_session(chat.header.session_id)
        return chat, [message.text for message in session.messages]

    chat, shown = await imported(FIRST)
    assert (chat.outcome, chat.new_messages) == ("imported", 4)
    chat, shown = await imported(GROWN)
    assert (chat.outcome, chat.new_messages, chat.is_shown) == ("continued", 2, True)
    assert shown == [row.text for row in GROWN]
    chat, shown = await imported(FIRST)
    assert (chat.outcome, len(shown)) == ("present", 6)

    chat, shown = await imported(EDITED, GROWN[2:])
    assert (chat.outcome, chat.new_messages, chat.is_shown) == ("continued", 2, True)
    assert shown == [row.text for row in EDITED]
    session_id = chat.header.session_id
    everything = {message.text for message in await store.tree(session_id)}
    assert everything == {row.text for row in (*GROWN, *EDITED)}

    session = await store.open_session(session_id)
    mine = await say(store, session.header, "Mine?", session.messages[-1])
    chat, shown = await imported(
        [*EDITED, Row("p5", "a4", "And moss?"), Row("a5", "p5", "Sphagnum.")], GROWN[2:]
    )
    assert (chat.outcome, chat.new_messages, chat.is_shown) == ("continued", 2, False)
    assert shown[-1] == mine.text
    (again, _) = await imported(GROWN, EDITED[2:])
    assert again.outcome == "present"


@pytest.mark.parametrize("form", [chatgpt, claude])
async def test_chats_without_an_id_are_told_apart_by_what_they_say(tmp_path, store, form):
    chats = [form(rows, ()) for rows in (FIRST, EDITED)]
    for chat in chats:
        chat.pop("conversation_id" if form is chatgpt else "uuid")
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(chats), encoding="utf-8")
    for outcome in ("imported", "present"):
        told = ImportOutcome()
        await Importer(store, programs=PROGRAMS).import_files([str(path)], told)
        assert [chat.outcome for chat in told.chats] == [outcome] * 2
