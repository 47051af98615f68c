from __future__ import annotations

from msgspec.structs import replace

from lmchat.base.safe_text import safe_text
from lmchat.core.sessions.message import FilePart
from lmchat.core.sessions.prompts import (
    PendingFiles,
    PendingPrompt,
    Prompt,
    file_line,
    split_draft,
    without_file_lines,
)
from lmchat.core.sessions.session import title_from


def test_a_title_is_the_first_line_without_marks():
    for prompt, title in [
        ("\nWhat is in it?\nTell me.", "What is in it?"),
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
    outside = file_line(replace(GARDEN, digest="../../.ssh/id_rsa"))
    assert split_draft(outside) == (outside, [])


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
    again = split_draft(Prompt(text, tuple(files)).draft)
    assert again == (text, files)


def test_a_prompt_of_a_foreign_chat_brings_no_line_that_attaches_a_file():
    line = file_line(GARDEN)
    assert split_draft(Prompt(line).draft)[1] == []
    assert split_draft(without_file_lines(line))[1] == []


def test_a_file_takes_the_place_of_its_own_name_and_not_of_a_longer_one_behind_it():
    for draft, words in [
        ("See @p and @pl", "See peas.md and @pl"),
        ("See @plan, or @p", "See @plan, or peas.md"),
        ("See @p, or @plan", "See peas.md, or @plan"),
        ("See @p. And @p.md", "See peas.md. And @p.md"),
        ("See @p!", "See peas.md!"),
        ("See @p, @p", "See @p, peas.md"),
        ("See @p, or x@p", "See peas.md, or x@p"),
        ("@p", "peas.md"),
        ("See @bea", "See @bea"),  # typed while the file was read
    ]:
        files = PendingFiles(PendingPrompt(), "peas.md", "@p", "peas.md")
        assert files.put_into(draft, ["FILE\n"]) == f"FILE\n{words}", draft
    for draft, words in [("@p sum up", "sum up"), ("@p @pl", "@pl"), ("@p", "")]:
        files = PendingFiles(PendingPrompt(), "peas.md", "@p")
        assert files.put_into(draft, ["FILE\n"]) == f"FILE\n{words}", draft
