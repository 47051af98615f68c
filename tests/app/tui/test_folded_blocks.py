from __future__ import annotations

from msgspec.structs import replace

from lmchat.app.tui.widgets.placeholders import Placeholders
from lmchat.core.sessions.message import FilePart
from lmchat.core.sessions.prompts import file_line


def test_the_line_of_a_file_with_a_long_name_says_what_is_left_out():
    part = FilePart(
        name=f"{'annual ' * 30}.pdf",
        media_type="application/pdf",
        digest="0" * 64,
        size=9,
        left_out="12 of 40 pages have no text: 1–5, 9, 12–15, 20, 31; 2 attached files left out: a, b",
    )
    blocks = Placeholders()
    shown = blocks.fold_files(file_line(part))
    assert shown == f"[{part.name[:59]}… (9 B of text; {part.left_out})]\n"
    assert blocks.unfold(shown) == file_line(part)


def test_a_block_is_divided_from_words_beside_it_and_from_another_of_the_same_name():
    blocks = Placeholders()
    lines = [blocks.fold(block, "a paste") for block in ("one\n", "two\n", "one\n")]
    assert lines == ["[a paste]", "[a paste #2]", "[a paste]"]
    assert blocks.unfold("see [a paste] and [a paste #2]") == "see \none\n and \ntwo"


def test_files_whose_lines_begin_alike_are_told_apart():
    part = FilePart(name="a", media_type="text/plain", digest="0" * 64, size=12)
    lines = [file_line(part), file_line(replace(part, name="a (12 B)]"))]
    blocks = Placeholders()
    shown = "".join(map(blocks.fold_files, lines))
    assert shown == "[a (12 B)]\n[a (12 B)] (12 B)]\n"
    assert blocks.unfold(shown) == "".join(lines)
