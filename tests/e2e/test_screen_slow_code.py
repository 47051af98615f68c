"""Code that makes a lexer hang stops neither keys nor signals, and the answer is on the disk."""

from __future__ import annotations

import json
import signal

import psutil
import pytest

from lmchat.domain.message import AnswerState
from tests.support.lmchat_screen import LMChatScreen, answers, leave, ready_screen
from tests.support.programs import LMCHAT, is_running, run, wait_until
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, ScriptedServer, delta, finish, sse

pytestmark = pytest.mark.timeout(90)
_SLASHES = '"' + "\\" * 60
_WORST = {
    "fish": _SLASHES,
    "scala": _SLASHES,
    "tcsh": _SLASHES,
    "ansys": "'" + "\\" * 60,
    "c": " " * 4_000 + "x",
    "arduino": "\n" * 3_000,
}
"""Code that takes Pygments' lexers for these languages seconds, or for ever."""
ANSWER = "".join(f"```{language}\n{code}\n```\n\n" for language, code in _WORST.items())


@pytest.fixture
def server():
    with llama_cpp(ScriptedServer()) as scripted:
        yield scripted


def words(text: str) -> list[str]:
    """Cut an answer as a server does."""
    return [delta(text[start : start + 97]) for start in range(0, len(text), 97)]


def is_written(home, words: bytes) -> bool:
    files = (home / "lmchat").glob("sessions.db-answer-*")
    return any(words in file.read_bytes() for file in files)


def test_keys_are_served_while_a_lexer_hangs_and_the_answer_is_on_the_disk(tmp_path, server):
    server.on(CHAT, sse(*words(ANSWER + "LAST"), finish(), DONE))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Show me some code.", answers=1, sees="LAST")
        screen.put("typed meanwhile")
        (answer,) = answers(tmp_path)
        assert answer.text == ANSWER + "LAST"
        assert answer.state is AnswerState.COMPLETE
        leave(screen)
        assert screen.left_behind() == []


@pytest.mark.parametrize("language", _WORST)
def test_esc_stops_an_answer_while_a_lexer_hangs(tmp_path, server, language):
    text = f"```{language}\n{_WORST[language]}\n"
    server.on(CHAT, sse(*words(text), delta("AFTER"), Gate()))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Show me some code.", sees="AFTER")
        screen.type("\x1b")
        screen.wait_stopped()
        (answer,) = answers(tmp_path)
        assert (answer.text, answer.state) == (text + "AFTER", AnswerState.STOPPED)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_lmchat_and_its_child_while_a_lexer_hangs(tmp_path, server, number):
    server.on(CHAT, sse(*words(ANSWER), delta("AFTER"), Gate()))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Show me some code.", sees="AFTER")
        children = [
            child.pid for child in psutil.Process(screen.process.pid).children(recursive=True)
        ]
        assert children
        wait_until(lambda: is_written(tmp_path, b"AFTER"), "the answer is on the disk")
        screen.kill(number)
        assert screen.wait_exit(5) == 128 + number
    wait_until(lambda: not any(map(is_running, children)), "the end of the children")
    (answer,) = answers(tmp_path)
    assert answer.text.startswith(ANSWER)
    assert answer.state is not AnswerState.STREAMING


def test_an_imported_chat_with_such_code_opens(tmp_path, server):
    messages = [
        {"role": "user", "content": "Show me."},
        {"role": "assistant", "content": ANSWER + "LAST"},
    ]
    (tmp_path / "chat.json").write_text(json.dumps(messages))
    done = run([*LMCHAT, "import", str(tmp_path / "chat.json")], home=tmp_path)
    assert done.returncode == 0, done.stderr
    with LMChatScreen(tmp_path, server.url, "-r", "last") as screen:
        screen.wait_for("LAST")
        screen.put("typed meanwhile")
        leave(screen)
