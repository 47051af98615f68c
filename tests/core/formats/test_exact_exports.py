"""Exports hold what was said, but for what a shell would run when it is pasted."""

from __future__ import annotations

import json
from html import unescape

from lmchat.base.safe_text import UNSEEN, with_line_feeds, without_controls
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.formats.exports.entries import WriteOptions
from lmchat.core.formats.exports.html import html_by_message
from lmchat.core.formats.exports.markdown_to_html_child import markdown_html
from lmchat.core.formats.exports.render import render
from lmchat.core.formats.json_sessions import from_json
from lmchat.core.sessions.message import Role, text_message
from lmchat.core.sessions.session import Session
from tests.support.chats import header

KEPT = f"{UNSEEN}\u200c\u200d\ufe0e\ufe0f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\U000e0001\U000e0041\u2028"
COMMANDS = "".join(map(chr, (*range(9), 0xB, 0xC, *range(0xE, 0x20), *range(0x7F, 0xA0))))


def test_invisible_and_reordering_characters_are_kept_in_each_format_and_commands_are_not():
    said = " ".join(f"soft{char}ware" for char in KEPT)
    evil = " ".join(f"a{char}b" for char in COMMANDS)
    message = text_message(Role.ASSISTANT, f"{said}\r\n{evil}")
    html = {message.message_id: markdown_html(without_controls(message.text))}
    session = Session(header=header(said), messages=(message,))
    for form in EXPORT_FORMATS:
        text = render(session, form, WriteOptions(html_by_id=html))
        assert not set(COMMANDS) & set(text), form
        if form == "json":
            [read] = from_json(json.loads(text)).messages
            assert read.text == message.text
        else:
            assert unescape(text).count(said) >= 2, f"title and text of {form}"


async def test_a_carriage_return_ends_a_line_in_each_export_and_stays_in_json():
    for said, listed in (
        ("1. dig\r2. sow\r\rDone.", "<ol>\n<li>dig</li>\n<li>sow</li>\n</ol>\n<p>Done.</p>"),
        ("- a\r\n- b\r\n\rEnd", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>End</p>"),
        ("```\rx = 1\r\ry\r```\r", "<pre><code>x = 1\n\ny\n</code></pre>"),
    ):
        session = Session(header=header("T"), messages=(text_message(Role.ASSISTANT, said),))
        html = await html_by_message(session)
        for form in EXPORT_FORMATS:
            text = render(session, form, WriteOptions(html_by_id=html))
            assert not {"\r", "\u240d"} & set(text), form
            if form == "json":
                assert from_json(json.loads(text)).messages[0].text == said
            elif form == "html":
                assert listed in text
            else:
                assert with_line_feeds(said).rstrip("\n") in text, form
