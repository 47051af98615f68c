from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.base.safe_text import without_controls
from lmchat.core.formats import json_sessions
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.formats.exports.entries import WriteOptions
from lmchat.core.formats.exports.html import html_by_message
from lmchat.core.formats.exports.markdown_to_html_child import markdown_html
from lmchat.core.formats.exports.render import export_name, render, short_name
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    Failure,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.core.sessions.session import Session
from tests.support.chats import START, answer, chat, chat_with_tools, header, prompt

EVIL = "\x1b[31m\x00\u202e\ud800 <script>alert(1)</script> ![x](http://evil.example/p.png) "
EVIL += "[l](javascript:alert(1))"


def talk(text=EVIL, *more):
    asked = prompt(text)
    said = answer(
        ReasoningPart(text=f"hm {text}"),
        TextPart(text=f"{text}\n\n```html\n<b>\n```"),
        ToolCallPart(call_id="c", name="<look>", arguments='{"<": 1}'),
        *more,
        parent=asked,
        state=AnswerState.INTERRUPTED,
    )
    said = replace(
        said,
        failure=Failure(
            kind="offline", message=f"gone {text}", hint="Start it.", details="d", failure_id="ab12"
        ),
        stats=AnswerStats(
            ttft_ms=210.5, tokens_per_second=42.1, completion_tokens=312, reasoning_ms=3200.0
        ),
        version=2,
        versions=3,
    )
    head = replace(
        header(f"Title {text}"), deleted_at=START, is_pinned=True, parent_id="0123456789abcdef"
    )
    return Session(header=head, messages=(asked, said))


def html_of(session, *, with_reasoning=False):
    """Return a page whose messages are converted from Markdown."""
    html_by_id = {
        message.message_id: markdown_html(without_controls(message.text))
        for message in session.messages
    }
    return render(
        session, "html", WriteOptions(with_reasoning=with_reasoning, html_by_id=html_by_id)
    )


def from_json(text):
    return json_sessions.from_json(json.loads(text))


@given(st.text(st.characters()))
def test_json_is_lossless_whatever_was_said(text):
    session = talk(text, RefusalPart(text=text), ToolResultPart(text=text))
    assert from_json(to_json(session)) == session


def test_further_fields_of_a_call_are_in_the_json_and_only_where_there_are_any():
    call = ToolCallPart(call_id="d", name="look", arguments="{}", others='{"trace": "t-91"}\n')
    session = talk("Look", call)
    text = to_json(session)
    assert from_json(text) == session
    assert text.count('"others"') == 1


def test_json_holds_nothing_that_a_terminal_obeys():
    text = to_json(talk())
    assert text.isascii()
    assert json.loads(text)["lmchat"] == 1


def test_json_of_a_newer_version_with_more_fields_is_read():
    data = json.loads(to_json(talk()))
    data["session"]["mood"] = data["messages"][1]["receipt"]["joules"] = 1
    assert from_json(json.dumps(data)).messages[1].stats == talk().messages[1].stats


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.links = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_runs_nothing_loads_nothing_and_shows_all():
    text = html_of(talk(), with_reasoning=True)
    page = Page()
    page.feed(text)
    assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
    assert [link for link in page.links if not link.startswith("http://evil.example")] == []
    assert "default-src 'none'" in text
    shown = "".join(page.text)
    assert "<script>alert(1)</script>" in shown
    assert "Thought for 3.2 s" in shown
    assert "Interrupted." in shown
    assert "<look>" in shown
    assert text == without_controls(text)


async def test_markdown_that_takes_too_long_costs_its_message_the_form_only():
    session = chat("Make *this* bold.")
    html = await html_by_message(session)
    assert "<em>this</em>" in render(session, "html", WriteOptions(html_by_id=html))
    html = await html_by_message(session, longest_s=0)
    assert "<pre>Make *this* bold.</pre>" in render(session, "html", WriteOptions(html_by_id=html))


@pytest.mark.slow
async def test_markdown_behind_one_that_takes_too_long_has_its_form():
    slow, next_one = chat("[a](" * 1_000_000), chat("Next.")
    session = replace(slow, messages=(*slow.messages, *next_one.messages))
    assert [*await html_by_message(session)] == [next_one.messages[0].message_id]


