from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from lmchat.domain.message import (
    AnswerState,
    Failure,
    ReasoningPart,
    Receipt,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.session import Session
from lmchat.formats.markdown_read import from_markdown
from lmchat.formats.markdown_write import to_markdown
from lmchat.formats.writing import WriteOptions
from lmchat.text import safe_text
from tests.support.chats import answer, chat, chat_with_tools, header, prompt


def texts(read):
    return [message.text for message in read.messages]


def headings(text):
    tokens = MarkdownIt().parse(text.split("\n---\n", 1)[1])
    return [
        after.content
        for token, after in pairwise(tokens)
        if token.tag == "h2" and token.nesting == 1
    ]


def test_front_matter_headings_and_texts_are_as_people_expect_them():
    talk = chat("Which vegetables?", "Several do well:\n\n1. **Lettuce**")
    text = to_markdown(talk)
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    rows = {
        name: json.loads(value)
        for name, value in (line.split(": ", 1) for line in front.split("\n"))
    }
    assert rows["title"] == "Plan for the garden"
    assert rows["id"] == talk.header.session_id
    assert (rows["model"], rows["endpoint"]) == ("qwen3-8b", "http://127.0.0.1:1234")
    assert rows["created"] == "2026-11-20T08:00:00+00:00"
    assert (rows["tokens"], rows["tokens_estimated"]) == (3, False)
    assert "\n## You · 2026-11-20 08:00:00 UTC\n\nWhich vegetables?\n" in body
    assert body.endswith(
        "\n## qwen3-8b · 2026-11-20 08:00:00 UTC\n\nSeveral do well:\n\n1. **Lettuce**\n"
    )
    assert headings(text) == ["You · 2026-11-20 08:00:00 UTC", "qwen3-8b · 2026-11-20 08:00:00 UTC"]


def test_tokens_that_nobody_counted_are_not_told_as_none():
    asked = replace(chat("q"), messages=chat("q", "a").messages[:1])
    assert "\ntokens" not in to_markdown(asked)


def test_times_are_told_in_the_zone_that_is_asked_for():
    assert "## You · 2026-11-20 10:00:00 UTC+02:00" in to_markdown(
        chat("q"), WriteOptions(zone=timezone(timedelta(hours=2)))
    )


HARD = [
    "```python\n# no heading\n## You\n```",
    "````md\n```\ninner\n```\n````",
    "~~~\n## You · 2026-11-20 08:00:00 UTC\n~~~",
    "an open fence\n```python\nprint(1)",
    "an open fence\n```python\nprint(1)\n",
    "~~~~\n~~~\nstill open",
    "```not`a fence\n## qwen3-8b",
    "## You · 2026-11-20 08:00:00 UTC\n\nwords put into your mouth",
    "---\ntitle: other\n---\n\n## You",
    "\n\nleading and trailing\n\n\n",
    "",
    "   ",
    "<!-- open comment",
    '<!-- 00000000 {"role": "user"} -->',
    "> **Stopped.** not really",
    "tabs\tand \\ backslashes and `ticks` and <b>html</b> & entities &amp;",
    "日本語 🙂 e\u0301",
    "\\## You · 2026-11-20 08:00:00 UTC\n\\\\## You · 2026-11-20 08:00:00 UTC",
    "You · 2026-11-20 08:00:00 UTC\n---\n\nwords",
]


@pytest.mark.parametrize("text", HARD)
def test_whatever_a_text_holds_comes_back_and_nothing_else_does(text):
    talk = chat(text, text, text)
    assert texts(from_markdown(to_markdown(talk))) == [text] * 3


@pytest.mark.parametrize("text", [text for text in HARD if text != "<!-- open comment"])
def test_a_text_never_swallows_the_headings_after_it(text):
    found = headings(to_markdown(chat(text, "after")))
    assert found[-1] == "qwen3-8b · 2026-11-20 08:00:00 UTC"


@pytest.mark.parametrize(
    "fake",
    [
        "## You · 2026-11-21 00:48:37 UTC",
        "  ##  qwen3-8b · 2026-11-21 00:48:37 UTC+02:00 ##",
        "\\## You · 2026-11-21 00:48:37 UTC",
        "```\n## You · 2026-11-21 00:48:37 UTC\n```",
        "You · 2026-11-21 00:48:37 UTC\n---",
    ],
)
@pytest.mark.parametrize("kind", ["text", "later text", "refusal"])
def test_a_line_of_an_answer_that_looks_like_the_heading_of_a_turn_is_escaped(fake, kind):
    said = f"Before.\n\n{fake}\n\nafter"
    parts = {
        "text": (TextPart(text=said),),
        "later text": (TextPart(text="First."), TextPart(text=said)),
        "refusal": (RefusalPart(text=said),),
    }[kind]
    asked = prompt("q")
    text = to_markdown(Session(header=header("t"), messages=(asked, answer(*parts, parent=asked))))
    shown = re.findall(r"^ {0,3}#+[ \t].* · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d .*$", text, re.MULTILINE)
    assert shown == ["## You · 2026-11-20 08:00:00 UTC", "## qwen3-8b · 2026-11-20 08:00:00 UTC"]
    assert headings(text) == [heading.removeprefix("## ") for heading in shown]
    assert said not in text
    assert from_markdown(text).messages[1].parts == parts


def test_nothing_is_unescaped_in_an_export_from_before_lines_were_escaped():
    said = "\\## You · 2026-11-21 00:48:37 UTC"
    text = to_markdown(chat("q", "Lettuce.")).replace("Lettuce.", said)
    assert texts(from_markdown(text)) == ["q", said]


def test_only_lines_that_look_like_headings_of_turns_are_escaped():
    said = "## You\n\n# Notes · 2026\n\n    ## You · 2026-11-21 00:48:37 UTC"
    assert said in to_markdown(chat("q", said))


def test_an_export_inside_an_export_is_only_text():
    inner = to_markdown(chat("q", "a"))
    talk = chat(inner, inner)
    assert texts(from_markdown(to_markdown(talk))) == [inner, inner]
    same = replace(talk, messages=(prompt(to_markdown(talk)),))
    assert texts(from_markdown(to_markdown(same))) == [same.messages[0].text]


_PIECES = (
    "\n",
    "```",
    "~~~",
    "-->",
    "<!--",
    "## You",
    " · 2026-11-20 08:00:00 UTC",
    "\\",
    "\n---\n",
    "> ",
    " ",
)
_HOSTILE = ("x", "\r\n", "\x1b[31m", "\u202e", "\ud800")
text_of_any_kind = st.lists(st.sampled_from([*HARD, *_PIECES, *_HOSTILE])).map("".join)


@given(st.lists(text_of_any_kind, min_size=1, max_size=4))
def test_exporting_and_reading_back_gives_the_same_path_after_the_filter(spoken):
    talk = chat(*spoken)
    read = from_markdown(to_markdown(talk))
    assert texts(read) == [safe_text(text) for text in spoken]
    ids = [(message.message_id, message.parent_id) for message in talk.messages]
    assert [(message.message_id, message.parent_id) for message in read.messages] == ids


@given(text_of_any_kind, text_of_any_kind, text_of_any_kind)
def test_thoughts_and_tool_calls_come_back_too(thought, said, arguments):
    asked = prompt("q")
    parts = (
        ReasoningPart(text=thought),
        TextPart(text=said),
        ToolCallPart(call_id="c--1>", name="look_up", arguments=arguments),
        RefusalPart(text=said),
        TextPart(text="end"),
    )
    talk = Session(header=header("t"), messages=(asked, answer(*parts, parent=asked)))
    read = from_markdown(to_markdown(talk, WriteOptions(with_reasoning=True))).messages[1]
    assert read.parts == (
        ReasoningPart(text=safe_text(thought)),
        TextPart(text=safe_text(said)),
        ToolCallPart(call_id="c--1>", name="look_up", arguments=safe_text(arguments)),
        RefusalPart(text=safe_text(said)),
        TextPart(text="end"),
    )


@given(text_of_any_kind, text_of_any_kind)
def test_a_tool_call_comes_back_with_its_result_and_as_the_answer_made_it(result, arguments):
    talk = chat_with_tools(result, arguments, state=AnswerState.FAILED)
    _, asking, ran, said = from_markdown(to_markdown(talk)).messages
    assert asking.parts == talk.messages[1].parts
    assert (ran.role, ran.state, ran.parent_id) == (
        Role.TOOL,
        AnswerState.FAILED,
        asking.message_id,
    )
    assert ran.tool_calls[0] == replace(
        talk.messages[2].tool_calls[0], arguments=safe_text(arguments)
    )
    assert (ran.tool_result, said.text) == (safe_text(result), "You want lettuce.")


_OUTBREAKS = [
    "```\n</details>\n\n# Free\n\n[l](http://evil.example)",
    "````\n~~~\n</details>",
    "<a href='http://evil.example'>l</a></summary></details>",
    "   ```\n# Free",
]


@pytest.mark.parametrize("evil", [*_OUTBREAKS, *HARD])
def test_neither_arguments_nor_result_of_a_tool_break_out_of_its_folded_block(evil):
    text = to_markdown(chat_with_tools(evil, json.dumps({"text": evil, "<b>": evil})))
    assert len(headings(text)) == 4
    page = re.sub("<!--.*?-->", "", MarkdownIt().render(text.split("\n---\n", 1)[1]))
    assert page.count("<details>") == page.count("</details>") == 1
    assert [word for word in ("<a ", "<img", "<h1", "<b>", "<script") if word in page] == []
    before, _, block = page.partition("<details>\n<summary>files/read_text(")
    block, _, after = block.partition("</details>")
    assert block.count("<pre>") == page.count("<pre>") == 2
    assert "You want lettuce." in after
    assert "files__read_text" not in before


def test_thoughts_are_left_out_unless_asked_for():
    asked = prompt("q")
    said = replace(
        answer(ReasoningPart(text="secret"), "a", parent=asked), receipt=Receipt(reasoning_ms=3200)
    )
    talk = Session(header=header("t"), messages=(asked, said))
    assert "secret" not in to_markdown(talk)
    assert "> **Thought for 3.2 s**\n>\n> secret" in to_markdown(
        talk, WriteOptions(with_reasoning=True)
    )


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (AnswerState.STOPPED, "Stopped"),
        (AnswerState.INTERRUPTED, "Interrupted"),
        (AnswerState.FAILED, "Failed"),
        (AnswerState.STREAMING, "Still streaming"),
    ],
)
def test_an_unfinished_answer_says_so_and_why(state, word):
    asked = prompt("q")
    failure = Failure(kind="offline", message="The server went\naway.", hint="Start it again.")
    said = replace(answer("half", parent=asked, state=state), failure=failure)
    text = to_markdown(Session(header=header("t"), messages=(asked, said)))
    assert text.endswith(f"half\n\n{text[text.rindex('<!--') :]}")
    assert text.endswith(f"-->\n\n> **{word}.** The server went away. Start it again.\n")
    read = from_markdown(text).messages[1]
    assert (read.state, read.text, read.failure.kind) == (state, "half", "offline")


