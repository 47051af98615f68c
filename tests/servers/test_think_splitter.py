from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmchat.servers.events import Rethought
from lmchat.servers.stream.think_tags import ThinkSplitter


def pieces_of(parts):
    splitter = ThinkSplitter()
    return [piece for part in parts for piece in splitter.feed(part)] + splitter.close()


def split(parts) -> tuple[str, str]:
    """Return (thought, answer), as it is in the end."""
    thought = answer = ""
    for piece in pieces_of(parts):
        if isinstance(piece, Rethought):
            thought, answer = thought + answer, ""
        else:
            is_thought, text = piece
            assert text
            thought, answer = (thought + text, answer) if is_thought else (thought, answer + text)
    return thought, answer


TABLE = {
    "no tags": ("Hello", "", "Hello"),
    "thought and answer": ("<think>hm</think>\n\nHello", "hm", "Hello"),
    "white space before": ("\n <think>hm</think>Hello", "hm", "Hello"),
    "empty thought": ("<think>\n</think>\n\nHello", "\n", "Hello"),
    "no end": ("<think>hm", "hm", ""),
    "half an end": ("<think>hm</thi", "hm</thi", ""),
    "a tag behind the thought": ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
    "tag in the answer": ("Use <think> and </think>", "", "Use <think> and </think>"),
    "end behind the thought": ("<think>a</think>b\n</think>\nc", "a", "b\n</think>\nc"),
    "only a thought": ("<think>a</think>\n", "a", ""),
    "almost an end": ("a\n</thinking>\nb", "", "a\n</thinking>\nb"),
    "end alone": ("2+2</think>\n\nFour", "2+2", "Four"),
    "end alone behind CRLF": ("2+2\r\n</think>\r\n\r\nFour", "2+2\r\n", "Four"),
    "end alone at the very end, blanks behind": ("2+2\n</think>  ", "2+2\n", ""),
    "end alone at the very beginning": ("</think>\n\nFour", "", "Four"),
    "end alone behind code": ("```py\nx\n```\nso</think>\nFour", "```py\nx\n```\nso", "Four"),
    "end alone, then talk": ("a</think>\nUse </think>\nb", "a", "Use </think>\nb"),
    "talk in a line": ("Close with </think> at the end", "", "Close with </think> at the end"),
    "talk at the end of a line": ("Close with </think>\nThen", "", "Close with </think>\nThen"),
    "talk at the start of a line": ("It is:\n</think> closes", "", "It is:\n</think> closes"),
    "talk between backticks": ("`</think>`\n", "", "`</think>`\n"),
    "talk in a span": ("`x </think>\n", "", "`x </think>\n"),
    "talk in a fence": ("```\na</think>\n```\nb", "", "```\na</think>\n```\nb"),
    "talk in indented code": ("Look:\n\n    </think>\n", "", "Look:\n\n    </think>\n"),
    "talk in a list": ("- </think>\n- x", "", "- </think>\n- x"),
    "talk of both": ("<b>x</b> <think>\na\n</think>\nb", "", "<b>x</b> <think>\na\n</think>\nb"),
    "less than": ("a < b <c </d> <t", "", "a < b <c </d> <t"),
}


def test_thought_and_answer_come_apart_wherever_the_text_is_cut():
    for name, (text, *apart) in TABLE.items():
        for parts in ([text], list(text), *([text[:at], text[at:]] for at in range(len(text)))):
            assert split(parts) == tuple(apart), name


TAGS = ("<think>", "</think>", "<", "think", ">", "</", "</th")
SOUP = st.lists(st.sampled_from([*TAGS, "a", ",", "\n", "\r\n", " ", "`", "\n```\n", "~~~"]))


@given(SOUP)
def test_no_text_is_lost_and_cuts_do_not_matter(words):
    text = "".join(words)
    thought, answer = apart = split([text])
    assert apart == split(words) == split(text)
    kept = (thought + answer).replace("<think>", "").replace("</think>", "")
    assert len(kept) <= len(text)
    for letter in "a`~,":
        assert (thought + answer).count(letter) == text.count(letter)
    if "think>" not in text:
        assert apart == ("", text)


def test_a_late_thought_is_told_once_and_at_once():
    late = [(False, "2+2"), Rethought(), (False, "Four")]
    for parts, told in (
        (["2+2", "</think>", "\n\n", "Four"], late),
        (["<think>a</think>b"], [(True, "a"), (False, "b")]),
        (["</think>\n\nFour"], [(False, "Four")]),
    ):
        assert pieces_of(parts) == told, parts
