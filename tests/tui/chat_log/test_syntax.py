"""What is known without the parser is what the parser would say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.tui.widgets.chat_log.markdown import parser as parsing
from lmchat.tui.widgets.chat_log.markdown.parser import parse_blocks

_WORDS = st.text(
    st.sampled_from('aZé漢9 \t.:|`*_#>-+=~[]()<!$\\&"{}🙂\u200d\u00a0\u2028\x0b\x0c\x1c\x85\n'), max_size=25
)


@given(st.sampled_from("aZé漢"), _WORDS)
@settings(max_examples=300, deadline=None)
def test_a_line_that_begins_with_a_letter_is_the_paragraph_that_the_parser_finds(letter, words):
    text = letter + words
    parser = parsing._parsers()[0]
    for shows in (False, True):
        found = parser.parse(text, {"references": {}, "shows_definitions": shows})
        told = parse_blocks(text, {}, shows_definitions=shows)
        assert [token.as_dict() for token in told] == [token.as_dict() for token in found]


def test_a_line_in_the_middle_of_an_answer_needs_no_parser(monkeypatch):
    monkeypatch.setattr(parsing, "_parsers", lambda: 1 / 0)
    assert [token.content for token in parse_blocks("Some **words** of it\n", {})] == [
        "",
        "Some **words** of it",
        "",
    ]
