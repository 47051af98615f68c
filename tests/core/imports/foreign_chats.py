"""Files of other programs with chats, and what is read of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from lmchat.base.errors import FileRefused
from lmchat.core.formats import reader
from lmchat.core.imports import PROGRAMS
from lmchat.core.sessions.session import Skipped

read_chats = partial(reader.read_chats, programs=PROGRAMS)
DATA = Path(__file__).parent / "data" / "foreign"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LM_STUDIO = "1763500000000.conversation.json"
CHATGPT = "conversations-000.json"
LLAMA_CPP = "llama_cpp.jsonl"
FILES = (
    LM_STUDIO,
    CHATGPT,
    LLAMA_CPP,
    "llm.sql",
    "open-webui.json",
    "claude.json",
    "jan/messages.jsonl",
)


def foreign_file(folder, name):
    """Return a file of the test data; a database is made of its dump."""
    path = DATA / name
    if path.suffix != ".sql":
        return path
    database = folder / f"{path.stem}.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(path.read_text(encoding="utf-8"))
    return database


def chats_of(path):
    return read_file(path)[0]


def left_out(path):
    return read_file(path)[1]


def read_text(text):
    """Return the sessions of a text, and what was left out of it."""
    return read_data(text.encode())


def read_data(data, *, moment=NOW):
    return _sorted_out(read_chats("-", data, now=moment))


def read_file(path, *, source="auto", now=NOW):
    return _sorted_out(read_chats(str(path), path, now=now, wanted=source))


def read_to_a_hole(path):
    """Return the sessions of a file that is damaged within, and the message about that."""
    sessions = []
    with pytest.raises(FileRefused) as caught:
        sessions.extend(read_chats("x", path, now=NOW))
    return sessions, caught.value.message.removeprefix("x: ")


def _sorted_out(found):
    """Return the sessions, and what was left out."""
    sessions = []
    lost = []
    for item in found:
        parts = [item] if isinstance(item, Skipped) else item.skipped
        lost += [f"{part.where}: {part.reason}" for part in parts]
        if not isinstance(item, Skipped):
            sessions.append(item)
    return sessions, lost


def read_value(value):
    return read_text(json.dumps(value))


def lines_of(name):
    return [
        line
        for line in (DATA / name).read_text(encoding="utf-8").splitlines()
        if line.endswith("}")
    ]


def outline(session):
    """Return the tree as lines: an asterisk for the path, the depth as points, the role, the parts."""
    depths = {None: -1}
    path = {message.message_id for message in session.messages}
    lines = []
    for message in session.tree or session.messages:
        depths[message.message_id] = depths[message.parent_id] + 1
        parts = " | ".join(" ".join(map(str, _values(part))) for part in message.parts)
        mark = "*" if message.message_id in path else " "
        lines.append(f"{mark}{'.' * depths[message.message_id]}{message.role} {parts}")
    return lines


def _values(part):
    values = (
        getattr(part, name) for name in part.__struct_fields__ if name not in ("call_id", "digest")
    )
    return [type(part).__name__.removesuffix("Part")[:4].lower(), *filter(None, values)]
