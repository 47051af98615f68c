"""Sessions that are made to be hard to export."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import pytest
from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, Role, TextPart
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session
from lmchat.formats.markdown_read import from_markdown
from lmchat.formats.markdown_write import to_markdown
from tests.support.chats import START, header

ID = "0123456789abcdef"
MANY = 150_000


def of_each_other() -> Iterator[str]:
    """Yield words each of which is made of the one before; after some tens of thousands they come again."""
    word = ID
    while True:
        yield (word := hashlib.sha256(word.encode()).hexdigest()[:8])


def counted() -> Iterator[str]:
    """Yield words as the export makes them."""
    yield next(of_each_other())
    for number in range(1, MANY + 1):
        yield hashlib.sha256(f"{number} {ID}".encode()).hexdigest()[:8]


@pytest.mark.parametrize("words", [of_each_other, counted])
def test_a_text_that_holds_the_words_which_could_frame_it_is_exported_and_comes_back(words):
    """Whoever gives away a session knows its id, so can tell the words; a look for each would take hours."""
    text = "\n".join(f"<!-- {word} x -->" for word in islice(words(), MANY))
    said = ChatMessage(message_id="a", role=Role.USER, parts=(TextPart(text=text),), created_at=START)
    exported = to_markdown(
        Session(header=replace(header("A title"), session_id=ID), messages=MessagePath([said]))
    )
    assert from_markdown(exported).messages[0].text == text
