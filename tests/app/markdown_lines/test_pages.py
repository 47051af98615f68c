from __future__ import annotations

from rich.style import Style

from tests.support.chat_log_app import plain_page


def test_keys_are_shown_in_a_row_with_the_focus_only_if_they_have_room():
    def hint_of(words: str) -> str:
        left, right, keys = ((text, Style.null()) for text in (words, "12:30", "c copy  "))
        *_, end = plain_page(40).row([left], [right], keys=[keys])
        return "".join(segment.text for segment in end.hint or ())

    assert "c copy  12:30" in hint_of("A short row")
    assert hint_of("A row that ends near the end") == ""


def test_the_end_of_a_row_has_a_row_of_its_own_if_it_lacks_room():
    def rows_of(words: str) -> list[str]:
        lines = plain_page(40).row([(words, Style.null())], [(" 12:30", Style.null())])
        return ["".join(segment.text for segment in line.segments).strip() for line in lines]

    assert rows_of("a" * 31) == ["a" * 31 + " 12:30"]
    assert rows_of("a" * 32) == ["a" * 32, "12:30"]


def test_of_a_row_with_too_many_pieces_the_first_stay_whole_and_the_last_go():
    pieces = [[(f" {word * 9}", Style.null())] for word in "abcd"]
    row = plain_page(40).fitted_row(pieces)
    assert "".join(segment.text for segment in row.segments).split() == ["a" * 9, "b" * 9, "c" * 9]
    row = plain_page(40).fitted_row([[("a" * 41, Style.null())]])
    assert "".join(segment.text for segment in row.segments).strip() == "a" * 36 + "…"
