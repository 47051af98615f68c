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


def test_a_session_is_named_by_the_beginning_of_its_id_and_a_wrong_id_is_told(saved):
    cli, ids = saved
    shown = cli("sessions", "show", ids[0][:4]).stdout
    assert "Plan a garden" in shown
    assert "Hello there." in shown
    for words in (("show",), ("rename", "title"), ("delete",), ("restore",), ("purge",)):
        action, *title = words
        done = cli("sessions", action, "zzzz", *title, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["detail"]["error"] == "session_not_found"
        assert "with --trash" in done.stderr, "the id may be that of a deleted session"
    told = cli("sessions", "rename", "last", "  New \n title ").stdout
    assert told == f"{ids[1][:8]} is now “New title”.\n"
    assert cli("sessions", "rename", "last", " ").returncode == 2
    assert cli.json("sessions", "--json")["data"][0]["title"] == "New title"


def test_what_is_deleted_can_be_restored_and_the_last_deletion_by_that_word(saved):
    cli, ids = saved
    told = cli("sessions", "delete", ids[0]).stdout
    assert told.startswith(f"{ids[0][:8]} “Plan a garden” is in the trash")
    assert [row["id"] for row in cli.json("sessions", "--json")["data"]] == [ids[1]]
    assert [row["id"] for row in cli.json("sessions", "--trash", "--json")["data"]] == [ids[0]]
    assert cli.json("sessions", "restore", ids[0], "--json")["deleted_at"] is None
    assert cli("sessions", "delete", ids[0], "ffff").returncode == 2
    assert cli.json("sessions", "--trash", "--json")["data"] == [], "all or none"
    told = cli.json("sessions", "delete", ids[1], ids[0], "--json")["data"]
    assert [row["id"] for row in told] == [ids[1], ids[0]]
    assert cli.json("sessions", "restore", "last", "--json")["id"] == ids[0]
    assert cli.json("sessions", "restore", "last", "--json")["id"] == ids[1]
    done = cli("sessions", "restore", "last")
    assert (done.returncode, "not in the trash" in done.stderr) == (2, True)


def test_a_session_in_the_trash_is_read_but_takes_no_prompt_until_it_is_restored(saved):
    cli, ids = saved
    cli("sessions", "delete", ids[0])
    assert "Hello there." in cli("export", ids[0]).stdout
    done = cli("ask", "-r", ids[0], "and this")
    assert (done.returncode, done.stdout) == (2, "")
    restore = f"`lmchat sessions restore {ids[0]}` restores it."
    assert f"This session is in the trash.\n{restore}" in done.stderr
    assert [row["id"] for row in cli.json("sessions", "--trash", "--json")["data"]] == [ids[0]]


def test_a_session_or_the_whole_trash_is_purged_after_consent_and_nothing_else(saved):
    cli, ids = saved
    done = cli("sessions", "purge", ids[0])
    assert (done.returncode, "Confirm with --yes." in done.stderr) == (2, True)
    assert cli("sessions", "show", ids[0]).returncode == 0
    cli("sessions", "delete", ids[0])
    assert cli("sessions", "purge").returncode == 2
    # an empty id is not a missing one
    for words in (("sessions", "purge", "--yes", ""), ("export", "")):
        done = cli(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("lmchat: ID is empty.\n")
    assert [row["id"] for row in cli.json("sessions", "--trash", "--json")["data"]] == [ids[0]]
    told = cli("sessions", "purge", "--yes").stdout
    assert told == f"Deleted permanently: {ids[0][:8]} “Plan a garden”.\n"
    assert [row["id"] for row in cli.json("sessions", "--json")["data"]] == [ids[1]]
    assert cli("sessions", "purge").stderr == "The trash is empty.\n"
    assert cli.json("sessions", "purge", ids[1], "--yes", "--json")["id"] == ids[1]


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


def test_search_prints_as_many_hits_as_wanted_and_refuses_a_wrong_filter(saved):
    cli, ids = saved
    (hit,) = cli.json("search", "bread", "--json")["data"]
    assert (hit["session_id"], hit["role"], hit["match"]) == (ids[1], "user", "bread")
    assert "Bake [brea]d" in cli("search", "brea").stdout
    done = cli("search", "xyzzy")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Nothing found.\n")
    assert len(cli.json("search", "after:2000-01-01", "--json", "--limit", "2")["data"]) == 2
    heads = [line for line in cli("search", "e").stdout.splitlines() if line[0] != " "]
    assert heads == [f"{ids[1][:8]}  Bake bread", f"{ids[0][:8]}  Plan a garden"]
    done = cli("search", "bread", "role:robot")
    assert (done.returncode, done.stdout) == (2, "")
    first = "lmchat: The filter role:robot is not valid; write role:user or role:assistant.\n"
    assert done.stderr.startswith(first)


def test_an_export_is_printed_or_written_as_its_ending_says(saved):
    cli, ids = saved
    assert cli("export").stdout == cli("export", ids[1]).stdout == cli("export", "last").stdout
    for form in ("md", "html"):
        assert cli("export", "-o", str(cli.home / f"x.{form}")).returncode == 0
        assert (cli.home / f"x.{form}").read_text() == cli("export", "--format", form).stdout


def test_export_refuses_what_it_cannot_write_and_overwrites_only_if_forced(saved):
    cli, _ = saved
    pdf, mine = cli.home / "x.pdf", cli.home / "garden.md"
    done = cli("export", "-o", str(pdf))
    assert (done.returncode, pdf.exists()) == (2, False)
    assert done.stderr.splitlines() == [
        "lmchat: Sessions cannot be exported as .pdf; use .md, .json, .html, .txt.",
        "For another ending, choose the format with: lmchat export --format FORMAT",
    ]
    mine.write_text("mine")
    done = cli("export", "-o", str(mine))
    assert (done.returncode, mine.read_text()) == (1, "mine")
    assert "--force" in done.stderr
    assert cli("export", "-o", str(mine), "--force").stderr == f"Wrote {mine}\n"
    assert "Bake bread" in mine.read_text()
    for words in (("--all", "-"), ("last", "--all", str(cli.home / "x"))):
        done = cli("export", *words)
        assert (done.returncode, done.stdout) == (2, "")


def test_all_sessions_are_exported_and_what_could_not_be_is_named(saved):
    cli, ids = saved
    folder = cli.home / "all"
    words = ("export", "--all", str(folder), "--format", "json")
    value = cli.json(*words, "--json")
    assert (len(value["files"]), value["failed"]) == (2, 0)
    again = cli(*words)
    assert again.returncode == 1
    assert "Not written, or not whole: 2 sessions." in again.stderr
    assert ids[0] in again.stderr


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


def test_a_command_that_needs_a_damaged_file_stops_and_others_say_what_is_not_saved(cli):
    assert cli("ask", "--save", "Hi").returncode == 0
    file = cli.folder / "sessions.db"
    file.write_bytes(DAMAGE)
    words = "sessions.db is damaged. `lmchat sessions recover` keeps it,"
    for command, stdin, code in (
        (("sessions",), "", 1),
        (("ask", "--save", "Hi"), "", 1),
        (("ask", "Hi"), "", 0),  # saves its figures
        (("batch", "--text"), "Hi\n", 0),
    ):
        done = cli(*command, stdin=stdin)
        said = done.stderr.replace("\n", " ")
        assert (done.returncode, said.count(words)) == (code, 1), (command, done)
        assert file.read_bytes() == DAMAGE


def test_one_command_puts_a_backup_or_an_empty_file_in_the_place_of_a_damaged_one(cli):
    wrong = cli("sessions", "recover")
    assert (wrong.returncode, "is not damaged" in wrong.stderr) == (2, True)
    assert cli("ask", "--save", "Plan the garden").returncode == 0
    file = cli.folder / "sessions.db"
    for backups, in_use, title in (
        (1, "a copy of sessions.db.backup-", "Plan the garden"),
        (0, "an empty file", "There are no saved sessions."),
    ):
        if not backups:
            [backup] = cli.folder.glob("*.backup-*")
            backup.unlink()
        file.write_bytes(DAMAGE)
        done = cli("sessions", "recover")
        assert (done.returncode, done.stdout) == (0, "")
        assert "sessions.db was damaged and is kept as sessions.db.damaged-" in done.stderr
        assert f"; {in_use}" in done.stderr
        listed = cli("sessions")
        assert title in listed.stdout + listed.stderr
    damaged = [*cli.folder.glob("*.damaged-*")]
    assert {kept.read_bytes() for kept in damaged} == {DAMAGE}
    for left in (damaged, []):
        words = [f"lmchat: {kept} is kept, and another file is in use. Delete" for kept in left]
        for command in (("sessions",), ("batch", "--text")):
            told = cli(*command, stdin="hi\n").stderr
            assert [told.count(one) for one in words] == [1] * told.count("is kept"), command
        assert len(words) == told.count("is kept")
        for kept in left:
            kept.unlink()
    file.write_bytes(DAMAGE)
    assert "is kept as" in cli.json("sessions", "recover", "--json")["result"]
