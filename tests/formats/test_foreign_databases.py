"""Chats of elia, oterm, parllama, llm, Jan and Open WebUI, as these programs wrote them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from lmchat.errors import FileRefused
from tests.formats.test_foreign import DATA, chats_of, facts, left_out, outline


def source(folder, name):
    """A file of the test data; a database is made of its dump."""
    if not name.endswith(".sql"):
        return DATA / name
    path = folder / name.replace(".sql", ".db")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATA / name).read_text())
    return path


CHATS = {
    "elia.sql": (
        ("Sky", "tiny-id", ("elia",), "2026-11-19 14:02:00.339692+00:00", "2026-11-19 14:02:25+00:00"),
        [
            "*system text You are a helpful assistant named Elia.",
            "*.user text Why is the sky blue?",
            "*..assistant reas Rayleigh. | text Because of Rayleigh scattering.",
            "*...user text And at dusk?",
            "*....assistant text The path is longer.",
        ],
        [],
    ),
    "oterm.sql": (
        ("Sky", "tiny", ("oterm",), "2026-11-20 12:00:00+00:00", "2026-11-20 12:00:00+00:00"),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant text Because air scatters blue light.",
            "*...user text What is in this picture?",
            "*....assistant text A cloud.",
        ],
        ["“Sky”: 1 image left out"],
    ),
    "parllama.json": (
        (
            "Sky",
            "tiny",
            ("parllama",),
            "2026-11-19 14:02:05.639706+00:00",
            "2026-11-19 14:02:05.639706+00:00",
        ),
        [
            "*system text Answer briefly.",
            "*.user text Why is the sky blue?",
            "*..assistant reas Physics. | text Because of Rayleigh scattering.",
            "*...user text What is in this picture?",
            "*....assistant text A cloud.",
        ],
        ["“Sky”: 1 image left out"],
    ),
}


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_comes_with_all_that_its_program_keeps(tmp_path, name):
    head, lines, lost = CHATS[name]
    path = source(tmp_path, name)
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
    ],
)
def test_a_damaged_message_costs_itself_only(tmp_path, name, damage):
    path = source(tmp_path, name)
    whole = chats_of(path)[0].messages
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    session = chats_of(path)[0]
    assert [one.text for one in session.messages] == [one.text for one in (*whole[:2], *whole[3:])]
    assert "damaged message" in left_out(path)[0]


@pytest.mark.parametrize("name", [name for name in CHATS if name.endswith(".sql")])
def test_a_database_without_chats_is_refused(tmp_path, name):
    path = source(tmp_path, name)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("delete from chat; delete from message")
    with pytest.raises(FileRefused, match="no readable messages"):
        chats_of(path)
