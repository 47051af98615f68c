from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.programs import Inside

Cli = Inside
FOREIGN = Path(__file__).parents[1] / "data" / "foreign"
LIST = [
    {"role": "user", "content": "Which vegetables?"},
    {"role": "assistant", "content": "Lettuce."},
]


@pytest.fixture
def empty(tmp_path):
    """A user without sessions."""
    return Cli(home=tmp_path)


def file_of(cli, value=LIST, name="talk.json"):
    path = cli.home / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def test_a_list_of_role_and_content_is_tried_imported_once_and_found_in_the_trash(empty):
    name = file_of(empty)
    told = empty("import", "--dry-run", name).stdout
    assert told == f"{name}: “Which vegetables?” would be imported, 2 messages\n"
    (row,) = empty.json("import", "--dry-run", "--json", name)["data"]
    assert (row["outcome"], row["messages"]) == ("would be imported", 2)
    twice = empty("import", "--dry-run", name, name).stdout.splitlines()
    assert twice[-1] == "1 chat, 2 messages would be imported, 1 already existed."
    assert empty.json("sessions", "--json")["data"] == []
    assert not [*empty.folder.glob("sessions.db.backup-*")]
    first = empty("import", name)
    assert len([*empty.folder.glob("sessions.db.backup-*")]) == 1
    session_id = first.stdout.splitlines()[-1]
    assert first.stdout == f"{name}: “Which vegetables?” is imported, 2 messages\n{session_id}\n"
    assert empty("import", "-", stdin=json.dumps(LIST)).stdout == (
        f"-: “Which vegetables?” already exists, as {session_id[:8]}.\n{session_id}\n"
    )
    assert len(empty.json("sessions", "--json")["data"]) == 1
    empty("sessions", "delete", session_id)
    assert empty("import", name).stdout == (
        f"{name}: “Which vegetables?” is in the trash; "
        f"`lmchat sessions restore {session_id[:8]}` restores it.\n"
    )


def test_json_tells_each_file_and_what_was_left_out(empty):
    good = file_of(empty, [*LIST, {"role": "alien"}, {"role": "user", "content": ["a", {}]}])
    bad = file_of(empty, '[{"role": "user",\n "content": "cut', "bad.json")
    value = empty.json("import", "--json", good, bad, code=1)
    (row,) = value["data"]
    assert list(row) == [
        *("file", "outcome", "id", "title", "created_at", "updated_at", "deleted_at", "model"),
        *("endpoint", "messages", "pinned", "archived", "tags", "forked_from"),
        *("sampling", "new_messages", "beside", "skipped"),
    ]
    assert (row["file"], row["outcome"], row["messages"]) == (good, "imported", 3)
    (left_out,) = row["skipped"]
    assert left_out["reason"] == "1 unknown role, 1 unknown part left out"
    (refused,) = value["refused"]
    assert (refused["file"], refused["error"]) == (bad, "file")
    assert empty.json("import", "--json", good)["data"][0]["outcome"] == "present"
    done = empty("import", bad)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"lmchat: {bad}: It is not valid JSON: it is cut off or damaged.\n"
    )
    detail = empty.json("import", "--json", bad, code=1)["detail"]
    assert (detail["error"], "not valid JSON" in detail["message"]) == ("file", True)


def test_a_file_with_a_hole_gives_what_is_before_it_and_names_the_record(empty):
    chats = [{"title": title, "messages": LIST} for title in ("One", "Two")]
    holed = file_of(empty, f"[{json.dumps(chats[0])}, {{, {json.dumps(chats[1])}]", "holed.json")
    damaged = f"{holed}: Record 2 is damaged: nothing from there on is imported."
    done = empty("import", holed)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{holed}: “One” is imported, 2 messages\n")
    assert done.stderr.startswith(f"lmchat: {damaged}\n")
    assert [row["title"] for row in empty.json("sessions", "--json")["data"]] == ["One"]


def test_wrong_use_is_told(empty):
    for words in ((), ("--temporary", "x.md"), ("--what", "x.md"), ("--dry-run", "")):
        done = empty("import", *words)
        assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmchat: FILE is empty.\n")  # not this folder


def test_names_and_words_of_a_file_do_no_harm(empty):
    evil = "\x1b]0;owned\x07\u202e"
    name = file_of(
        empty, [{"role": "user", "content": f"x{evil}"}, {"role": f"{evil}"}], f"a{evil}.json"
    )
    for words in (
        ["import", name],
        ["import", name, "--json"],
        ["import", name + "x"],
        ["sessions"],
    ):
        done = empty(*words)
        assert not set("\x1b\x07\u202e") & set(done.stdout + done.stderr), words


def test_the_chats_of_other_programs_on_this_machine_are_listed_and_imported_after_consent(empty):
    chats = {".lmstudio/conversations": FOREIGN / "1763500000000.conversation.json"}
    chats[".local/share/Jan/data/threads"] = FOREIGN / "jan"
    for folder, chat in chats.items():
        target = empty.home / folder / chat.name
        target.parent.mkdir(parents=True)
        if chat.is_dir():
            shutil.copytree(chat, target)
        else:
            shutil.copy(chat, target)
    # an installed program without chats is no failure
    (empty.home / "jan/threads").mkdir(parents=True)
    refused = empty("import", "--from", "all")
    assert refused.returncode == 2
    assert f"LM Studio: {empty.home}/.lmstudio/conversations" in refused.stderr
    assert "Confirm with --yes." in refused.stderr
    assert empty.json("sessions", "--json")["data"] == []
    none = empty("import", "--from", "llm", "--yes")
    assert (none.returncode, none.stdout) == (0, "")
    done = empty("import", "--from", "all", "--yes")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2] == "2 chats, 9 messages imported."
    sessions = empty.json("sessions", "--json")["data"]
    assert sorted(header["tags"] for header in sessions) == [["jan"], ["lmstudio"]]
    one = empty("import", "--from", "lmstudio", "--dry-run")
    assert "LM Studio: " in one.stderr
    assert "Jan" not in one.stderr
    again = empty("import", "--from", "all", "--yes")
    assert again.returncode == 0
    assert again.stdout.splitlines()[2] == "0 chats, 0 messages imported, 2 already existed."
