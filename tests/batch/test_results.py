"""Files of rows."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from contextlib import suppress

import pytest

from lmchat.batch.results import RowFile
from lmchat.errors import WrongUse

LONG_ROW = {"index": 1, "key": "a", "reply": "x" * 1_000_000}  # more than a pipe holds


async def test_the_file_stays_open_until_a_row_that_is_being_written_is_written(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    rows = RowFile(path)
    adding = asyncio.create_task(rows.add(LONG_ROW))
    received = await asyncio.to_thread(os.read, reader, 1)  # the row is being written
    adding.cancel()
    with suppress(asyncio.CancelledError):
        await adding
    closing = threading.Thread(target=rows.__exit__)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    while piece := os.read(reader, 65536):
        received += piece
    closing.join()
    os.close(reader)
    assert json.loads(received) == LONG_ROW


async def test_two_files_of_one_run_are_refused_and_the_first_keeps_its_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    with RowFile(path) as first:
        await first.add({"index": 1, "key": "a"})
        with pytest.raises(WrongUse, match="Another `lmchat batch` writes"):
            RowFile(path)
    assert path.read_text() == '{"index": 1, "key": "a"}\n'
