"""Texts and files that keep a program busy: reading and writing any of them takes linear time."""

from __future__ import annotations

import pytest

from lmchat.base.errors import FileRefused
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.formats.exports.render import render
from tests.core.imports.foreign_chats import read_text
from tests.support.chats import chat
from tests.support.hostile_files import FILES, TEXTS, limited_processor_time, message_files

# at two sizes; the processor time of a file is limited
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def read(content):
    with limited_processor_time():
        try:
            return read_text(content)[0]
        except FileRefused:
            return []


@pytest.mark.parametrize("file", message_files(""))
def test_a_chat_with_any_text_is_read_in_linear_time(file):
    for text in TEXTS.values():
        read(message_files(text)[file])


def test_a_file_of_any_structure_is_read_in_linear_time():
    found = {name: read(make()) for name, make in FILES.items()}
    assert found["many messages"]
    assert found["deep lists"] == []


@pytest.mark.parametrize("form", [form for form in EXPORT_FORMATS if form != "html"])
def test_any_text_is_exported_in_linear_time(form):
    for text in TEXTS.values():
        with limited_processor_time():
            assert render(chat(text), form)
