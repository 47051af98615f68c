"""The child process that reads files with chats: what it sends is what was read, and it can be ended."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing

import pytest

from lmchat.errors import FileRefused
from lmchat.formats.json_format import to_json
from lmchat.formats.reading import Reader
from lmchat.services.chat_files import ChatFiles
from tests.support.chats import START, chat, chat_with_tools
from tests.support.foreign_chats import FILES, foreign_file
from tests.support.programs import children_of, until

CHILD_ENDED = "The process that works on the file ended."


@pytest.fixture
async def files():
    async with aclosing(ChatFiles()) as opened:
        yield opened


@pytest.fixture
def new_children():
    """Return the ids of the processes that the test has started; others may serve more tests."""
    others = set(children_of(os.getpid()))
    return lambda: sorted(set(children_of(os.getpid())) - others)


async def read(files, content):
    chats = files.chats(content, source="auto", moment=START)
    return [item async for item in chats]


def endless(folder):
    """A file that takes many seconds, in a call of C that no signal ends."""
    path = folder / "endless.json"
    path.write_bytes(b'{"mapping": [' + b"[1,2,3,4,5,6],\n" * 2_500_000 + b"1]}")
    return path


async def test_what_the_child_reads_arrives_as_it_was_read(tmp_path, files):
    for path in (foreign_file(tmp_path, name) for name in FILES):
        assert await read(files, path) == list(Reader(START).file(path)), path
    for session in (chat("a\ud800b", "\udfff"), chat_with_tools(), chat("x" * 5_000_000, "y")):
        data = to_json(session).encode()
        (arrived,) = await read(files, data)
        assert [arrived] == list(Reader(START).data(data))
        assert [message.parts for message in arrived.messages] == [
            message.parts for message in session.messages
        ]


async def test_a_child_that_ends_costs_its_file_and_the_next_file_has_another(
    tmp_path, files, new_children
):
    reading = asyncio.create_task(read(files, endless(tmp_path)))
    await until(new_children, "the child")
    (child,) = new_children()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(FileRefused, match=CHILD_ENDED):
        await reading
    assert len(await read(files, to_json(chat()).encode())) == 1
