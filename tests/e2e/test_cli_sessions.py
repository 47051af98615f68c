from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sqlite3
import sys
from contextlib import aclosing, closing
from unittest.mock import Mock

import pytest

from tests.support.chats import store_at
from tests.support.programs import Inside
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer

Cli = Inside


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two sessions, the newer one about bread: the folder of their user, and their ids, oldest first."""
    with ScriptedServer() as server:
        cli = Cli(home=tmp_path_factory.mktemp("written"), url=plain(server, "tiny").url)
        prompts = ("Plan a garden", "Bake bread")
        return cli.folder, [
            cli.json("ask", "--save", "--json", prompt)["session_id"] for prompt in prompts
        ]


@pytest.fixture
def saved(written, tmp_path):
    """The same for one test, which may change them."""
    folder, ids = written
    cli = Cli(home=tmp_path)
    shutil.copytree(folder, cli.folder)
    return cli, ids


def test_commands_name_what_could_not_be_saved_but_the_doctor_has_rows_for_it(saved):
    user, _ = saved
    (user.folder / "unsaved-0123.json").touch()
    note = "lmchat: The end of a session could not be saved."
    assert [note in user(command).stderr for command in ("sessions", "doctor")] == [True, False]


def test_last_is_the_last_changed_whatever_the_clock_said(saved):
    user, ids = saved
    with closing(sqlite3.connect(user.folder / "sessions.db")) as raw, raw:
        raw.execute(
            "update sessions set updated_at = '2199-01-01T00:00:00+00:00' where session_id = ?",
            (ids[0],),
        )
    assert "Bake bread" in user("export", "last", "--format", "txt").stdout
    with ScriptedServer() as server:
        asking = Cli(home=user.home, url=plain(server, "tiny").url)
        assert asking("ask", "-r", "last", "And the salt?").returncode == 0
    assert "And the salt?" in user("export", ids[1], "--format", "txt").stdout
    assert "And the salt?" not in user("export", ids[0], "--format", "txt").stdout
    listed = [row["id"] for row in user.json("sessions", "--json")["data"]]
    assert listed == [ids[1], ids[0]]


def test_the_list_is_newest_first_and_names_forks(saved):
    user, ids = saved
    head, *rows = user("sessions").stdout.splitlines()
    assert head.split() == ["ID", "CHANGED", "MSGS", "MODEL", "TITLE"]
    assert [row.split()[0] for row in rows] == [session_id[:8] for session_id in reversed(ids)]
    assert rows[0].endswith("2     tiny   Bake bread")
    asyncio.run(forked(user.home, ids[1]))
    assert user("sessions").stdout.count("Bake bread (fork)\n") == 1
    with PtyProgram(user.argv("sessions"), home=user.home, size=(50, 24)) as program:
        assert program.wait_exit() == 0
        assert [len(line) for line in program.screen() if line.endswith("…")] == [50] * 3
    forks = {session["forked_from"] for session in user.json("sessions", "--json")["data"]}
    assert forks == {ids[1], None}


async def forked(home, session_id):
    async with aclosing(store_at(home)) as store:
        path = (await store.open_session(session_id)).messages
        await store.fork(session_id, path[-1].message_id)


def test_at_a_terminal_it_is_asked_before_anything_is_removed(saved, monkeypatch):
    """Where no window can be told by its lock, also that there is none."""
    cli, ids = saved
    monkeypatch.setattr("lmchat.app.cli.context.can_ask", lambda: True)
    answers = [b"n\n", b"n\n", b"y\n"]

    async def typed(question: str) -> bytes:
        sys.stderr.write(question)
        return answers.pop(0)

    # only a terminal can be waited for, and there is none here
    monkeypatch.setattr("lmchat.app.terminal.output.typed_line", typed)
    told = [cli("sessions", "purge", ids[0]).stderr]
    refuse = Mock(side_effect=OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)))
    monkeypatch.setattr("fcntl.flock", refuse)
    told += [cli("sessions", "purge", ids[0]).stderr]
    assert len(cli.json("sessions", "--json")["data"]) == 2
    told += [cli("sessions", "purge", ids[0]).stderr]
    assert all("permanently? [y/N]" in words for words in told)
    windows = ["first close all other lmchat windows. Delete" in words for words in told]
    assert windows == [False, True, True]
    assert [row["id"] for row in cli.json("sessions", "--json")["data"]] == [ids[1]]


def test_an_export_is_printed_or_written_as_its_ending_says(saved):
    cli, ids = saved
    assert cli("export").stdout == cli("export", ids[1]).stdout == cli("export", "last").stdout
    for form in ("md", "html"):
        assert cli("export", "-o", str(cli.home / f"x.{form}")).returncode == 0
        assert (cli.home / f"x.{form}").read_text() == cli("export", "--format", form).stdout


def test_an_export_without_an_attached_file_is_written_and_says_so(cli, tmp_path):
    (tmp_path / "beds.md").write_text("Two beds.")
    assert cli("ask", "--save", "-f", str(tmp_path / "beds.md"), "Plan").returncode == 0
    whole = cli("export", "--format", "json")
    assert (whole.returncode, whole.stderr) == (0, "")
    [file] = (cli.folder / "attachments").iterdir()
    words = "Not in the export: beds.md: The attached file is {}. All else is in it."
    everything = ("export", "--all", str(tmp_path / "all"), "--format", "json", "--force")
    for change, state in ((lambda: file.write_text("other"), "damaged"), (file.unlink, "missing")):
        change()
        for command in (("export", "--format", "json"), everything):
            done = cli(*command)
            assert done.returncode == 1
            assert words.format(state) in " ".join(done.stderr.split())
        assert [*(tmp_path / "all").iterdir()]
    assert cli("export").returncode == 0, "text has no files"


DAMAGE = b"this is no database" * 100


def test_without_a_backup_an_empty_file_takes_the_place_of_a_damaged_one_that_is_kept(cli):
    assert cli("ask", "--save", "Plan the garden").returncode == 0
    for backup in cli.folder.glob("*.backup-*"):
        backup.unlink()
    (cli.folder / "sessions.db").write_bytes(DAMAGE)
    done = cli("sessions", "recover", "--json")
    assert (done.returncode, "an empty file" in json.loads(done.stdout)["result"]) == (0, True)
    [kept] = cli.folder.glob("*.damaged-*")
    assert kept.read_bytes() == DAMAGE
    assert cli("completion", "bash").stderr == ""
    told = cli("sessions").stderr
    assert f"lmchat: {kept} is kept, and another file is in use." in told
    assert "There are no saved sessions." in told
    kept.unlink()
    assert "is kept" not in cli("sessions").stderr
