from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.files_to_attach import image
from tests.support.hostile import MODEL, copied, speak
from tests.support.lmchat_screen import LMChatScreen, stored
from tests.support.pty_program import PtyProgram
from tests.support.scripted_server import ScriptedServer

WORDS = "words of the garden, 漢字 é"
_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus


@contextmanager
def answered(
    home: Path, *, env: Mapping[str, str] | None = None, **tools: str
) -> Iterator[LMChatScreen]:
    """Show an answer that has the focus, with fake tools in the first folder of PATH."""
    folder = home / "bin"
    folder.mkdir()
    for name, script in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **(env or {})}
    with (
        speak(ScriptedServer(), WORDS) as server,
        LMChatScreen(home, server.url, "-m", MODEL, env=environ) as screen,
    ):
        focus_answer(screen)
        yield screen


def focus_answer(screen: PtyProgram) -> None:
    screen.wait_for(f"● {MODEL}")
    screen.type("hello", sees="hello")
    screen.type("\r", sees="LAST")
    screen.wait_for("answer saved")
    screen.type("\x1b[1;3A", sees=_ON_MESSAGE)


def source(home: Path) -> str:
    return stored(home).messages[-1].text


def test_a_terminal_alone_is_sent_the_source_and_nothing_is_promised(tmp_path: Path) -> None:
    with answered(tmp_path) as screen:
        screen.type("y", sees="it does not")
        assert copied(screen.raw) == [source(tmp_path)]
        assert "Copied" not in screen.text


def test_a_tool_that_hangs_holds_up_no_key(tmp_path: Path) -> None:
    script = "echo $$ > $HOME/begun; exec sleep 600"
    with answered(tmp_path, env={"DISPLAY": ":0"}, xclip=script) as screen:
        screen.type("y")
        screen.wait_until((tmp_path / "begun").exists, "the tool has begun")
        screen.type("\x1b", hides=_ON_MESSAGE)
        screen.type("typed while it hangs", sees="typed while it hangs")
        screen.wait_for("(OSC 52)")  # in the end the next way is taken
        assert copied(screen.raw) == [source(tmp_path)]


def test_leaving_waits_until_what_was_copied_has_arrived(tmp_path: Path) -> None:
    script = "touch $HOME/begun; sleep 0.5; cat > $HOME/copied"
    with answered(tmp_path, env={"DISPLAY": ":0"}, xclip=script) as screen:
        screen.type("y")
        screen.wait_until((tmp_path / "begun").exists, "the tool has begun")
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert (tmp_path / "copied").read_text() == source(tmp_path)


@pytest.mark.parametrize("is_image", [True, False])
def test_paste_attaches_what_another_program_has_copied(tmp_path, is_image):
    (tmp_path / "clip").write_bytes(image() if is_image else b"Lettuce likes shade.")
    wanted = "image/png" if is_image else "-o"
    script = f'case "$*" in *{wanted}) cat {tmp_path}/clip;; *) exit 1;; esac'
    with answered(tmp_path, env={"DISPLAY": ":0"}, xclip=script) as screen:
        screen.type("\x1b", sees="F1 help")
        screen.type("/paste", sees="/paste")
        screen.type("\r", sees="[clipboard.png (" if is_image else "[clipboard.txt (20 bytes)]")
