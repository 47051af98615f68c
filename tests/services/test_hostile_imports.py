"""Files that are made to keep an import busy: a megabyte of any kind takes little processor time."""

from __future__ import annotations

import resource
from contextlib import aclosing, suppress

import psutil
import pytest

from lmchat.errors import FileRefused
from lmchat.services.chat_files import ChatFiles
from lmchat.services.importing import Importer
from tests.support.chats import START, store_at
from tests.support.hostile_files import FILES, TEXTS, message_files
from tests.support.machine_speed import processor_limit_s
from tests.support.programs import children_of

pytestmark = pytest.mark.timeout(240)  # a file that takes minutes shall be named

_MEGABYTE_S = 2.0
_START_S = 1.0  # of the child and of the database
_others: set[int] = set()  # children that were there before the test


@pytest.fixture(autouse=True)
def _only_new_children():
    """Do not count servers that other tests of this process have started."""
    _others.clear()
    _others.update(children_of(psutil.Process().pid))


async def slow_files(folder, contents):
    """Return the processor time of the files that take longer than they may, by name."""
    slow = {}
    async with aclosing(ChatFiles()) as files:
        for name, content in contents:
            path = folder / name
            path.write_text(content)
            before_s = _child_s()
            with suppress(FileRefused):
                _ = [item async for item in files.chats(path, source="auto", moment=START)]
            spent_s = _child_s() - before_s
            path.unlink()
            if spent_s > processor_limit_s(_MEGABYTE_S) * max(len(content) / 1e6, 1):
                slow[name] = spent_s
    return slow


def _child_s():
    """Return the processor time of the child that reads; none before it is there."""
    children = set(children_of(psutil.Process().pid)) - _others
    times = [psutil.Process(child).cpu_times() for child in children]
    return sum(cpu.user + cpu.system for cpu in times)


async def test_a_megabyte_of_any_text_is_read_in_two_seconds(tmp_path):
    texts = (
        (f"{name}, {file}", content)
        for name, text in TEXTS.items()
        for file, content in message_files(text).items()
    )
    assert await slow_files(tmp_path, texts) == {}


async def test_a_megabyte_of_any_structure_is_read_in_two_seconds(tmp_path):
    endings = ("json", "jsonl")
    files = ((f"{name}.{ending}", make()) for name, make in FILES.items() for ending in endings)
    assert await slow_files(tmp_path, files) == {}


@pytest.mark.parametrize("name", ["many messages", "backticks"])
async def test_a_megabyte_is_imported_in_three_seconds(tmp_path, name):
    path = tmp_path / "file.json"
    path.write_text(FILES[name]() if name in FILES else message_files(TEXTS[name])["list.json"])
    async with aclosing(store_at(tmp_path / "home")) as store:
        before_s = _all_s()
        done = await Importer(store).import_files([str(path)])
        assert len(done.chats) == 1
    assert _all_s() - before_s < processor_limit_s(_MEGABYTE_S + _START_S)


def _all_s():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
