from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import aclosing

import pytest

from tests.support.chats import store_at
from tests.support.programs import Inside as Cli
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import plain
from tests.support.scripted_server import DONE, ScriptedServer, finish, sse

_CHAT = "POST /v1/chat/completions"


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


def test_the_list_is_newest_first(saved):
    cli, ids = saved
    head, *rows = cli("sessions").stdout.splitlines()
    assert head.split() == ["ID", "CHANGED", "MSGS", "MODEL", "TITLE"]
    assert [row.split()[0] for row in rows] == [session_id[:8] for session_id in reversed(ids)]
    assert rows[0].endswith("2     tiny   Bake bread")


def test_the_list_as_json(saved):
    cli, ids = saved
    value = cli.json("sessions", "--json")
    assert value["object"] == "list"
    assert [row["id"] for row in value["data"]] == list(reversed(ids))
    assert list(value["data"][0]) == [
        *("id", "title", "created_at", "updated_at", "deleted_at", "model", "endpoint", "messages"),
        *("pinned", "archived", "tags", "forked_from"),
    ]
    asyncio.run(forked(cli.home, ids[1]))
    assert cli("sessions").stdout.count("Bake bread (fork)\n") == 1
    assert {session["forked_from"] for session in cli.json("sessions", "--json")["data"]} == {
        ids[1],
        None,
    }


async def forked(home, session_id):
    async with aclosing(store_at(home)) as store:
        path = (await store.open_session(session_id)).messages
        await store.fork(session_id, path[-1].message_id)


def test_an_empty_list_is_told_on_stderr(cli):
    done = cli("sessions")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "There are no saved sessions.\n")
    assert cli.json("sessions", "--json") == {"object": "list", "data": []}


def test_a_session_is_shown_by_the_beginning_of_its_id(saved):
    cli, ids = saved
    shown = cli("sessions", "show", ids[0][:4]).stdout
    assert "Plan a garden" in shown
    assert "Hello there." in shown


@pytest.mark.parametrize("action", ["show", "rename", "delete", "restore", "purge"])
def test_an_id_that_there_is_not_is_told(saved, action):
    cli, _ = saved
    done = cli("sessions", action, "zzzz", *(["title"] if action == "rename" else []), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["detail"]["error"] == "session_not_found"


def test_a_title_can_be_changed(saved):
    cli, ids = saved
    told = cli("sessions", "rename", "last", "  New \n title ").stdout
    assert told == f"{ids[1][:8]} is now “New title”.\n"
    assert cli("sessions", "rename", "last", " ").returncode == 2
    assert cli.json("sessions", "--json")["data"][0]["title"] == "New title"


def test_what_is_deleted_can_be_restored(saved):
    cli, ids = saved
    told = cli("sessions", "delete", ids[0]).stdout
    assert told.startswith(f"{ids[0][:8]} “Plan a garden” is in the trash")
    assert [row["id"] for row in cli.json("sessions", "--json")["data"]] == [ids[1]]
    assert [row["id"] for row in cli.json("sessions", "--trash", "--json")["data"]] == [ids[0]]
    assert cli.json("sessions", "restore", ids[0], "--json")["deleted_at"] is None
    again = cli("sessions", "restore", ids[0])
    assert (again.returncode, "not in the trash" in again.stderr) == (2, True)
    assert len(cli.json("sessions", "--json")["data"]) == 2


def test_the_last_deletion_is_undone_by_that_word(saved):
    cli, ids = saved
    cli("sessions", "delete", ids[1])
    cli("sessions", "delete", ids[0])
    assert cli.json("sessions", "restore", "last", "--json")["id"] == ids[0]
    assert cli.json("sessions", "restore", "last", "--json")["id"] == ids[1]
    done = cli("sessions", "restore", "last")
    assert (done.returncode, "The trash is empty." in done.stderr) == (2, True)


def test_what_is_purged_is_gone(saved):
    cli, ids = saved
    done = cli("sessions", "purge", ids[0])
    assert (done.returncode, "Confirm with --yes." in done.stderr) == (2, True)
    assert cli("sessions", "show", ids[0]).returncode == 0
    assert cli.json("sessions", "purge", ids[0], "--yes", "--json")["id"] == ids[0]
    assert cli("sessions", "show", ids[0]).returncode == 2
    assert cli.json("sessions", "--trash", "--json")["data"] == []


def test_the_whole_trash_is_removed_and_nothing_else(saved):
    cli, ids = saved
    cli("sessions", "delete", ids[0])
    assert cli("sessions", "purge").returncode == 2
    assert [row["id"] for row in cli.json("sessions", "--trash", "--json")["data"]] == [ids[0]]
    told = cli("sessions", "purge", "--yes").stdout
    assert told == f"{ids[0][:8]} “Plan a garden” was deleted permanently.\n"
    assert [row["id"] for row in cli.json("sessions", "--json")["data"]] == [ids[1]]
    done = cli("sessions", "purge")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "The trash is empty.\n")
    assert cli.json("sessions", "purge", "--json") == {"object": "list", "data": []}


@pytest.mark.parametrize("words", [("sessions", "purge", "--yes", ""), ("export", "")])
def test_an_empty_id_is_not_a_missing_one(saved, words):
    cli, ids = saved
    cli("sessions", "delete", ids[0])
    done = cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmchat: The session id is empty.\n")
    trash = cli.json("sessions", "--trash", "--json")["data"]
    assert [header["id"] for header in trash] == ids[:1]


