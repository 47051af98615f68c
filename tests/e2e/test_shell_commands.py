"""`!COMMAND` on a real terminal: hostile commands leave terminal, prompt, memory and processes in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.lmchat_screen import leave, stored
from tests.support.programs import Inside, is_running, wait_until
from tests.support.pty_program import ALTERNATE_SCREEN
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, Gate, finish, sse

Cli = Inside

_ESCAPES = r"printf '\033[?1049l\033]0;evil\007\033[2J\033c\233evil\n'"
_ASKS = "(printf Password: >/dev/tty; read -r x </dev/tty) 2>&1; read -r x; echo answered in ${BASH_VERSION:+bash}"
_HOLDS_ON = "trap '' TERM HUP; sleep 600; sleep 600"


@pytest.fixture(autouse=True)
def configured_shell(cli):
    cli.configure("[chat]\nshell = 'bash'\n")


def numbered(folder: Path, command: str) -> tuple[str, Path]:
    """Return a command that says that it has started, writes the number of its shell into a file, and goes on."""
    file = folder / "number"
    return f"echo begun; echo $$ > {file}; {command}", file


def run(screen, command: str, sees: str = "") -> None:
    """Type a command of the shell: what comes together with its `!` may be a paste."""
    screen.type("!", sees="Enter runs it")
    screen.type(command)
    screen.type("\r", sees=sees)


def number_in(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text(encoding="utf-8").strip(), "the number")
    return int(file.read_text(encoding="utf-8"))


def test_hostile_commands_reach_neither_the_terminal_nor_a_person_and_esc_stops_them(
    screen, server, tmp_path
):
    run(screen, _ESCAPES)
    screen.wait_until(lambda: " B)]" in screen.prompt_text, "the block")
    assert ALTERNATE_SCREEN in screen.private_modes
    assert "evil" not in screen.title
    run(screen, _ASKS)
    screen.wait_until(lambda: screen.prompt_text.count(" B)]") == 2, "the next block")
    typed, file = numbered(tmp_path, "trap '' TERM; yes & while :; do sleep 1; done")
    run(screen, typed, sees="Running:")
    number = number_in(file)
    screen.put("Still")
    screen.type("\x1b", hides="Running:")
    screen.wait_until(lambda: "stopped" in screen.prompt_text, "the block of what was stopped")
    assert not is_running(number)
    assert "Still" in screen.prompt_text

    screen.type("\r")
    screen.wait_for(re.compile(r"left out\s·"))  # of the receipt, the rest may have no room
    [request] = server.seen(CHAT)
    text = request.json["messages"][-1]["content"]
    assert "evil\n[exit code 0]" in text
    assert "/dev/tty" in text
    assert "\nanswered in bash\n" in text
    assert b"Password:" not in screen.raw.replace(b"printf Password:", b"")
    leave(screen)
    assert screen.left_behind() == []


def test_a_running_command_ends_with_lmchat(screen, tmp_path):
    typed, file = numbered(tmp_path, _HOLDS_ON)
    run(screen, typed, sees="Running:")
    pid = number_in(file)
    leave(screen)
    assert screen.left_behind() == []
    wait_until(lambda: not is_running(pid), "the end of the command")


# The plain chat


def test_in_the_plain_chat_the_output_goes_with_the_next_prompt(start, server, cli, tmp_path):
    server.on(CHAT, chat_reply("Beans."))
    talk = start()
    talk.type("/help\r", sees="!COMMAND runs a command")
    talk.wait_prompt()
    talk.type(f"!{_ESCAPES}; echo ${{BASH_VERSION:+bash}}; exit 3\r", sees="exit code 3 (")
    talk.wait_prompt()
    typed, file = numbered(tmp_path, "sleep 600")
    talk.type(f"!{typed}\r", sees="Running. Ctrl+C stops it.")
    number = number_in(file)
    talk.type("\x03", sees="stopped (")
    talk.wait_for("Stopped.\nYou:")
    assert not is_running(number)
    assert server.seen(CHAT) == []
    talk.type("Why?\r", sees="Beans.\nYou:")
    talk.leave()
    [request] = server.seen(CHAT)
    assert "evil\nbash\n[exit code 3]" in request.json["messages"][-1]["content"]
    assert "begun\n[stopped" in request.json["messages"][-1]["content"]
    assert stored(cli.home).messages[0].files[0].name.endswith(", exit code 3")


def test_a_pasted_line_with_its_end_runs_nothing_where_pastes_have_no_marks(
    start, server, tmp_path
):
    gate = Gate()
    server.on(CHAT, sse("One", gate, ".", finish(), DONE), chat_reply("Two."))
    talk = start(argv=("--inline",), TERM="dumb")
    line = f"!touch {tmp_path}/ran\r"
    talk.type(line, sees="This terminal does not mark pastes")
    talk.type("First\r", sees="One")
    talk.type(line)  # while an answer comes
    gate.open()
    talk.wait_until(lambda: talk.text.count("does not mark pastes") == 2, "the refusal")
    talk.type("Next\r", sees="Two.\nYou:")
    talk.leave()
    assert not (tmp_path / "ran").exists()
