"""Exports of texts that keep a Markdown parser busy: each ends, and holds the text."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from html import escape
from time import process_time

import pytest

from lmchat.domain.session import Session
from lmchat.formats.writing import WriteOptions, render
from lmchat.services.exporting import ExportAs, Exporter
from lmchat.services.markdown_pages import MarkdownPages
from lmchat.text import safe_text
from tests.support.chats import chat, store_at
from tests.support.hostile_files import TEXTS
from tests.support.machine_speed import processor_limit_s, without_collections
from tests.support.programs import children_of, is_running, until

SLOW = "brackets"  # takes minutes
_MEGABYTE_S = 2.0


@pytest.mark.parametrize("form", ["md", "txt", "json"])
def test_a_megabyte_of_any_text_is_exported_in_two_seconds(form):
    slow = {}
    for name, text in TEXTS.items():
        with without_collections():
            before_s = process_time()
            render(chat(text), form)
            spent_s = process_time() - before_s
        if spent_s > processor_limit_s(_MEGABYTE_S):
            slow[name] = spent_s
    assert slow == {}


async def test_a_message_that_takes_too_long_is_plain_text_and_the_others_are_pages():
    session = chat("**bold**", TEXTS[SLOW], "*slanted*")
    async with aclosing(MarkdownPages(longest_s=1.0)) as converter:
        pages = await converter.html_of(session)
    html = render(session, "html", WriteOptions(pages=pages))
    assert "<strong>bold</strong>" in html
    assert "<em>slanted</em>" in html
    assert f"<pre>{escape(safe_text(TEXTS[SLOW]))}</pre>" in html


async def test_after_three_slow_messages_the_other_long_ones_are_not_tried():
    session = chat(*[TEXTS[SLOW]] * 3, "a" * 5000)
    async with aclosing(MarkdownPages(longest_s=2.0)) as converter:
        assert await converter.html_of(session) == {}
        only = Session(header=session.header, messages=session.messages[3:])
        assert list(await converter.html_of(only)) == [session.messages[3].message_id]


async def test_an_export_that_is_cancelled_ends_its_child(tmp_path):
    others = set(children_of(os.getpid()))
    async with aclosing(store_at(tmp_path)) as store:
        work = Exporter(store).export_text(chat(TEXTS[SLOW]), ExportAs(form="html"))
        exporting = asyncio.create_task(work)
        await until(lambda: set(children_of(os.getpid())) - others, "the child")
        (child,) = set(children_of(os.getpid())) - others
        exporting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exporting
        assert not is_running(child)
