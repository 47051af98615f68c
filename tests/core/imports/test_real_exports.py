"""Exports that the programs themselves wrote, beside what is read of them.

Open WebUI 0.12.4, llm 0.36 and llm 0.27 with the database that 0.36 then opened: real programs
with a small real model. llama.cpp: the export code of its pages of May and June 2026.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.core.imports.foreign_chats import foreign_file, outline, read_file

EXPORTS = Path(__file__).parent / "data" / "exports"
NAMES = sorted(path.name for path in EXPORTS.iterdir() if path.suffix != ".txt")


def told(path):
    """Return all that is read of a file as text."""
    sessions, lost = read_file(path, now=datetime(2026, 12, 1, tzinfo=UTC))
    lines = [f"- {words}" for words in lost]
    for session in sessions:
        header = session.header
        times = f"{header.created_at:%Y-%m-%d %H:%M:%S} {header.updated_at:%Y-%m-%d %H:%M:%S}"
        lines += ["", f"# {header.title}", f"{header.session_id} {header.model} {times}"]
        for message, line in zip(session.messages, outline(session), strict=True):
            failure = f" [{message.state}]" if message.state != "complete" else ""
            lines.append(line.replace("\n", "\\n") + failure)
    return "\n".join(lines) + "\n"


def test_there_is_what_is_read_of_each_export():
    assert {path.stem for path in EXPORTS.glob("*.txt")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_export_that_a_program_wrote_is_read_whole(tmp_path, name):
    path = foreign_file(tmp_path, EXPORTS / name)
    assert told(path) == (EXPORTS / f"{name}.txt").read_text(encoding="utf-8")
