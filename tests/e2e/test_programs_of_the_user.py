"""What the editor, the pager and other programs get, and what is left of the files that they got."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.programs import Inside, is_running, put_script, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, chat_reply

Cli = Inside

_PROMPT = "A secret plan"
_WAITS = "echo $$ > {folder}/pid\nexec sleep 600"
_SAVES = "printf ' that is saved' >> \"$1\"\n" + _WAITS
_TELLS = (
    'env > {folder}/told.new\n[ -n "$1" ] || cat > /dev/null\nmv {folder}/told.new {folder}/told'
)


def put_program(folder: Path, text: str) -> str:
    return str(put_script(folder / "program", text.format(folder=folder)))


@pytest.fixture
def temporary(tmp_path):
    """Folder for temporary files; at the end the editor is ended."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    yield folder
    with suppress(OSError, ValueError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def files_with_the_prompt(temporary: Path) -> list[Path]:
    found = []
    for path in temporary.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # lmchat has renamed or removed it
            if _PROMPT in path.read_text():
                found.append(path)
    return found


def start_editing(
    cli, temporary: Path, tmp_path: Path, *given: str, editor: str = _WAITS
) -> PtyProgram:
    """Open the prompt in an editor that does not end."""
    env = {"EDITOR": put_program(tmp_path, editor), "TMPDIR": str(temporary)}
    program = PtyProgram(cli.argv(*given), home=cli.home, size=(100, 30), env=env)
    program.wait_for("tiny")
    program.type(_PROMPT, sees=_PROMPT)
    program.type("\x07")
    folders = (temporary, cli.home / "lmchat" / "editor")
    program.wait_until(lambda: any(map(files_with_the_prompt, folders)), "the file")
    program.wait_until((tmp_path / "pid").exists, "the editor")
    return program


@pytest.mark.parametrize("ending", ["SIGTERM", "a closed terminal"])
def test_what_was_saved_in_the_editor_is_the_draft_of_the_next_start(
    cli, temporary, tmp_path, ending
):
    with start_editing(cli, temporary, tmp_path, editor=_SAVES) as program:
        number = int((tmp_path / "pid").read_text())
        if ending == "a closed terminal":
            program.hang_up()
            program.wait_exit()
        else:
            program.kill(signal.SIGTERM)
            assert program.wait_exit() == 128 + signal.SIGTERM
        assert list(temporary.iterdir()) == []
        assert list((cli.home / "lmchat" / "editor").iterdir()) == []
        wait_until(lambda: not is_running(number), "the end of the editor")
    with PtyProgram(cli.argv(), home=cli.home, size=(100, 30)) as program:
        program.wait_for(f"{_PROMPT} that is saved")


def test_after_a_kill_what_was_saved_in_the_editor_is_found_and_named_until_it_is_gone(
    cli, temporary, tmp_path
):
    folder = cli.home / "lmchat" / "editor"
    with start_editing(cli, temporary, tmp_path, editor=_SAVES) as program:
        program.wait_until(
            lambda: any("that is saved" in file.read_text() for file in folder.glob("*/*.md")),
            "the saved text",
        )
        assert "was in an editor" not in cli("doctor").stdout, "it still runs"
        program.kill(signal.SIGKILL)
        program.wait_exit()
    (file,) = folder.glob("*/*.md")
    words = f"{file} was in an editor when lmchat was killed"
    assert file.read_text() == f"{_PROMPT} that is saved"
    for _ in range(2):
        assert words in cli("doctor", "--json").stdout
        assert words in cli("ask", "hi").stderr
    with PtyProgram(cli.argv(), home=cli.home, size=(200, 30)) as program:
        program.wait_for("was in an editor when lmchat was killed")
    file.unlink()
    assert words not in cli("doctor", "--json").stdout
    assert words not in cli("ask", "hi").stderr


def test_a_temporary_chat_saves_nothing_of_the_editor(cli, temporary, tmp_path):
    with start_editing(cli, temporary, tmp_path, "--temporary", editor=_SAVES) as program:
        program.kill(signal.SIGTERM)
        assert program.wait_exit() == 128 + signal.SIGTERM
    assert list(temporary.iterdir()) == []
    assert not [
        path
        for path in cli.home.rglob("*")
        if path.is_file() and _PROMPT.encode() in path.read_bytes()
    ]


_CONFIG = """
[[endpoints]]
name = "garden"
url = "http://127.0.0.1:9/v1"
api_key_env = "GARDEN_KEY"
"""
_WIKI = {
    "url": "http://127.0.0.1:9/mcp",
    "headers": {"Authorization": "${env:WIKI_TOKEN}", "X-Home": "${HOME}"},
}
_KEYS = {"GARDEN_KEY": "sk-garden", "WIKI_TOKEN": "Bearer abc", "LMCHAT_API_KEY": "sk-own"}


def test_programs_of_the_user_get_no_key_that_lmchat_sends(cli, server, tmp_path):
    server.on(CHAT, chat_reply("Beans."))
    cli.configure(_CONFIG)
    cli.add_servers(wiki=_WIKI)
    program = put_program(tmp_path, _TELLS)
    env = {**_KEYS, "EDITOR": program, "PAGER": program, "OF_THE_USER": "kept"}
    told = tmp_path / "told"
    with PtyProgram(cli.argv(), home=cli.home, size=(100, 30), env=env) as screen:
        screen.wait_for("tiny")
        screen.type("Hi\r", sees="Beans.")
        for keys in ("\x07", "\x1b[1;3Ao", "!"):  # the editor, the pager, the shell
            screen.type(keys)
            if keys == "!":
                screen.wait_for("Enter runs it")
                screen.type("$EDITOR\r")
            wait_until(told.exists, "the program")
            text = told.read_text()
            assert "OF_THE_USER=kept" in text
            assert f"HOME={cli.home}" in text
            assert [name for name in _KEYS if name in text] == []
            told.unlink()
            screen.type("\x1b")
            screen.wait_quiet(0.2)  # or it would be Alt with the next key
