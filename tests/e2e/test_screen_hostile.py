"""A server, a file and a clipboard full of control sequences: no byte of theirs commands the terminal."""

from __future__ import annotations

import base64
import re

import pytest

from tests.support.hostile import FORBIDDEN, HARMLESS, HOSTILE, MODEL, failure, speak
from tests.support.lmchat_screen import LMChatScreen
from tests.support.programs import LMCHAT
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import ScriptedServer
from tests.support.terminal_bytes import kinds, sequences, titles


def journey(home, words: str) -> bytes:
    """Let a person meet these words everywhere; return what the terminal got while the screen was there."""
    with speak(ScriptedServer(), words) as server:
        with LMChatScreen(home, server.url, "-m", MODEL) as screen:
            screen.wait_ready()
            screen.type(b"\x1b[200~" + words.replace("\x1b", "\x1b ").encode() + b"\x1b[201~")
            screen.wait_for("END")
            screen.wait_time(0.2)
            screen.type("\r")
            screen.wait_for("LAST")
            screen.wait_for("answer saved")
            screen.type("\x1b[1;3A")
            screen.wait_for("regenerate")
            walk(screen, server, words)
            raw = whole(screen.raw)
            assert screen.process.poll() is None
        with LMChatScreen(home, server.url, "-r", "last", size=(60, 20)) as screen:
            screen.wait_for("END")
            raw += whole(screen.raw)
    return raw


def whole(raw: bytes) -> bytes:
    """Leave out the last sequence, of which only a part may have come."""
    return raw[: raw.rindex(b"\x1b")]


def walk(screen: LMChatScreen, server: ScriptedServer, words: str) -> None:
    """See the words as source, in the tree, in the picker and in an error, and copy them."""
    for key in ("s", "s", "\r"):
        screen.type(key)
        screen.wait_time(0.1)
    screen.type("t")
    screen.wait_for("1 branch")
    screen.type("\x1b")
    screen.wait_gone("1 branch")
    screen.type("y")
    screen.wait_for_raw(b"\x1b]52;c;")
    screen.type("\x0f")
    screen.wait_for("load or unload")
    screen.wait_time(0.3)
    screen.type("\x1b")
    screen.wait_gone("load or unload")
    server.on(CHAT, failure(words))
    screen.type("\x12")
    screen.wait_for("copy details")


@pytest.mark.timeout(60)
def test_hostile_words_reach_the_screen_as_text_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    own = kinds(journey(tmp_path / "a", HARMLESS))
    raw = journey(tmp_path / "b", HOSTILE)
    assert kinds(raw) - own == set()
    assert [attack for attack in FORBIDDEN if attack in raw] == []
    assert all("PWNED" not in text for name, text in sequences(raw) if name != "osc")
    assert all(re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]*", title) for title in titles(raw))
    copied = [text for name, text in sequences(raw) if text.startswith("\x1b]52")]
    for text in copied:
        clear = base64.b64decode(text.split(";")[2].rstrip("\x07\x1b\\"))
        assert kinds(clear) == set()


@pytest.mark.timeout(60)
def test_hostile_words_reach_the_output_of_no_command(tmp_path):
    with speak(ScriptedServer(), HOSTILE) as server:
        commands = {
            "ask": ["--endpoint", server.url, "-m", MODEL, "ask", "--save", HOSTILE.replace("\x00", "")],
            "models": ["--endpoint", server.url, "-m", MODEL, "models"],
            "sessions": ["sessions"],
            "show": ["sessions", "show", "last"],
            "export": ["export", "last"],
        }
        for name, words in commands.items():
            raw = output_of(tmp_path, words)
            assert b"PWNED" in raw, name
            assert_harmless(raw)
        server.on(CHAT, failure(HOSTILE))
        raw = output_of(tmp_path, ["--endpoint", server.url, "-m", MODEL, "ask", "hello"], code=2)
        assert b"PWNED" in raw
        assert_harmless(raw)


def output_of(home, words, code: int = 0) -> bytes:
    with PtyProgram([*LMCHAT, *words], home=home, size=(200, 50)) as program:
        status = program.wait_exit()
        assert status == code, program.text
        return program.raw


def assert_harmless(raw: bytes) -> None:
    assert kinds(raw) <= {"csi m"}
    assert [attack for attack in FORBIDDEN if attack in raw] == []
