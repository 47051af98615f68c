"""`ask --dry-run`: the request is printed in two forms, and nothing is sent or saved."""

from __future__ import annotations

import os
import subprocess

from tests.support.files_to_attach import image
from tests.support.lmchat_screen import stored
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp, plain

Cli = Inside

KEY = "sk-marked-key-4711"
HOSTILE = 'Say "hi", it\'s $HOME $(id) `id` \\n !! 😀 é\n JSON\nJSON\n{}\n\ttab \x1b[31m\u202e\x7f'


def in_shell(command: str):
    env = {"PATH": os.environ["PATH"], "LMCHAT_API_KEY": KEY}
    argv = ("sh", "-c", command)
    return subprocess.run(  # noqa: S603 - what lmchat has printed
        argv, capture_output=True, env=env, timeout=60, check=False
    )


def test_the_json_is_the_body_that_would_be_sent(cli, server, tmp_path):
    llama_cpp(server)
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    options = ("--system", "Be brief.", "--set", "top_k=7", "--effort", "low", "--schema")
    words = (*options, str(schema), HOSTILE)
    shown = cli.json("ask", "--dry-run", *words, stdin="more")
    assert server.seen(CHAT) == []
    assert shown["messages"][-1]["content"] == f"{HOSTILE}\n\nmore"
    assert shown["response_format"]["json_schema"]["schema"] == {"type": "object"}
    cli("ask", *words, stdin="more")
    sent = server.seen(CHAT)[0].json
    assert isinstance(shown.pop("seed"), int)  # another one is drawn for each request
    assert isinstance(sent.pop("seed"), int)
    assert sent == shown


def test_the_command_sends_the_same_request_from_a_shell_with_images_whole(cli, server, tmp_path):
    plain(server, "tiny", key=KEY)
    cli.env["LMCHAT_API_KEY"] = KEY
    body = cli.json("ask", "--dry-run", HOSTILE)
    command = cli("ask", "--dry-run=curl", HOSTILE).stdout
    assert not any(mark in command for mark in (KEY, "\x1b", "\u202e"))
    done = in_shell(command)
    assert (done.returncode, b"[DONE]" in done.stdout) == (0, True), done.stderr
    (seen,) = server.seen(CHAT)
    assert seen.json == body
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert body["messages"][-1]["content"] == HOSTILE

    file = tmp_path / "garden.png"
    file.write_bytes(image())
    shown = cli.json("ask", "--dry-run", "-f", str(file), "What grows here?")
    url = shown["messages"][-1]["content"][0]["image_url"]["url"]
    command = cli("ask", "--dry-run=curl", "-f", str(file), "What grows here?").stdout
    assert in_shell(command).returncode == 0
    whole = server.seen(CHAT)[-1].json["messages"][-1]["content"][0]["image_url"]["url"]
    assert url.startswith(whole[:40])
    assert f"({len(whole.partition(',')[2])} characters)" in url


def test_nothing_is_saved(cli, server):
    cli("ask", "--save", "First")
    before = stored(cli.home)
    options = ("--dry-run=curl", "-r", "last", "--save", "--system", "New")
    done = cli("ask", *options, "Second")
    assert {word in done.stdout for word in ("First", "New", "Second")} == {True}
    assert stored(cli.home) == before
    assert len(server.seen(CHAT)) == 1