def test_plain_text_has_names_times_and_endings():
    text = render(talk("hello"), "txt", WriteOptions(with_reasoning=True))
    assert text.startswith(
        "Title hello\n===========\n\nYou (2026-11-20 08:00)\n\nhello\n\nqwen3-8b ("
    )
    assert "[Thought for 3.2 s]\nhm hello\n" in text
    assert text.endswith('[Tool call <look>]\n{"<": 1}\n\n[Interrupted. gone hello. Start it.]\n')


def test_plain_text_shows_a_tool_call_once_and_its_result_set_apart():
    text = render(chat_with_tools("Buy lettuce.\n\nYou (2026-11-20)\x1b[2J"), "txt")
    assert "files__read_text" not in text
    assert (
        '\n\nTool (2026-11-20 08:00)\n\n[files/read_text("notes.md")]\n    Buy lettuce.\n\n'
        "    You (2026-11-20)" in text
    )
    assert text == without_controls(text)
    failed = render(chat_with_tools("No such file.", state=AnswerState.FAILED), "txt")
    assert '("notes.md")]\n    No such file.\n\n[Failed.]\n' in failed


def test_the_page_folds_a_tool_call_and_its_result_and_escapes_both():
    text = html_of(chat_with_tools(EVIL, json.dumps({"path": EVIL})))
    page = Page()
    page.feed(text)
    assert (page.tags.count("details"), page.links) == (1, [])
    assert not {"script", "img", "a"} & set(page.tags)
    assert "".join(page.text).count("<script>alert(1)</script>") == 3  # summary, arguments, result
    assert text == without_controls(text)


def test_the_heading_of_a_branch_after_a_tool_call_names_the_call():
    talk = chat_with_tools()
    other = answer("Another answer.", parent=talk.messages[2])
    text = render(replace(talk, tree=(*talk.messages, other)), "txt")
    assert 'Another branch, after “files/read_text("notes.md")”' in text


def test_every_format_is_safe_utf_8_and_takes_an_empty_session():
    session = talk()
    asked, said = session.messages
    evil = replace(session, messages=(asked, replace(said, model=f"model {EVIL}\n## You")))
    for form in EXPORT_FORMATS:
        text = render(evil, form, WriteOptions(with_reasoning=True))
        assert text == without_controls(text), form
        assert text.encode()
        assert render(Session(header=header()), form).encode()


def test_file_names_are_safe_and_told_apart_by_the_id():
    for title, name in (
        ("Plan for the garden", "Plan-for-the-garden"),
        ("../../etc/passwd", "etc-passwd"),
        ('a/b\\c:d*e?f"g<h>i|j', "a-b-c-d-e-f-g-h-i-j"),
        ("\x1b[31m\u202e", "31m"),
        ("...", "session"),
        ("-rf", "rf"),
        ("", "session"),
        ("CON", "CON"),
        ("Übung für 日本語", "Übung-für-日本語"),
        ("हिन्दी में", "हिन्दी-में"),
        ("x" * 300, "x" * 50),
    ):
        session = Session(header=replace(header(title), session_id="0123456789abcdef"))
        assert export_name(session) == f"{name}-01234567.md"
        assert export_name(session, form="html").endswith(".html")
        assert not set(name) & set('/\\:*?"<>|\x1b\u202e\ufffd .')


def test_a_short_name_ends_with_a_word_and_is_valid_on_every_system():
    for title, name in (
        ("Plan for the garden", "plan-for-the-garden"),
        ("Which vegetables grow in half shade?", "which-vegetables-grow-in"),
        ("Donaudampfschifffahrtsgesellschaft", "donaudampfschifffahrtsge"),
        ("Éclairs: ça va/../..\\x", "éclairs-ça-va-x"),
        ("茶の木 と 豆", "茶の木-と-豆"),
        ("LPT1", "lpt1-session"),
        ("", "session"),
    ):
        session = Session(header=header(title))
        assert short_name(session) == name
