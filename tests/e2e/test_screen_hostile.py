"""A server, a file and a clipboard full of control sequences: no byte of theirs commands the terminal."""

from __future__ import annotations

import base64
import json
import re

import pytest

from tests.support.hostile import (
    FORBIDDEN,
    HOSTILE,
    MODEL,
    failure,
    hostile_reply,
    kinds,
    sequences,
    speak,
    titles,
)
from tests.support.lmchat_screen import WIDE, LMChatScreen, answers, ready_screen
from tests.support.programs import PYTHON
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import ScriptedServer

OTHERS = {
    "EDITOR": """sh -c 'cp "$0" "$HOME/edited"; cat "$HOME/words" > "$0"; echo EDITED >> "$0"'""",
    "PAGER": """sh -c 'cat > "$HOME/paged"'""",
}
"""Programs that get the words, and give them."""
_MODES = (7, 25, 1000, 1003, 1004, 1006, 1007, 1015, 1016, 1049, 2004, 2026, 2031)
OWN = {
    *(f"csi '[?{mode}{end}'" for mode in _MODES for end in "hl"),
    *("csi '[?u'", "csi ?s", "csi ?r", "csi >m"),
    *("csi '[<u'", "csi '[>29u'", "csi ?$p", "csi '[c'", "csi C", "csi H", "csi J", "csi m"),
    *("escape '7'", "escape '8'", "osc 0", "osc 11", "osc 22", "osc 52"),
}
"""Kinds of sequences that lmchat itself sends."""
_ON_MESSAGE = "d delete"  # in the row of keys while a message has the focus
SMALL = (60, 20)


def journey(home, words: str) -> bytes:
    """Let a person meet these words everywhere; return what the terminal got while the screen was there."""
    (home / "words").write_bytes(sendable(words))
    with speak(ScriptedServer(), words) as server:
        with ready_screen(home, server.url, "-m", MODEL, env=OTHERS) as screen:
            screen.type(
                b"\x1b[200~" + sendable(words).replace(b"\x1b", b"\x1b ") + b"\x1b[201~", sees="END"
            )
            screen.type("\x07", sees="EDITED")
            screen.type("\r", sees="LAST")
            screen.wait_until(
                lambda: any(one.state == "complete" for one in answers(home)), "it is saved"
            )
            screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
            walk(screen, server, words)
            raw = whole(screen.raw)
            assert screen.process.poll() is None
        assert_within(raw, WIDE[0])
        with LMChatScreen(home, server.url, "-r", "last", size=SMALL) as screen:
            screen.wait_for("END")
            again = whole(screen.raw)
        assert_within(again, SMALL[0])
    return raw + again


def assert_within(raw: bytes, columns: int) -> None:
    """Hold the cursor, where it is moved in its row, to no more cells than the screen has."""
    asked = [text for name, text in sequences(raw) if name == "csi" and text.endswith("C")]
    assert asked
    assert all(0 < int(text[2:-1]) <= columns for text in asked)


def sendable(words: str) -> bytes:
    """The words as a terminal or a file has them."""
    return words.replace("\x00", "").encode("utf-8", "replace")


def whole(raw: bytes) -> bytes:
    """Leave out the last sequence, of which only a part may have come."""
    return raw[: raw.rindex(b"\x1b")]


def walk(screen: LMChatScreen, server: ScriptedServer, words: str) -> None:
    """See the words as source, in a pager, an error and the title of the session, and copy them."""
    for key in ("s", "s", "\r"):
        screen.type(key)
        screen.wait_time(0.1)
    screen.type("o")
    screen.wait_until((screen.home / "paged").exists, "the pager has it")
    screen.wait_time(0.2)
    screen.type("\x1b[1;3A", sees=_ON_MESSAGE)
    screen.type("y")
    screen.wait_until(lambda: b"\x1b]52;c;" in screen.raw, "the copy")
    server.on(CHAT, failure(words))
    screen.type("\x12", sees=re.compile(r"error [0-9a-f]{4}"))
    screen.type("\x1b", hides=_ON_MESSAGE)
    screen.wait_time(0.1)  # a letter right behind ESC is one with Alt
    screen.type("/title ", sees="▌ /title")
    screen.paste(
        " ".join(words.replace("\x1b", "").splitlines()).encode("utf-8", "replace").decode()
    )
    screen.type("\r", sees="Renamed")


@pytest.mark.timeout(120)
def test_hostile_words_reach_the_screen_as_text_alone(tmp_path):
    raw = journey(tmp_path, HOSTILE)
    assert kinds(raw) - OWN == set()
    assert [attack for attack in FORBIDDEN if attack in raw] == []
    assert all("PWNED" not in text for name, text in sequences(raw) if name != "osc")
    assert all(re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]*", title) for title in titles(raw))
    copied = [text for name, text in sequences(raw) if text.startswith("\x1b]52")]
    for text in copied:
        clear = base64.b64decode(text.split(";")[2].rstrip("\x07\x1b\\"))
        # it is a text for other programs, which may hold what is not seen
        assert {name for name, _ in sequences(clear)} <= {"hidden", "nothing"}
    assert kinds((tmp_path / "paged").read_bytes()) == set()
    assert kinds(log_of(tmp_path)) == set()


_COMMANDS = """
import json, sys
from lmchat.__main__ import main
for words in json.load(open(sys.argv[1])):
    print(f"--- {main(words)}", flush=True)
"""


@pytest.mark.timeout(60)
def test_hostile_words_reach_the_output_of_no_command(tmp_path):
    """All commands run in one process at one terminal."""
    refusing = ScriptedServer()
    with speak(ScriptedServer(), HOSTILE) as server, speak(refusing, HOSTILE):
        ended = hostile_reply(HOSTILE, reason=f"stop{HOSTILE}")
        refusing.on(CHAT, ended, failure(HOSTILE))
        at = ["--endpoint", server.url, "-m", MODEL]
        commands = [
            [*at, "ask", "--save", sendable(HOSTILE).decode()],
            [*at[:2], "models"],
            ["sessions"],
            ["sessions", "show", "last"],
            ["export", "last"],
            ["search", "PWNED"],
            [*at, "ask", "--json", "hello"],
            ["--endpoint", refusing.url, "-m", MODEL, "ask", "hello"],
            ["--endpoint", refusing.url, "-m", MODEL, "ask", "hello"],
        ]
        (tmp_path / "commands").write_text(json.dumps(commands))
        argv = [PYTHON, "-c", _COMMANDS, str(tmp_path / "commands")]
        with PtyProgram(argv, home=tmp_path, size=(200, 50)) as program:
            assert program.wait_exit(30) == 0
            raw = program.raw
    printed = re.split(rb"--- (\d)\r\n", raw)
    assert printed[1::2] == [b"0"] * (len(commands) - 2) + [b"1"] * 2
    for words, output in zip(commands, printed[::2], strict=False):
        assert b"PWNED" in output, words
        assert kinds(output) <= {"csi m"}, words
        assert [attack for attack in FORBIDDEN if attack in output] == [], words
    assert kinds(log_of(tmp_path)) == set()


def log_of(home) -> bytes:
    file = home / "lmchat" / "lmchat.log"
    return file.read_bytes() if file.exists() else b""
