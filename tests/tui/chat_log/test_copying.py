from __future__ import annotations

from lmchat.domain.session import MessagePath
from lmchat.tui.widgets.chat_log.anchor import anchor_in_text, row_starts
from lmchat.tui.widgets.chat_log.copying import copied
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.selection import Selected, Unit, ends_at, message_ends
from tests.support.chat_log_app import answer, plain_page


def document_of(*texts):
    document = Document()
    document.load(MessagePath([answer(text) for text in texts]))
    document.set_page(plain_page(60))
    return document


def word_at(document, number, cell):
    ends = ends_at(document, Place(0, number, int(number > 0)), cell, Unit.WORD)
    return copied(document, Selected(ends, ends, Unit.WORD))


def test_a_word_that_is_the_whole_message_is_copied_without_its_marks():
    assert word_at(document_of("**bold**"), 0, 2) == "bold"


def test_a_word_that_is_a_whole_paragraph_is_copied_without_its_marks():
    document = document_of("**bold**\n\n*more*")
    assert word_at(document, 0, 2) == "bold"
    assert word_at(document, 1, 2) == "more"


def test_what_is_selected_whole_is_copied_without_being_laid_out():
    document = document_of(*(f"answer **{n}**" for n in range(20)))
    everything = Selected(message_ends(0), message_ends(19), Unit.MESSAGE)
    assert copied(document, everything).startswith("answer **0**\n\nanswer **1**")
    assert not list(document.entries.made_entries())


def between(document, first, last):
    """What is copied from one place to another, each a block and its characters before it."""
    for number in range(document.build(0)):
        document.lay_out_block(0, number)
    start, end = (anchor_in_text(document, 0, *place) for place in (first, last))
    return copied(document, Selected((start, start), (end, end)))


def test_a_list_directly_below_its_paragraph_is_copied_directly_below_it():
    assert between(document_of("These:\n- one\n- two"), (0, 2), (1, 2)) == "ese:\non"
    assert between(document_of("These:\n\n- one\n- two"), (0, 2), (1, 2)) == "ese:\n\non"


def test_a_copy_that_begins_behind_a_cell_or_ends_before_one_has_no_tab_for_it():
    document = document_of("| one | two | three |\n|---|---|---|\n| four | five | six |")
    document.build(0)
    document.lay_out_block(0, 0)
    head, *_, last = document.entries[0].blocks[0].lines
    assert between(document, (0, head.cells[0][1]), (0, head.cells[1][1])) == "two"
    at = row_starts(document.entries[0].blocks[0])[-2]
    assert between(document, (0, at + last.cells[1][0]), (0, at + last.cells[2][0])) == "five"


def test_an_empty_cell_at_the_end_of_a_row_is_no_tab_in_a_copy():
    document = document_of("| one | two |\n|---|---|\n| three | |\n\nAfter.")
    document.build(0)
    document.lay_out_block(0, 0)
    at = row_starts(document.entries[0].blocks[0])[-2]
    assert between(document, (0, at), (1, 2)) == "three\n\nAf"


def test_a_press_on_the_blank_row_above_a_message_selects_from_its_beginning():
    document = document_of("first", "second")
    start, end = ends_at(document, Place(1, -1, 0), 3, Unit.CHARACTER)
    assert (start.index, start.number, start.chars_before, end.chars_before) == (1, 0, 0, 0)
