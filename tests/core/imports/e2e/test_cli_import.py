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


def test_an_import_makes_a_copy_of_the_sessions_and_a_trial_none(empty):
    name = file_of(empty)
    for words, copies in ((("--dry-run",), 0), ((), 1)):
        assert empty("import", *words, name).returncode == 0
        assert len([*empty.folder.glob("sessions.db.backup-*")]) == copies


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
