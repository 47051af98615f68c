from __future__ import annotations

from lmchat.safe_text import safe_text
from lmchat.sessions.attached_files import (
    AttachedFile,
    draft_of,
    file_as_prompt_text,
    file_line,
    may_hold_files,
    split_draft,
    split_files,
)
from lmchat.sessions.message import FilePart
from lmchat.sessions.session import title_from

NOTES = file_as_prompt_text("notes.md", 12, "# Notes\n\n```py\n1\n```\n", "md")
DATA = file_as_prompt_text("a (1) b.csv", 5, "1,2\n3\n")


def test_a_file_holds_what_it_held_whatever_fences_stand_in_it():
    (file,) = split_files(NOTES)
    assert isinstance(file, AttachedFile)
    assert (file.size_bytes, file.text) == (12, "# Notes\n\n```py\n1\n```")


def test_a_text_that_is_made_of_files_that_never_end_is_looked_through_once():
    prompt = "x (1 bytes):\n```\n" * 50_000
    assert not may_hold_files(prompt)
    assert split_files(prompt) == [prompt]


def test_a_title_is_made_of_what_was_typed_else_of_the_name_of_the_file():
    for prompt, title in [
        (f"{NOTES}What is in it?", "What is in it?"),
        (f"What is in it?\n{NOTES}", "What is in it?"),
        (NOTES, "notes.md"),
        (f"\n{NOTES}\n{DATA}", "notes.md"),
        ("---\n> # Which  peas?", "Which peas?"),
        ("```\n---", "Untitled"),
    ]:
        assert title_from(prompt) == title


GARDEN = FilePart(name="garden.png", media_type="image/png", digest="0" * 64, size=3)


def test_only_the_line_that_lmchat_has_written_stands_for_a_file():
    line = file_line(GARDEN)
    assert split_draft(f"{line}mine") == ("mine", [GARDEN])
    visible = safe_text(line)  # as a paste of it is taken over
    assert split_draft(visible) == (visible, [])
    assert split_draft(line[1:]) == (line[1:], [])


def test_a_draft_is_taken_apart_and_put_together_with_each_text_file_in_its_place():
    notes, data = (
        FilePart(name=name, media_type="text/plain", digest=digit * 64, size=3, language="md")
        for name, digit in (("notes.md", "1"), ("data.csv", "2"))
    )
    lines = [file_line(GARDEN), "See\n", file_line(notes), file_line(data), "and\n", "say"]
    text, files = split_draft("".join(lines))
    assert text == "See\nand\nsay"
    assert [(file.name, file.place) for file in files] == [
        ("garden.png", None),
        ("notes.md", 4),
        ("data.csv", 4),
    ]
    again = split_draft(draft_of(text, files))
    assert again == (text, files)


def test_a_prompt_of_a_foreign_chat_brings_no_line_that_attaches_a_file():
    assert split_draft(draft_of(file_line(GARDEN), []))[1] == []
