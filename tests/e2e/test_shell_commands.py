"""`!COMMAND` on a real terminal: hostile commands leave terminal, prompt, memory and processes in order."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.test_plain import begin, leave, on_disk, texts, wait_prompt  # noqa: F401 - a fixture
from tests.support.chats import header, prompt
from tests.support.lmchat_screen import leave as leave_screen
from tests.support.lmchat_screen import stored
from tests.support.programs import Inside, is_running, wait_until
from tests.support.pty_program import ALTERNATE_SCREEN, PtyProgram
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, Gate, finish, sse

Cli = Inside
_ESCAPES = r"printf '\033[?1049l\033]0;evil\007\033[2J\033c\233evil\n'"
_ASKS = "(printf Password: >/dev/tty; read -r x </dev/tty) 2>&1; read -r x; echo answered"


def numbered(folder: Path, command: str) -> tuple[str, Path]:
    """Return a command that writes the number of its shell into a file, and this file."""
    file = folder / "number"
    return f"!echo $$ > {file}; {command}\r", file


def number_in(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text().strip(), "the number")
    return int(file.read_text())


def ask_about(screen, server) -> str:
    """Send the block in the prompt with a question; return what the server got."""
    screen.type("Why?\r")
    screen.wait_answered()
    [request] = server.seen(CHAT)
    return request.json["messages"][-1]["content"]


def test_escape_sequences_reach_neither_the_terminal_nor_the_prompt(screen, server):
    screen.type(f"!{_ESCAPES}\r")
    screen.wait_until(lambda: "bytes)]" in screen.prompt_text, "the block")
    assert ALTERNATE_SCREEN in screen.private_modes
    assert "evil" not in screen.title
    text = ask_about(screen, server)
    assert "␛[?1049l␛]0;evil␇␛[2J␛c›evil\n[exit code 0]" in text
    leave_screen(screen)
    assert screen.left_behind() == []


def test_a_command_that_never_ends_is_stopped_by_esc_with_its_children(screen, tmp_path):
    typed, file = numbered(tmp_path, "trap '' TERM; yes & while :; do sleep 1; done")
    screen.type(typed, sees="Running:")
    number = number_in(file)
    screen.put("Still")
    screen.type("\x1b", hides="Running:")
    screen.wait_until(lambda: "stopped" in screen.prompt_text, "the block")
    assert not is_running(number)
    assert "Still" in screen.prompt_text
    leave_screen(screen)
    assert screen.left_behind() == []


def test_a_question_for_a_password_ends_instead_of_reaching_the_terminal(screen, server):
    screen.type(f"!{_ASKS}\r")
    screen.wait_until(lambda: "bytes)]" in screen.prompt_text, "the block")
    text = ask_about(screen, server)
    assert "/dev/tty" in text
    assert "\nanswered\n" in text
    assert b"Password:" not in screen.raw.replace(b"printf Password:", b"")
    leave_screen(screen)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_running_command_ends_with_lmchat(screen, tmp_path, number):
    typed, file = numbered(tmp_path, "trap '' TERM HUP; sleep 600; sleep 600")
    screen.type(typed, sees="Running:")
    pid = number_in(file)
    screen.kill(number)
    assert screen.wait_exit() == 128 + number
    wait_until(lambda: not is_running(pid), "the end of the command")


def test_quitting_ends_a_running_command_without_a_wait_for_it(screen, tmp_path):
    typed, file = numbered(tmp_path, "trap '' TERM; sleep 600; sleep 600")
    screen.type(typed, sees="Running:")
    pid = number_in(file)
    leave_screen(screen)
    assert screen.left_behind() == []
    wait_until(lambda: not is_running(pid), "the end of the command")


# The plain chat


def test_in_the_plain_chat_the_output_goes_with_the_next_prompt(begin, server, cli):  # noqa: F811
    server.on(CHAT, chat_reply("Beans."))
    talk = begin()
    talk.type(f"!{_ESCAPES}; exit 3\r", sees="exit code 3 (")
    wait_prompt(talk)
    assert server.seen(CHAT) == []
    talk.type("Why?\r", sees="Beans.\nYou:")
    leave(talk)
    [request] = server.seen(CHAT)
    assert "␛c›evil\n[exit code 3]" in request.json["messages"][-1]["content"]
    assert stored(cli.home).messages[0].files[0].name.endswith(", exit code 3")


def test_in_the_plain_chat_ctrl_c_stops_it_and_keeps_its_output(begin, tmp_path):  # noqa: F811
    talk = begin()
    typed, file = numbered(tmp_path, "echo begun; sleep 600")
    talk.type(typed, sees="Running. Ctrl+C stops it.")
    number = number_in(file)
    talk.type("\x03", sees="stopped (")
    talk.wait_for("Stopped.\nYou:")
    assert not is_running(number)
    leave(talk)


def test_on_a_pipe_it_is_a_prompt(cli, server, tmp_path):
    server.on(CHAT, chat_reply("A."), chat_reply("B."))
    done = cli("--plain", stdin=f'!touch {tmp_path}/ran\n"""!touch {tmp_path}/ran"""\n')
    assert (done.returncode, done.stdout) == (0, "A.\nB.\n")
    assert not (tmp_path / "ran").exists()


def test_neither_earlier_prompts_nor_pastes_run_in_the_plain_chat(
    begin,  # noqa: F811
    cli,
    server,
    tmp_path,
):
    server.on(CHAT, *(chat_reply(text) for text in ("A.", "B.", "C.")))
    line = f"!touch {tmp_path}/ran"
    cli("--plain", stdin=f"{line}\n")
    talk = begin("-r", "last")
    talk.type("/sessions\r", sees="1. “!touch")
    wait_prompt(talk)
    talk.type("\x1b[A\x1b[A\x1b[A\x1b[A")  # farther back than the prompt that was sent
    talk.wait_until(lambda: talk.text.rstrip().endswith("You:\n/sessions"), "the oldest line")
    talk.type("\x15")
    wait_prompt(talk)
    talk.paste(f"{line}\nx")
    talk.type("\r", sees="B.\nYou:")
    talk.type(f'"""{line}"""\r', sees="C.\nYou:")
    talk.type("\x04")
    assert talk.wait_exit() == 0
    assert not (tmp_path / "ran").exists()
    assert texts(cli.home)[2::2] == [f"{line}\nx", line]


def test_an_earlier_prompt_with_line_ends_around_a_command_does_not_run_in_the_plain_chat(
    begin,  # noqa: F811
    cli,
    server,
    tmp_path,
):
    server.on(CHAT, chat_reply("A."))
    line = f"!touch {tmp_path}/ran"
    for text in ("Plant beans", f"\n{line}", f"{line}\n"):  # as an imported chat may have them
        asyncio.run(on_disk(cli, "append", header(), prompt(text)))
    talk = begin()
    talk.type("\x1b[A\r", sees="A.\nYou:")
    leave(talk)
    assert not (tmp_path / "ran").exists()
    [request] = server.seen(CHAT)
    assert request.json["messages"][-1]["content"] == "Plant beans"


def paste(talk, text):
    """Paste as a terminal does: with marks only where the program has asked for them."""
    marks = talk.raw.rfind(b"\x1b[?2004h") > talk.raw.rfind(b"\x1b[?2004l")
    talk.type(f"\x1b[200~{text}\x1b[201~" if marks else text)


@pytest.mark.parametrize("option", ["--plain", "--inline"])
@pytest.mark.parametrize(
    "env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"INSIDE_EMACS": "29"}], ids=str
)
def test_a_pasted_line_with_its_end_runs_nothing(begin, server, tmp_path, option, env):  # noqa: F811
    gate = Gate()
    server.on(CHAT, sse("One", gate, ".", finish(), DONE), chat_reply("Two."))
    talk = begin(argv=(option,), **env)
    line = f"!touch {tmp_path}/ran\r"
    can_mark = not {"TERM", "INSIDE_EMACS"} & env.keys()
    paste(talk, line)
    talk.wait_for(line.strip() if can_mark else "This terminal does not mark pastes")
    if can_mark:
        talk.type("\x15")
    talk.type("First\r", sees="One")
    paste(talk, line)  # while an answer comes
    gate.open()
    if can_mark:
        talk.wait_for(re.compile(r"You:\n!touch[^\n]*\s*$"))
        talk.type("\x15")
    else:
        talk.wait_until(lambda: talk.text.count("does not mark pastes") == 2, "the refusal")
    talk.type("Next\r", sees="Two.\nYou:")
    leave(talk)
    assert not (tmp_path / "ran").exists()


def test_what_is_pasted_before_the_first_prompt_does_not_run(cli, tmp_path):
    with PtyProgram(cli.argv("--plain"), home=cli.home) as talk:
        talk.type(f"!touch {tmp_path}/ran\r")
        talk.wait_for("/help lists the commands.\nYou:")
        talk.type("/new\r", sees="New session.")
        assert not (tmp_path / "ran").exists()