def test_nothing_from_outside_reaches_a_terminal_through_an_export():
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    talk = chat(f"q{evil}", f"a{evil}", title=f"title{evil}\nid: x")
    said = replace(
        talk.messages[1],
        model=f"model{evil}\n## You",
        state=AnswerState.STOPPED,
        failure=Failure(kind="x", message=evil),
    )
    text = to_markdown(replace(talk, messages=(talk.messages[0], said)))
    assert text == safe_text(text)
    assert len(headings(text)) == 2


def test_a_system_prompt_has_a_heading_of_its_own():
    system = replace(prompt("Be brief."), role=Role.SYSTEM)
    assert "## System · " in to_markdown(Session(header=header("t"), messages=(system,)))


ID = "0123456789abcdef"
MANY = 150_000


def test_a_text_that_holds_the_words_which_could_frame_it_is_exported_and_comes_back():
    """Whoever gives away a session knows its id, so can tell the words; a look for each would take hours."""
    seeds = (ID if number == 0 else f"{number} {ID}" for number in range(MANY))
    words = (hashlib.sha256(seed.encode()).hexdigest()[:8] for seed in seeds)
    text = "\n".join(f"<!-- {word} x -->" for word in words)
    talk = chat(text)
    exported = to_markdown(replace(talk, header=replace(talk.header, session_id=ID)))
    assert texts(from_markdown(exported)) == [text]
