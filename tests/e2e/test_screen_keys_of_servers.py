from __future__ import annotations

import stat

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.hostile import copied
from tests.support.lmchat_screen import LMChatScreen, answers
from tests.support.programs import Inside
from tests.support.scripted_products import llama_cpp, plain

KEY = "sk-secret-of-this-test-0123456789"
WRONG = "sk-wrong-of-this-test-9876543210"


def enter(screen: LMChatScreen, key: str) -> None:
    screen.type(key)
    screen.wait_until(lambda: "•" in screen.text or "*" in screen.text, "the key is hidden")
    screen.wait_time(
        0.2
    )  # more characters in one go than anyone types are a paste, Enter is a newline then
    screen.type("\r")


@pytest.mark.timeout(60)
def test_the_key_is_asked_for_tried_kept_and_never_shown(tmp_path, server):
    llama_cpp(server, key=KEY)
    with LMChatScreen(tmp_path, server.url, "--log-level", "debug") as screen:
        screen.wait_for("Press Enter, then")  # the row ends there
        screen.type("\r", sees="llama.cpp needs an API key")
        enter(screen, WRONG)
        screen.wait_for("The server rejects this API key.")
        assert not (tmp_path / "lmchat" / "credentials.toml").exists()
        screen.type("\x15")
        enter(screen, KEY)
        screen.wait_ready()
        screen.ask("Say hello.", answers=1)
        screen.put("/request curl")
        screen.type("\r", sees="Bearer $LMCHAT_API_KEY")
        screen.type("y", sees="Copied.")
        screen.type("\x1b", hides="Next request")
        raw = screen.raw
        (request,) = copied(raw)
        assert "$LMCHAT_API_KEY" in request
        assert KEY not in request
        screen.type("\x11")
        assert screen.wait_exit() == 0
    kept = tmp_path / "lmchat" / "credentials.toml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert KEY in kept.read_text()
    assert WRONG not in kept.read_text()
    assert answers(tmp_path)[-1].state is AnswerState.COMPLETE
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != kept]
    written = b"".join(path.read_bytes() for path in files)
    for secret in (KEY, WRONG):
        assert secret.encode() not in raw + written

    assert Inside(tmp_path, server.url)("ask", "Say hello again.").returncode == 0


def test_a_key_command_that_asks_for_a_password_has_the_terminal(tmp_path, server):
    plain(server, "tiny", key=KEY)
    asks = 'printf "Passphrase? " > /dev/tty; read word < /dev/tty; echo "sk-$word"'
    (tmp_path / "ask").write_text(asks)
    (tmp_path / "lmchat").mkdir()
    config = tmp_path / "lmchat" / "config.toml"
    command = f'api_key_cmd = "sh {tmp_path}/ask"'
    config.write_text(f'[[endpoints]]\nname = "own"\nurl = "{server.url}"\n{command}\n')
    with LMChatScreen(tmp_path) as screen:
        screen.wait_for("Passphrase?")
        screen.type(KEY.removeprefix("sk-") + "\r")
        screen.wait_ready()
        screen.ask("Say hello.", answers=1)
        screen.type("\x11")
        assert screen.wait_exit() == 0
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
