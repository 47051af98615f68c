from __future__ import annotations

import asyncio
import gc
import json
import logging

import pytest

from lmchat.app.cli.log_file import LogFile, start_log
from tests.support.modes import is_private


@pytest.fixture
def logger(tmp_path):
    root = logging.getLogger()
    own = logging.getLogger("lmchat")
    levels = root.level, own.level
    handler = start_log(tmp_path / "state" / "lmchat.log", "info")
    yield own
    root.removeHandler(handler)
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def _entries(tmp_path):
    return [
        json.loads(line)
        for line in (tmp_path / "state" / "lmchat.log").read_text(encoding="utf-8").splitlines()
    ]


def test_a_record_is_one_line_of_json(logger, tmp_path):
    logger.info("sent %d bytes\nto \x1b[1m%s", 5, "server")
    (entry,) = _entries(tmp_path)
    assert entry["message"] == "sent 5 bytes to ␛[1mserver"
    assert (entry["level"], entry["logger"]) == ("info", "lmchat")


def test_the_log_belongs_to_its_owner_alone(logger, tmp_path):
    logger.warning("x")
    assert is_private(tmp_path / "state" / "lmchat.log")
    assert is_private(tmp_path / "state")


def test_a_task_that_failed_unheard_is_noted_without_its_words(logger, tmp_path):
    async def fail():
        raise ValueError("Illegal header value b's3cret'")

    async def leave_it():
        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    asyncio.run(leave_it())
    gc.collect()
    (entry,) = _entries(tmp_path)
    assert entry["message"] == "Task exception was never retrieved"
    assert entry["exception"] == "ValueError"
    assert "s3cret" not in json.dumps(entry)


def test_libraries_are_heard_from_warnings_on(logger, tmp_path):
    logging.getLogger("httpx").info("GET http://127.0.0.1/?q=words")
    logging.getLogger("asyncio").warning("slow")
    assert [entry["logger"] for entry in _entries(tmp_path)] == ["asyncio"]


def test_nothing_is_made_before_something_is_logged(logger, tmp_path):
    logger.debug("below the level")
    assert not (tmp_path / "state").exists()


def test_a_full_file_is_set_aside_and_the_last_one_is_kept(tmp_path):
    path = tmp_path / "lmchat.log"
    handler = LogFile(path)
    for number in range(3):
        path.write_text(f"{number}" * 1_000_001, encoding="utf-8")
        handler.emit(logging.makeLogRecord({"msg": "x"}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lmchat.log", "lmchat.log.1"]
    assert (tmp_path / "lmchat.log.1").read_text(encoding="utf-8")[0] == "2"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_a_log_that_cannot_be_written_costs_the_log_alone(tmp_path, capsys):
    (tmp_path / "file").write_text("words", encoding="utf-8")
    handler = LogFile(tmp_path / "file" / "lmchat.log")
    handler.emit(logging.makeLogRecord({"msg": "x"}))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "words"
    assert capsys.readouterr() == ("", "")
