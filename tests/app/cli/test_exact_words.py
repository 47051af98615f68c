"""Requests, pipes and exports hold exactly what was said."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmchat.base.safe_text import SELECTORS, UNSEEN, without_controls
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply, plain
from tests.support.scripted_server import ScriptedServer

pytestmark = [pytest.mark.timeout(120), pytest.mark.leaf("plain")]
# letters of all kinds, and what is not seen, reorders, joins, ends a line elsewhere, or is no
# letter at all
ODD = "".join(chr(code) for code in range(0xA0, 0x30000, 0x61) if not 0xD800 <= code < 0xE000) + (
    f"{UNSEEN}{SELECTORS[:3]}\u200c\u200d\u00a0\u202f\u3000\u2028\u2029\u202e\u2066\u2069\ufdd0\uffff\U000e0041"
    "🏽👨🇩🇪⚠e\u0301\u05d0\u0645ไำ한\u1112\u1161漢\U0001d538"
)
MARKS = "`*_~#>|[]()!<&;:/\\\"'-+.=$ \t"
CONTROLS = "".join(map(chr, (*range(1, 9), 0xB, 0xC, *range(0xE, 0x20), *range(0x7F, 0xA0))))
prompts = st.text(ODD + MARKS + CONTROLS, max_size=40).map(lambda text: f"p{text}q")
answers = st.text(ODD + MARKS + CONTROLS + "\n\r\0", max_size=40).map(lambda text: f"a{text}z")


@pytest.mark.slow  # fifteen chats at random, in each form
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(prompts, answers), min_size=1, max_size=6))
@example([("p\u200bq", "soft\u00adware\u202e\ufeff"), ("p \u3000 q", "```\n\x1b[2J\r\n```")])
def test_requests_pipes_and_exports_hold_exactly_what_was_said(said):
    with TemporaryDirectory() as folder, ScriptedServer() as server:
        plain(server)
        server.on(CHAT, *(chat_reply(answer) for _, answer in said))
        cli = Inside(home=Path(folder), url=server.url)
        done = cli("--plain", stdin="".join(f"{prompt}\n" for prompt, _ in said))
        assert done.stdout == "".join(f"{answer}\n" for _, answer in said)
        texts = [text for pair in said for text in pair]
        sent = [message["content"] for message in server.seen(CHAT)[-1].json["messages"]]
        # llama.cpp ends a prompt at NUL
        assert sent == [text.replace("\0", "") for text in texts[:-1]]
        exported = cli.json("export", "last", "--format", "json")
        assert [message["parts"][0]["text"] for message in exported["messages"]] == texts
        for form in ("md", "txt"):
            written = cli("export", "last", "--format", form).stdout
            position = 0
            for text in map(without_controls, texts):
                assert text in written[position:], form
                position = written.index(text, position) + len(text)
        prompt, answer = said[-1]
        assert cli.json("ask", "--json", prompt)["reply"] == answer
        assert server.seen(CHAT)[-1].json["messages"][-1]["content"] == prompt