@pytest.mark.parametrize(("answer", "left"), [("y", 1), ("n", 2)])
def test_at_a_terminal_it_is_asked_before_anything_is_removed(saved, answer, left):
    cli, ids = saved
    argv = cli.argv("sessions", "purge", ids[0])
    with PtyProgram(argv, home=cli.home, size=(120, 30), env=cli.env) as program:
        program.wait_for("permanently? [y/N]")
        program.type(f"{answer}\r")
        assert program.wait_exit() == 0
    assert len(cli.json("sessions", "--json")["data"]) == left


def test_search_finds_the_words_around(saved):
    cli, ids = saved
    (hit,) = cli.json("search", "bread", "--json")["data"]
    assert (hit["session_id"], hit["role"], hit["match"]) == (ids[1], "user", "bread")
    assert "Bake [bread]" in cli("search", "bread").stdout
    done = cli("search", "xyzzy")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Nothing found.\n")


def test_a_wrong_filter_of_a_search_is_wrong_use(saved):
    cli, _ = saved
    done = cli("search", "bread", "role:robot")
    assert (done.returncode, done.stdout) == (2, "")
    first = "lmchat: The filter role:robot is not valid; write role:user or role:assistant.\n"
    assert done.stderr.startswith(first)
    assert cli.json("search", "has:foo", "--json", code=2)["detail"]["error"] == "wrong_use"


def test_search_prints_as_many_hits_as_wanted_and_finds_parts_of_words(saved):
    cli, _ = saved
    assert [hit["match"] for hit in cli.json("search", "rea", "--json")["data"]][:1] == ["rea"]
    everything = cli.json("search", "after:2000-01-01", "--json", "--limit", "100")["data"]
    assert len(everything) > 2
    assert (
        cli.json("search", "after:2000-01-01", "--json", "--limit", "2")["data"] == everything[:2]
    )
    assert {hit["kind"] for hit in everything} == {"text"}
    for wrong in ("0", "-1", "many", "1.5"):
        done = cli("search", "bread", f"--limit={wrong}")
        assert (done.returncode, done.stdout) == (2, "")
        assert "must be a whole number of at least 1" in done.stderr


def test_export_takes_the_newest_session_where_none_is_named(saved):
    cli, ids = saved
    assert ids[1] in cli("export").stdout
    assert cli("export").stdout == cli("export", "last").stdout


@pytest.mark.parametrize(
    ("form", "begin"), [("md", "---"), ("json", "{"), ("html", "<!"), ("txt", "Bake bread")]
)
def test_export_has_four_forms(saved, form, begin):
    cli, _ = saved
    assert cli("export", "--format", form).stdout.lstrip().startswith(begin)
    assert cli("export", "-o", str(cli.home / f"x.{form}")).returncode == 0
    assert (cli.home / f"x.{form}").read_text().lstrip().startswith(begin)


def test_export_refuses_an_ending_that_names_no_format_unless_one_is_chosen(saved):
    cli, _ = saved
    file = cli.home / "x.pdf"
    done = cli("export", "-o", str(file))
    assert (done.returncode, file.exists()) == (2, False)
    assert done.stderr.splitlines() == [
        "lmchat: Sessions cannot be exported as .pdf; use .md, .json, .html or .txt.",
        "For another ending, choose the format with: lmchat export --format FORMAT",
    ]
    assert cli("export", "-o", str(file), "--format", "txt").returncode == 0


def test_export_does_not_overwrite_unless_forced(saved):
    cli, _ = saved
    file = cli.home / "garden.md"
    file.write_text("mine")
    done = cli("export", "-o", str(file))
    assert (done.returncode, file.read_text()) == (1, "mine")
    assert "--force" in done.stderr
    assert cli("export", "-o", str(file), "--force").stderr == f"Wrote {file}\n"
    assert "Bake bread" in file.read_text()


def test_export_all_writes_every_session_and_names_what_it_could_not(saved):
    cli, ids = saved
    folder = cli.home / "all"
    value = cli.json("export", "--all", str(folder), "--json")
    assert (len(value["files"]), value["failed"]) == (2, 0)
    again = cli("export", "--all", str(folder))
    assert again.returncode == 1
    assert "2 sessions were not written." in again.stderr
    assert ids[0] in again.stderr


def test_export_into_a_folder_that_may_not_be_is_told(saved):
    cli, _ = saved
    (cli.home / "file").write_text("")
    detail = cli.json("export", "-o", str(cli.home / "file" / "x.md"), "--json", code=1)["detail"]
    assert detail["error"] == "file"


def test_export_with_reasoning_has_what_was_thought(cli, server):
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hmm, beds."}}]}
    server.on(_CHAT, sse(thought, "Beds.", finish(), DONE))
    cli("ask", "--save", "hi")
    assert "Hmm, beds." not in cli("export").stdout
    assert "Hmm, beds." in cli("export", "--reasoning").stdout


def test_a_damaged_file_of_sessions_is_set_aside_and_told(saved):
    cli, _ = saved
    (cli.folder / "sessions.db").write_bytes(b"this is no database" * 100)
    done = cli("sessions")
    assert done.returncode == 0
    assert "sessions.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_and_a_session_exclude_each_other(cli):
    done = cli("export", "last", "--all", str(cli.home / "x"))
    assert (done.returncode, done.stdout) == (2, "")
