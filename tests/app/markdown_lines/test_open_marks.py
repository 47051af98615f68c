from __future__ import annotations

import pytest

from lmchat.app.markdown_lines.open_marks import completed, without_marks_alone


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("see [this](htt", "see this"),
        ("see [1](htt", "see [1]"),
        ("so **", "so "),
        ("2**n", "2**n"),
        ("run `ls", "run `ls`"),
        ("is **very*", "is **very**"),
        ("**a** *b", "**a** *b*"),
        ("text\n- ", "text"),
        ("a `long\n``` `", "a `long\n``` `"),
        ("| a | b", "| a | b\n|---|---|"),
        ("| a | b\n|-", "| a | b\n|---|---|"),
        ("| a |\n|---|\n| b", "| a |\n|---|\n| b"),
    ],
)
def test_the_open_end_of_an_answer_is_shown_as_it_will_likely_look(source, shown):
    assert completed(source) == shown


def test_rows_of_a_table_whose_head_is_above_get_no_head():
    assert completed("| a | b", is_continued=True) == "| a | b"


def test_marks_that_may_end_open_code_are_not_shown():
    assert without_marks_alone("ls\n``") == "ls"
    assert without_marks_alone("ls\n`a`") == "ls\n`a`"
