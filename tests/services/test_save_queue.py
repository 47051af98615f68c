from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from lmchat.domain.message import AnswerState, ChatMessage, now
from lmchat.domain.session import SessionHeader
from lmchat.errors import SessionUnreadable, StoreUnavailable
from lmchat.services.save_queue import SaveQueue
from tests.support.chats import acted_reply, prompt
from tests.support.programs import until


def header(name: str) -> SessionHeader:
    return SessionHeader(session_id=name, title=name, created_at=now(), updated_at=now())


def ended(text: str) -> ChatMessage:
    return acted_reply(state=AnswerState.STOPPED, model=text)


@dataclass
class Disk:
    """Writes down what it is given; fails for some sessions, and waits where it is told to."""

    written: list[tuple[str, str]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    broken: dict[str, Exception] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    begins: asyncio.Event = field(default_factory=asyncio.Event)
    writers: int = 0
    most_writers: int = 0

    async def _write(self, session_id: str, what: str) -> None:
        self.begins.set()
        self.writers += 1
        self.most_writers = max(self.most_writers, self.writers)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if session_id in self.broken:
                raise self.broken[session_id]
            self.written.append((session_id, what))
        finally:
            self.writers -= 1

    async def append(self, header, message):
        await self._write(header.session_id, message.text)

    async def finish(self, session_id, message, choices=()):
        await self._write(session_id, message.model)

    async def has_message(self, message_id):
        return True

    async def begin_answer(self, session_id, message, *, has_prompt=True):
        self.begun.append((session_id, has_prompt))

    async def add_ledger(self, row):
        raise StoreUnavailable("no")


FULL = StoreUnavailable("The disk is full.")


async def test_what_failed_is_written_first_and_in_its_order_when_the_disk_is_back():
    disk = Disk(broken={"a": FULL})
    save_queue = SaveQueue(disk)
    await save_queue.save(header("a"), prompt("1"))
    await save_queue.save(header("a"), ended("2"))
    assert save_queue.warning is FULL
    assert save_queue.is_unsaved("a")
    disk.broken.clear()
    await save_queue.save(header("a"), prompt("3"))
    assert disk.written == [("a", "1"), ("a", "2"), ("a", "3")]
    assert save_queue.warning is None
    assert not save_queue.is_unsaved("a")


async def test_what_failed_is_written_when_the_disk_is_back_though_nobody_writes_anything():
    disk = Disk(broken={"a": FULL})
    save_queue = SaveQueue(disk, retry_s=0.01)
    await save_queue.save(header("a"), prompt("1"))
    await save_queue.save(header("a"), ended("2"))
    disk.begins.clear()
    await disk.begins.wait()  # it is tried while the disk is away, and again
    disk.broken.clear()
    await until(lambda: save_queue.warning is None, "the end of the warning")
    assert disk.written == [("a", "1"), ("a", "2")]
    assert not save_queue.is_unsaved("a")


async def test_two_that_write_at_once_write_each_thing_once_and_one_at_a_time():
    disk = Disk(gate=asyncio.Event())
    save_queue = SaveQueue(disk)
    writes = [
        asyncio.create_task(save_queue.save(header(name), ended(f"{name}{number}")))
        for number in range(3)
        for name in "ab"
    ]
    await disk.begins.wait()
    disk.gate.set()
    await asyncio.gather(*writes)
    assert sorted(disk.written) == sorted(
        (name, f"{name}{number}") for number in range(3) for name in "ab"
    )
    assert disk.most_writers == 1


async def test_a_session_that_cannot_be_written_does_not_hold_up_the_others():
    disk = Disk(broken={"a": SessionUnreadable("This one is damaged.")})
    save_queue = SaveQueue(disk)
    await save_queue.save(header("a"), prompt("1"))
    await save_queue.save(header("b"), prompt("2"))
    assert disk.written == [("b", "2")]
    assert save_queue.warning is not None
    assert save_queue.is_unsaved("a")


async def test_who_is_cancelled_while_a_write_is_under_way_does_not_cancel_the_write():
    disk = Disk(gate=asyncio.Event())
    save_queue = SaveQueue(disk)
    task = asyncio.create_task(save_queue.save(header("a"), prompt("1")))
    await disk.begins.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    disk.gate.set()
    await save_queue.write_unsaved()
    assert disk.written == [("a", "1")]


async def test_an_answer_whose_prompt_is_missing_is_written_at_its_end_only():
    disk = Disk(broken={"a": FULL})
    save_queue = SaveQueue(disk)
    await save_queue.save(header("a"), prompt("1"))
    await save_queue.begin_answer(header("a"), ended("2"))
    await save_queue.begin_answer(header("b"), ended("3"))
    assert disk.begun == [("a", False), ("b", True)]


async def test_figures_that_cannot_be_kept_are_worth_no_warning():
    save_queue = SaveQueue(Disk())
    await save_queue.add_ledger(object())
    assert save_queue.warning is None
