from __future__ import annotations

import os
from pathlib import Path

from tests.support.files_to_attach import image
from tests.support.hostile import MODEL, copied, speak
from tests.support.lmchat_screen import LMChatScreen, ready_screen, stored
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp
from tests.support.scripted_server import ScriptedServer

PRODUCT = llama_cpp
_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus
ANSWER = "Some **bold** words.\n\n```python\ndef f():\n\treturn 1\n```\n\nThe *end* of it 漢字."
_XCLIP = """#!/bin/sh
case "$*" in
*image/png*) exec cat $HOME/image.png;;
*-o*) printf 'Lettuce likes shade.';;
*) if [ -e $HOME/begun ]
   then touch $HOME/again; sleep 0.5; cat > $HOME/copied
   else touch $HOME/begun; exec sleep 600
   fi;;
esac
"""


def source(home: Path) -> str:
    return stored(home).messages[-1].text


def place(screen, words, *, behind=False):
    """Column and row of words as a terminal counts them; or those of their last letter."""
    for y, row in enumerate(screen.screen(), 1):
        if words in row:
            return row.index(words) + 1 + (len(words) - 1 if behind else 0), y
    raise AssertionError(screen.text)


def drag(screen, first, last):
    (column, row), end = place(screen, first), place(screen, last, behind=True)
    for code, (x, y), letter in (
        (0, (column, row), "M"),
        (32, (column + 1, row), "M"),
        (32, end, "M"),
        (0, end, "m"),
    ):
        screen.type(f"\x1b[<{code};{x};{y}{letter}")


def test_a_terminal_alone_is_sent_the_source_and_the_selection_and_nothing_is_promised(
    tmp_path, server
):
    server.on(CHAT, chat_reply(ANSWER))
    with ready_screen(tmp_path, server.url, size=(80, 24)) as screen:
        screen.ask("What is it?", answers=1)
        screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
        screen.type("y")
        screen.wait_until(lambda: copied(screen.raw), "the copy")
        assert copied(screen.raw) == [source(tmp_path)] == [ANSWER]
        screen.type("\x1b", hides=_ON_MESSAGE)
        drag(screen, "bold", "return")
        screen.wait_for("^C copy")
        screen.type("\x03")
        screen.wait_until(lambda: len(copied(screen.raw)) == 2, "the other copy")
        assert copied(screen.raw)[1] == "bold words.\n\ndef f():\n\treturn"
        screen.wait_gone("^C copy")
        assert "Copied" not in screen.text


def test_a_tool_is_asked_first_its_hanging_holds_up_no_key_and_leaving_waits_for_it(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/xclip").write_text(_XCLIP)
    (tmp_path / "bin/xclip").chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}", "DISPLAY": ":0"}
    with (
        speak(ScriptedServer(), "words of the garden, 漢字 é") as server,
        LMChatScreen(tmp_path, server.url, "-m", MODEL, env=env) as screen,
    ):
        screen.wait_for(f"● {MODEL}")
        screen.ask("hello", sees="LAST")
        screen.wait_for("answer saved")
        screen.type("/paste", sees="/paste")
        screen.type("\r", sees="[clipboard.txt (20 bytes)]")
        (tmp_path / "image.png").write_bytes(image())
        screen.type("/paste", sees="/paste")
        screen.type("\r", sees="[clipboard.png (")

        screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
        screen.type("y")
        screen.wait_until((tmp_path / "begun").exists, "the tool has begun")
        screen.type("\x1b", hides=_ON_MESSAGE)
        screen.type("typed while it hangs", sees="typed while it hangs")
        screen.wait_for("(OSC 52)")  # in the end the next way is taken
        assert copied(screen.raw) == [source(tmp_path)]

        screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
        screen.type("y")
        screen.wait_until((tmp_path / "again").exists, "the tool has begun again")
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert (tmp_path / "copied").read_text() == source(tmp_path)
