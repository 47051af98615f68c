"""Chats of other programs, as these wrote them: their trees, thoughts, tool calls, times and models."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC

import pytest

from lmchat.errors import FileRefused
from lmchat.formats.table import OWN, PROGRAMS
from tests.support.foreign_chats import (
    CHATGPT,
    DATA,
    LLAMA_CPP,
    LM_STUDIO,
    chats_of,
    foreign_file,
    left_out,
    outline,
)

COLOUR = ["*.assistant text You said: Name a colour"]
CHATS = {
    LM_STUDIO: (
        ("Shade garden", "qwen3-8b", "lmstudio", "2025-11-18 21:06:40", "2025-11-18 21:08:10"),
        [
            "*system text Be brief.",
            " .user text Plants for shade?",
            "*.user text Three plants for shade?",
            " ..assistant text Ferns.",
            '*..assistant reas Look it up. | tool find {"for": "shade"}',
            '*...tool tool find {"for": "shade"} | tool hosta, fern',
            "*....assistant text Hosta and fern.",
            "*.....user text Thanks",
        ],
        ["“Shade garden”: 1 image left out"],
    ),
    CHATGPT: (
        (
            "Weather",
            "gpt-5-thinking",
            "chatgpt",
            "2025-11-21 04:40:00.500000",
            "2025-11-21 04:41:30.250000",
        ),
        [
            " user text Rain?",
            " .assistant text Where?",
            "*user text Rain tomorrow?",
            '*.assistant reas **Looking**\n\nBern it is. | tool web.run {"q": "Bern"}',
            '*..tool tool web.run {"q": "Bern"} | tool Rain, 9 °C',
            "*...assistant text Yes, rain.",
        ],
        ["“Weather”: 1 image left out"],
    ),
    LLAMA_CPP: (
        ("Sorting", "qwen3-8b", "llamacpp", "2025-11-22 08:26:40", "2025-11-22 08:26:49"),
        [
            "*system text Be brief.",
            "*.user text a.txt (3 bytes):\n```\n2\n1\n```\n\n\n | file b.png image/png 8 | text Sort this",
            '*..assistant reas Use the tool. | tool sort {"n": [2, 1]}',
            '*...tool tool sort {"n": [2, 1]} | tool [1, 2]',
            "*....assistant text 1, 2",
            " ..assistant reas easy | text 1 2",
        ],
        ["line 9: it is damaged"],
    ),
    "elia.sql": (
        ("Sky", "tiny-id", "elia", "2026-11-19 14:02:00.339692", "2026-11-19 14:02:25"),
        [
            "*system text You are a helpful assistant named Elia.",
            "*.user text Why is the sky blue?",
            "*..assistant reas Rayleigh. | text Because of Rayleigh scattering.",
            "*...user text And at dusk?",
            "*....assistant text The path is longer.",
        ],
        [],
    ),
    "llm.sql": (
        (
            "Why is the sky blue?",
            "tiny",
            "llm",
            "2026-11-19 15:32:23.374780",
            "2026-11-19 15:32:23.723780",
        ),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant text You said: Why is the sky blue?",
        ],
        [],
    ),
    "llm-upgraded.sql": (
        (
            "Continued by the new one",
            "tiny",
            "llm",
            "2026-11-19 15:22:36.792209",
            "2026-11-19 15:22:37.393209",
        ),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant text You said: Why is the sky blue?",
            "*...user text And at dusk?",
            "*....assistant text You said: And at dusk?",
            "*.....user text Continued by the new one",
            "*......assistant text You said: Continued by the new one",
        ],
        ["“A long fragment text that is bo…”: 1 attachment left out"],
    ),
    "open-webui.json": (
        ("Shade garden", "qwen3:8b", "openwebui", "2025-11-18 21:06:40", "2025-11-18 21:07:20"),
        [
            "*system text Be brief.",
            "*.user file image image/png 8 | text Plants for shade?",
            '*..assistant reas Look it up. | tool find {"for": "shade"}',
            '*...tool tool find {"for": "shade"} | tool hosta, fern',
            "*....assistant text Hosta and fern.",
            ' ..assistant reas No <b>.\nYes. | tool find {"for": "shade"}',
            ' ...tool tool find {"for": "shade"} | tool fern',
            " ....assistant text Ferns.",
            "*.....user text Thanks",
        ],
        ["“Shade garden”: 1 code interpreter left out"],
    ),
    "oterm.sql": (
        ("Sky", "tiny", "oterm", "2026-11-20 12:00:00", "2026-11-20 12:00:00"),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant text Because air scatters blue light.",
            "*...user file image image/png 8 | text What is in this picture?",
            "*....assistant text A cloud.",
        ],
        [],
    ),
    "jan/messages.jsonl": (
        ("Shade garden", "qwen3-8b", "jan", "2025-11-18 21:06:40", "2025-11-18 21:08:10.500000"),
        [
            "*system text Be brief.",
            "*.user text Plants for shade? | file image image/png 8",
            '*..assistant reas Look it up. | tool find {"for": "shade"}',
            '*...tool tool find {"for": "shade"} | tool hosta, fern',
            "*....assistant text Hosta and fern.",
            " ..assistant reas No search. | text Ferns.",
            "*.....user text Thanks | text \nnote.txt (8 bytes):\n```\nDry soil\n```\n",
            "*......assistant text Welcome.",
        ],
        [],
    ),
    "parllama.json": (
        ("Sky", "tiny", "parllama", "2026-11-19 14:02:05.639706", "2026-11-19 14:02:05.639706"),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant reas Physics. | text Because of Rayleigh scattering.",
            "*...user file image image/png 8 | text What is in this picture?",
            "*....assistant text A cloud.",
        ],
        [],
    ),
}
_HEAD, _LINES, _LOST = CHATS["open-webui.json"]
CHATS["open-webui.sql"] = (
    (*_HEAD[:3], *["2025-11-18 21:07:20"] * 2),
    [*_LINES[:-1], "*.....user text Thanks a lot", "*......assistant text Welcome."],
    _LOST,
)


def facts(session):
    """Return title, model, tag and both times, which are in UTC."""
    header = session.header
    assert header.created_at.tzinfo is header.updated_at.tzinfo is UTC
    times = [str(time).removesuffix("+00:00") for time in (header.created_at, header.updated_at)]
    return header.title, header.model, *header.tags, *times


def test_there_is_a_chat_of_each_program_that_the_command_line_offers():
    assert {OWN, *(head[2] for head, _, _ in CHATS.values())} == set(PROGRAMS)


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_comes_with_all_that_its_program_keeps(tmp_path, name):
    head, lines, lost = CHATS[name]
    path = foreign_file(tmp_path, name)
    session = chats_of(path)[0]
    assert facts(session) == head
    assert outline(session) == lines
    assert left_out(path) == lost
    assert chats_of(path)[0].header.session_id == session.header.session_id


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("elia.sql", "update message set role = 'robot' where id = 3"),
        ("oterm.sql", "update message set author = x'00' where id = 2"),
        ("llm-upgraded.sql", "update parts set type = 'tool_call', payload = '{' where id = 3"),
    ],
)
def test_a_damaged_message_costs_itself_only(tmp_path, name, damage):
    path = foreign_file(tmp_path, name)
    whole = chats_of(path)[0].messages
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    session = chats_of(path)[0]
    assert [message.text for message in session.messages] == [
        message.text for message in (*whole[:2], *whole[3:])
    ]
    assert "damaged message" in left_out(path)[0]


@pytest.mark.parametrize("name", [name for name in CHATS if name.endswith(".sql")])
def test_a_database_without_chats_is_refused(tmp_path, name):
    path = foreign_file(tmp_path, name)
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = connection.execute(
            "select name from sqlite_master where type = 'table'"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f"delete from {table}")  # noqa: S608 - our own data
    with pytest.raises(FileRefused, match="no readable messages"):
        chats_of(path)


def test_of_llm_come_tools_fragments_thoughts_and_forks(tmp_path):
    chats = [outline(chat) for chat in chats_of(foreign_file(tmp_path, "llm.sql"))[1:]]
    assert chats == [
        [
            "*user text Which version?",
            "*.assistant tool llm_version {}",
            "*..tool tool llm_version {} | tool 0.36",
            "*...assistant text You said: 0.36",
        ],
        [
            "*user text A long fragment text that is borrowed.\nSummarise it | file image image/png 8",
            "*.assistant text You said: A long fragment text that is borrowed.\nSummarise it ",
        ],
        [
            "*user text Name a colour",
            *COLOUR,
            "*..user text And another",
            "*...assistant text You said: And another",
        ],
        [
            "*user text Name a colour",
            *COLOUR,
            "*..user text A warm one",
            "*...assistant text You said: A warm one",
        ],
        ["*user text Think", "*.assistant reas Hm. | text Done."],
    ]


def test_of_llm_the_conversations_of_older_versions_come_once(tmp_path):
    path = foreign_file(tmp_path, "llm-upgraded.sql")
    upgraded = chats_of(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("drop table parts; drop table turns; drop table threads")
    old = chats_of(path)
    assert [len(chat.messages) for chat in upgraded] == [7, 3, 4]
    assert [len(chat.messages) for chat in old] == [5, 3, 4]
    assert [chat.header.session_id for chat in upgraded] == [chat.header.session_id for chat in old]
    assert outline(old[1])[:2] == [
        "*system text A long fragment text that is borrowed.",
        "*.user text A long fragment text that is borrowed.\nSummarise it",
    ]
    assert outline(old[2])[1:3] == [
        "*.assistant tool llm_time {}",
        "*..tool tool llm_time {} | tool 0.26",
    ]
    last = old[0].messages[-1]
    assert (str(last.created_at), last.receipt.completion_tokens) == (
        "2026-11-19 15:22:05.821322+00:00",
        2,
    )


def test_of_jan_comes_a_thread_that_was_never_edited_without_its_broken_lines(tmp_path):
    rows = [json.loads(line) for line in (DATA / "jan" / "messages.jsonl").read_text().splitlines()]
    for row in rows:
        row["metadata"] = {}
    lines = [
        *map(json.dumps, rows[:2]),
        json.dumps(rows[3] | {"role": "robot"}),
        json.dumps(rows[4]),
        '{"id": "m6", "thr',
    ]
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(lines))
    (session,) = chats_of(path)
    assert outline(session)[-1] == "*....assistant text Welcome."
    assert ["1 damaged message" in left_out(path)[0], left_out(path)[1:]] == [
        True,
        ["line 5: it is damaged"],
    ]
    path.write_text(lines[0])
    assert outline(chats_of(path)[0]) == ["*user text Plants for shade? | file image image/png 8"]


def test_of_open_webui_the_rows_of_messages_are_newer_than_the_chat(tmp_path):
    path = foreign_file(tmp_path, "open-webui.sql")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            """update chat_message set content = '"Thank you"' where id like '%-m4'"""
        )
        connection.execute("update chat set archived = 1, pinned = 1")
        chat = json.loads(connection.execute("select chat from chat").fetchone()[0])
        del chat["history"]["messages"]["m2"]
        connection.execute("update chat set chat = ? where id = 'chat-id-1'", (json.dumps(chat),))
    (session,) = chats_of(path)
    assert [message.text for message in session.messages][-3:] == [
        "Hosta and fern.",
        "Thank you",
        "Welcome.",
    ]
    assert (session.header.is_archived, session.header.is_pinned) == (True, True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("drop table chat_message")
    assert [message.text for message in chats_of(path)[0].messages] == [
        "Be brief.",
        "Thanks a lot",
        "Welcome.",
    ]


def test_of_open_webui_a_thought_with_a_reference_to_no_character_stays_as_it_is(tmp_path):
    value = json.loads((DATA / "open-webui.json").read_text())
    messages = value[0]["chat"]["history"]["messages"]
    thought = "1 &#60; 2 &#" + "1" * 5_000 + ";"
    messages["m4"] |= {
        "role": "assistant",
        "content": f'<details type="reasoning" done="true">\n{thought}\n</details>\nYes.',
    }
    path = tmp_path / "open-webui.json"
    path.write_text(json.dumps(value))
    thoughts = [message.reasoning for session in chats_of(path) for message in session.messages]
    assert thought.replace("&#60;", "<") in thoughts
