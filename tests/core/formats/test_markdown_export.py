from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from lmchat.base.safe_text import without_controls
from lmchat.core.formats.exports.entries import WriteOptions
from lmchat.core.formats.exports.markdown import to_markdown
from lmchat.core.formats.exports.text import to_text
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    Failure,
    Limit,
    ReasoningPart,
    Role,
)
from lmchat.core.sessions.session import Session
from tests.support.chats import answer, chat, chat_with_tools, header, prompt

YOU = "You · 2026-11-20 08:00"
MODEL = "qwen3-8b · 2026-11-20 08:00"


def body_of(text):
    """Return what follows the title."""
    return text.split("\n", 1)[1]


def headings(text):
    tokens = MarkdownIt().parse(body_of(text))
    return [
        after.content
        for token, after in pairwise(tokens)
        if token.tag == "h2" and token.nesting == 1
    ]


def session_of(*parts, **changes):
    """A prompt and its answer, which has these parts and changes."""
    asked = prompt("q")
    said = replace(answer(*parts, parent=asked), **changes)
    return Session(header=header("t"), messages=(asked, said))


def test_title_headings_and_texts_are_as_people_expect_them():
    text = to_markdown(chat("Which vegetables?", "Several do well:\n\n1. **Lettuce**"))
    assert text == (
        f"# Plan for the garden\n\n## {YOU}\n\nWhich vegetables?\n\n"
        f"## {MODEL}\n\nSeveral do well:\n\n1. **Lettuce**\n"
    )
    assert to_markdown(chat("a", title="<details> a")).startswith("# \\<details> a\n")


def test_headings_have_the_time_and_the_role():
    asked = prompt("Be brief.")
    for role, speaker in ((Role.USER, "You"), (Role.SYSTEM, "System")):
        session = Session(header=header("t"), messages=(replace(asked, role=role),))
        assert f"## {speaker} · 2026-11-20 08:00" in to_markdown(session)


HARD = [
    "```python\n# no heading\n## You\n```",
    "````md\n```\ninner\n```\n````",
    f"~~~\n## {YOU}\n~~~",
    "```html\n<!-- a comment in code\n<script>\n```",
    "an open fence\n```python\nprint(1)",
    "an open fence\n```python\nprint(1)\n",
    "~~~~\n~~~\nstill open",
    "```not`a fence\n## qwen3-8b",
    f"## {YOU}\n\nwords put into your mouth",
    "---\ntitle: other\n---\n\n## You",
    "\n\nleading and trailing\n\n\n",
    "   ",
    "<!-- open comment",
    "  <SCRIPT>\n\n",
    "<details>\n\nfolded",
    "> **Stopped.** not really",
    "tabs\tand \\ backslashes and `ticks` and <b>html</b> & entities &amp;",
]


def test_a_text_never_hides_the_messages_after_it():
    for text in HARD:
        found = headings(to_markdown(chat(text, "after")))
        assert found[-1] == MODEL
        page = MarkdownIt().render(body_of(to_markdown(chat(text, "after"))))
        assert "<details>" not in page
        assert page.rindex("after") > page.rindex(MODEL)


def test_code_is_kept_intact():
    for text in HARD[:4]:
        assert f"\n\n{text}\n\n## " in to_markdown(chat(text, "after"))


def test_other_headings_of_an_answer_stay_as_they_are():
    said = "## You\n\n# Notes · 2026\n\n    ## You · 2026-11-21 00:48\n\n<https://a.example>"
    assert said in to_markdown(chat("q", said))


_PIECES = ("\n", "```", "~~~", "-->", "<!--", "## You", " · 2026-11-20 08:00", "> ", " ")
_HOSTILE = ("x", "\r\n", "\x1b[31m", "\u202e", "\ud800")
text_of_any_kind = st.lists(st.sampled_from([*HARD, *_PIECES, *_HOSTILE])).map("".join)


@given(text_of_any_kind, text_of_any_kind)
def test_whatever_is_said_the_text_is_safe_and_the_last_message_has_its_heading(one, two):
    text = to_markdown(chat(one, two, "end"))
    assert text == without_controls(text)
    assert headings(text)[-1] == YOU


def test_neither_arguments_nor_result_of_a_tool_break_out_of_their_code():
    for evil in (
        "```\n</details>\n\n# Free\n\n[l](http://evil.example)",
        "````\n~~~\n</details>",
        "   ```\n# Free",
        *HARD,
    ):
        text = to_markdown(chat_with_tools(evil, json.dumps({"text": evil, "<b>": evil})))
        assert len(headings(text)) == 4
        page = MarkdownIt().render(body_of(text))
        assert [word for word in ("<a ", "<img", "<h1", "<b>", "<script") if word in page] == []
        assert page.count("<pre>") == 2
        assert "Tool call <code>files/read_text</code>:" in page
        assert "files__read_text" not in page


def test_thoughts_are_left_out_unless_asked_for():
    talk = session_of(ReasoningPart(text="secret"), "a", stats=AnswerStats(reasoning_ms=3200))
    assert "secret" not in to_markdown(talk)
    assert "> **Thought for 3.2 s**\n>\n> secret" in to_markdown(
        talk, WriteOptions(with_reasoning=True)
    )


def test_an_unfinished_answer_says_so_and_why():
    for state, word in (
        (AnswerState.STOPPED, "Stopped"),
        (AnswerState.INTERRUPTED, "Interrupted"),
        (AnswerState.FAILED, "Failed"),
        (AnswerState.STREAMING, "Still streaming"),
    ):
        failure = Failure(kind="offline", message="The server went\naway.", hint="Start it again.")
        text = to_markdown(session_of("half", state=state, failure=failure))
        assert text.endswith(f"half\n\n> **{word}.** The server went away. Start it again.\n")
    for stats, words in (
        (AnswerStats(finish_reason="length", limit=Limit.MAX_TOKENS), "Max tokens reached."),
        (AnswerStats(finish_reason="length"), "Token limit of the server reached."),
    ):
        talk = session_of("\nhalf", stats=stats)
        assert to_markdown(talk).endswith(f"\n\nhalf\n\n> **Cut short.** {words}\n")
        assert to_text(talk).endswith(f")\n\nhalf\n\n[Cut short. {words}]\n")


def test_branches_follow_the_path_with_the_message_above_them():
    talk = chat("one", "two")
    other = answer("Another.", parent=talk.messages[0])
    text = to_markdown(replace(talk, tree=(*talk.messages, other)))
    assert text.endswith(f"\n\n# Another branch, after “one”\n\n## {MODEL}\n\nAnother.\n")
