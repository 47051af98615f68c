"""Code is plain until its colours arrive."""

from __future__ import annotations

import pytest

from lmchat.app.markdown_lines.highlighter import Colours
from tests.support.chat_log_app import (
    highlighted,
    pour,
    streaming,
)

pytestmark = pytest.mark.timeout(120)


def styles_of(log, words):
    return {
        str(segment.style.color)
        for strip in log.render_lines(log.size.region)
        for segment in strip
        if words in segment.text
    }


def colour_of(log, name):
    return str(log.get_component_rich_style(f"chat-log--{name}", partial=True).color)


async def test_code_of_an_answer_that_streams_is_coloured_before_its_fence_ends(log):
    log.start_answer(streaming())
    await pour(log, "```python\nif True:\n    pass  # so")
    await highlighted(log)
    assert styles_of(log, "# so") == {colour_of(log, "comment")}
    await pour(log, " it goes on\nwhile")
    assert styles_of(log, "# so") == {colour_of(log, "comment")}
    await highlighted(log)
    assert styles_of(log, "while") == {colour_of(log, "keyword")}


def test_colours_of_so_much_code_stay_known():
    colours = Colours()
    texts = [f"# {number}" + "a" * 99_000 for number in range(6)]
    for text in texts:
        colours.of("python", text)
        colours.put(("python", text), b"\1" * len(text))
    assert colours.of("python", texts[-1])
    assert colours.newest_request is None
    colours.of("python", texts[0])
    assert colours.newest_request == ("python", texts[0])
