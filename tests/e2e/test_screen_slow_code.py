"""Code that makes a lexer hang stops neither keys nor signals, and the answer is on the disk."""

from __future__ import annotations

import json

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.lmchat_screen import LMChatScreen, answers, leave
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, delta, finish, sse

pytestmark = pytest.mark.timeout(90)

PRODUCT = llama_cpp
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


def words(text: str) -> list[str]:
    """Cut an answer as a server does."""
    return [delta(text[start : start + 97]) for start in range(0, len(text), 97)]


def test_keys_are_served_and_esc_stops_an_answer_while_a_lexer_hangs(tmp_path, server):
    messages = [
        {"role": "user", "content": "Show me."},
        {"role": "assistant", "content": ANSWER + "LAST"},
    ]
    (tmp_path / "chat.json").write_text(json.dumps(messages))
    done = Inside(tmp_path)("import", str(tmp_path / "chat.json"))
    assert done.returncode == 0, done.stderr
    with LMChatScreen(tmp_path, server.url, "-r", "last") as screen:
        screen.wait_for("LAST")
        screen.wait_ready()
        screen.put("typed while all of it waits for colours")
        screen.type("\x1b[1;5F\x1b[1;6H\x7f", hides="typed while")
        for count, (language, code) in enumerate(_WORST.items(), 2):
            text = f"```{language}\n{code}\n"
            server.on(CHAT, sse(*words(text), delta(f"AFTER {language}"), Gate()))
            screen.ask(f"Show me some {language}.", sees=f"AFTER {language}")
            screen.type("\x1b")
            screen.wait_until(
                lambda: (
                    [one.state for one in answers(tmp_path)[count - 1 :]]  # noqa: B023
                    == [AnswerState.STOPPED]
                ),
                f"the stop of {language}",
            )
            assert answers(tmp_path)[-1].text == f"{text}AFTER {language}"
        server.on(CHAT, sse(*words(ANSWER + "OVER"), finish(), DONE))
        screen.ask("Show me all.", sees="OVER")
        screen.put("typed meanwhile")
        screen.wait_until(lambda: answers(tmp_path)[-1].text == ANSWER + "OVER", "it is saved")
        leave(screen)
        assert screen.left_behind() == []
