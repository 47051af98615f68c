"""Code fences as CommonMark 4.5 defines them, and graphemes."""

from __future__ import annotations

import pytest

from lmchat.text import Fence, fence_of, graphemes, open_fence


@pytest.mark.parametrize(
    ("text", "marks"),
    [("", ""), ("```\na\n```", ""), ("```a", "```"), ("~~~~\n```\n~~~", "~~~~"), ("    ```\ncode", ""),
     ("```\n``` x", "```"), ("````\n```", "````"), ("```\na\n`````", ""), ("```\n    ```", "```")],
)  # fmt: skip
def test_an_open_fence_is_recognised(text, marks):
    fence = open_fence(text)
    assert (fence.marks if fence else "") == marks


@pytest.mark.parametrize(
    ("line", "fence"),
    [("```py title\n", Fence("", "```", "py title")), ("  ~~~~ a`b", Fence("  ", "~~~~", "a`b")),
     ("```a`b", None), ("``", None), ("text ```", None)],
)  # fmt: skip
def test_a_fence_has_marks_and_words(line, fence):
    assert fence_of(line) == fence


@pytest.mark.parametrize(
    ("text", "begins"),
    [("", []), ("ab", [(0, 1), (1, 1)]), ("e\u0301x", [(0, 1), (2, 1)]), ("🇩🇪🇫🇷", [(0, 2), (2, 2)]),
     ("✔️漢", [(0, 2), (2, 2)])],
)  # fmt: skip
def test_marks_and_flags_stay_together(text, begins):
    assert list(graphemes(text)) == begins
