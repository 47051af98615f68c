from __future__ import annotations

import asyncio

from lmchat.chat.save_queue import SaveQueue, journal
from lmchat.errors import SessionUnreadable, StoreUnavailable
from lmchat.sessions.message import RESET
from tests.support.chats import prompt
from tests.support.conversations import Disk, ended, named_header
from tests.support.programs import until

FULL = StoreUnavailable("The disk is full.")


async def test_what_failed_is_written_in_its_order_when_the_disk_is_back_and_before_what_is_new():
    disk = Disk(broken={"a": FULL})
    save_queue = SaveQueue(disk, retry_s=0.01)
    await save_queue.save(named_header("a"), prompt("1"))
    await save_queue.save(named_header("a"), ended("2"))
    assert save_queue.warning is FULL
    assert save_queue.is_unsaved("a")
    disk.begins.clear()
    await disk.begins.wait()  # it is tried while the disk is away, and again
    disk.broken.clear()
    await until(lambda: save_queue.warning is None, "the end of the warning")
    await save_queue.save(named_header("a"), prompt("3"))
    assert disk.written == [("a", "1"), ("a", "2"), ("a", "3")]
    assert not save_queue.is_unsaved("a")


async def test_a_session_that_cannot_be_written_does_not_hold_up_the_others():
    disk = Disk(broken={"a": SessionUnreadable("This one is damaged.")})
    save_queue = SaveQueue(disk)
    await save_queue.save(named_header("a"), prompt("1"))
    await save_queue.save(named_header("b"), prompt("2"))
    assert disk.written == [("b", "2")]
    assert save_queue.warning is not None
    assert save_queue.is_unsaved("a")


async def test_an_answer_whose_prompt_is_missing_is_written_at_its_end_only():
    disk = Disk(broken={"a": FULL})
    save_queue = SaveQueue(disk)
    await save_queue.save(named_header("a"), prompt("1"))
    await save_queue.begin_answer(named_header("a"), ended("2"))
    await save_queue.begin_answer(named_header("b"), ended("3"))
    assert disk.begun == [("a", False), ("b", True)]


class Flaky:
    """Takes pieces, or fails so often first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written = []
        self.tried = asyncio.Event()
        self.done = asyncio.Event()

    async def add_entries(self, message_id, pieces):
        self.tried.set()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("The disk is full.")
        self.written += pieces
        self.done.set()
        return False


async def test_pieces_that_could_not_be_written_are_written_first_when_the_disk_is_back():
    disk = Flaky(failures=2)
    save_queue = SaveQueue(disk)
    async with journal(save_queue, "m") as entries:
        entries.append(("text", "a"))
        await disk.tried.wait()
        assert save_queue.warning is not None
        entries += [("text", "b"), RESET, ("reasoning", "c")]
        await disk.done.wait()
    assert disk.written == [("text", "a"), ("text", "b"), RESET, ("reasoning", "c")]
    await save_queue.write_unsaved()
    assert save_queue.warning is None
