from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.proxy.think import ThinkSplitter


def split(pieces) -> tuple[str, str]:
    """Return (thought, answer)."""
    splitter, out = ThinkSplitter(), []
    for piece in pieces:
        out += splitter.feed(piece)
    out += splitter.close()
    assert all(text for _, text in out)
    return "".join(text for is_thought, text in out if is_thought), "".join(
        text for it, text in out if not it
    )


TABLE = {
    "no tags": ("Hello", "", "Hello"),
    "thought and answer": ("<think>hm</think>\n\nHello", "hm", "Hello"),
    "white space before": ("\n <think>hm</think>Hello", "hm", "Hello"),
    "white space only": ("  \n", "", "  \n"),
    "white space before an answer": ("\n\n Hello", "", "\n\n Hello"),
    "empty thought": ("<think>\n</think>\n\nHello", "\n", "Hello"),
    "no end": ("<think>hm", "hm", ""),
    "half an end": ("<think>hm</thi", "hm</thi", ""),
    "half a beginning": ("<thi", "", "<thi"),
    "two thoughts": ("<think>a</think><think>b</think>Hello", "ab", "Hello"),
    "tag in the answer": ("Use <think> and </think>", "", "Use <think> and </think>"),
    "tag behind the thought": ("<think>a</think>b <think>c</think>", "a", "b <think>c</think>"),
    "only a thought": ("<think>a</think>\n", "a", ""),
    "almost a tag": ("<thinking>a", "", "<thinking>a"),
}


@pytest.mark.rule("R-17")
@pytest.mark.parametrize("name", TABLE)
def test_thought_and_answer_come_apart_wherever_the_text_is_cut(name):
    text, thought, answer = TABLE[name]
    assert split([text]) == split(text) == (thought, answer)
    for place in range(len(text)):
        assert split([text[:place], text[place:]]) == (thought, answer)


@pytest.mark.rule("R-17")
@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "think", ">", "a", "\n", " ", "</", "</th"])))
def test_no_text_is_lost_and_cuts_do_not_matter(words):
    text = "".join(words)
    assert split(words) == split([text]) == split(text)
    thought, answer = split([text])
    kept = (thought + answer).replace("<think>", "").replace("</think>", "")
    assert len(kept) <= len(text)
    if "<think>" not in text:
        assert (thought, answer) == ("", text)
