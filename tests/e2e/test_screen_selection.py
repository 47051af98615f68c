from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.hostile import copied
from tests.support.lmchat_screen import LMChatScreen
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, ScriptedServer, delta, finish, sse

ANSWER = "Some **bold** words.\n\n```python\ndef f():\n\treturn 1\n```\n\nThe *end* of it 漢字."


@contextmanager
def answered(home, size) -> Iterator[LMChatScreen]:
    server = llama_cpp(ScriptedServer())
    server.on(CHAT, sse(delta(role="assistant"), delta(content=ANSWER), finish(), DONE))
    with server as running, LMChatScreen(home, running.url, size=size) as screen:
        screen.wait_ready()
        screen.ask("What is it?", answers=1)
        yield screen


def place(screen, words, *, behind=False):
    """Column and row of words as a terminal counts them; or those of their last letter."""
    for y, row in enumerate(screen.screen(), 1):
        if words in row:
            return row.index(words) + 1 + (len(words) - 1 if behind else 0), y
    raise AssertionError(screen.text)


def mouse(screen, code, where, end="M"):
    screen.type(f"\x1b[<{code};{where[0]};{where[1]}{end}")


def drag(screen, first, last):
    start, end = place(screen, first), place(screen, last, behind=True)
    mouse(screen, 0, start)
    mouse(screen, 32, (start[0] + 1, start[1]))
    mouse(screen, 32, end)
    mouse(screen, 0, end, "m")


def test_what_the_mouse_went_over_is_copied_by_ctrl_c_as_it_was_written(tmp_path):
    with answered(tmp_path, (80, 24)) as screen:
        drag(screen, "bold", "return")
        screen.wait_for("^C copy")
        screen.type("\x03")
        screen.wait_until(lambda: copied(screen.raw), "the copy")
        assert copied(screen.raw) == ["bold words.\n\ndef f():\n\treturn"]
        screen.wait_gone("^C copy")
