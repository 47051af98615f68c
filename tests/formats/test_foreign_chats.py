"""Chats of other programs, as these wrote them: their trees, thoughts, tool calls, times and models."""

from __future__ import annotations

from datetime import UTC

import pytest

from lmchat.formats.imports.programs import OWN, PROGRAM_NAMES
from tests.support.foreign_chats import (
    CHATGPT,
    LLAMA_CPP,
    LM_STUDIO,
    chats_of,
    foreign_file,
    left_out,
    outline,
)

FOUND = '> Tool call: find("shade")\n\n> Result: hosta, fern\n\nHosta and fern.'
COLOUR = ["*.assistant text You said: Name a colour"]
CHATS = {
    LM_STUDIO: (
        ("Shade garden", "qwen3-8b", "lmstudio", "2025-11-18 21:06:40", "2025-11-18 21:08:10"),
        [
            "*system text Be brief.",
            " .user text Plants for shade?",
            "*.user text Three plants for shade?",
            " ..assistant text Ferns.",
            f"*..assistant reas Look it up. | text {FOUND}",
            "*...user text Thanks",
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
            (
                "*.assistant reas **Looking**\n\nBern it is. | text "
                '> Tool call: web.run("Bern")\n\n> Result: Rain, 9 °C\n\nYes, rain.'
            ),
        ],
        ["“Weather”: 1 image left out"],
    ),
    LLAMA_CPP: (
        ("Sorting", "qwen3-8b", "llamacpp", "2025-11-22 08:26:40", "2025-11-22 08:26:49"),
        [
            "*system text Be brief.",
            "*.user file b.png image/png 8 | text a.txt (3 bytes):\n```\n2\n1\n```\n\n\nSort this",
            (
                "*..assistant reas Use the tool. | text "
                "> Tool call: sort([2, 1])\n\n> Result: [1, 2]\n\n1, 2"
            ),
            " ..assistant reas easy | text 1 2",
        ],
        ["line 9: it is damaged"],
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
    "open-webui.json": (
        ("Shade garden", "qwen3:8b", "openwebui", "2025-11-18 21:06:40", "2025-11-18 21:07:20"),
        [
            "*system text Be brief.",
            "*.user file image image/png 8 | text Plants for shade?",
            f"*..assistant reas Look it up. | text {FOUND}",
            (" ..assistant reas No <b>.\nYes. | text Ferns."),
            "*...user text Thanks",
        ],
        ["“Shade garden”: 1 code interpreter, 1 tool call left out"],
    ),
    "jan/messages.jsonl": (
        ("Shade garden", "qwen3-8b", "jan", "2025-11-18 21:06:40", "2025-11-18 21:08:10.500000"),
        [
            "*system text Be brief.",
            "*.user file image image/png 8 | text Plants for shade?",
            f"*..assistant reas Look it up. | text {FOUND}",
            " ..assistant reas No search. | text Ferns.",
            "*...user text Thanks\n\nnote.txt (8 bytes):\n```\nDry soil\n```\n",
            "*....assistant text Welcome.",
        ],
        [],
    ),
}


def facts(session):
    """Return title, model, tag and both times, which are in UTC."""
    header = session.header
    assert header.created_at.tzinfo is header.updated_at.tzinfo is UTC
    times = [str(time).removesuffix("+00:00") for time in (header.created_at, header.updated_at)]
    return header.title, header.model, *header.tags, *times


def test_there_is_a_chat_of_each_program_that_the_command_line_offers():
    assert {OWN, *(head[2] for head, _, _ in CHATS.values())} == set(PROGRAM_NAMES)


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_comes_with_all_that_its_program_keeps(tmp_path, name):
    head, lines, lost = CHATS[name]
    path = foreign_file(tmp_path, name)
    session = chats_of(path)[0]
    assert facts(session) == head
    assert outline(session) == lines
    assert left_out(path) == lost
    assert chats_of(path)[0].header.session_id == session.header.session_id


def test_of_llm_come_tools_fragments_thoughts_and_forks(tmp_path):
    chats = [outline(chat) for chat in chats_of(foreign_file(tmp_path, "llm.sql"))[1:]]
    assert chats == [
        [
            "*user text Which version?",
            "*.assistant text > Tool call: llm_version()\n\n> Result: 0.36\n\nYou said: 0.36",
        ],
        [
            "*user file image image/png 8 | text A long fragment text that is borrowed.\nSummarise it",
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
