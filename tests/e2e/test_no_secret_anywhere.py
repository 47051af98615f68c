"""A marked key and marked words, through every command: neither is found where it does not belong."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply, model_list
from tests.support.scripted_server import (
    AUTHORITY,
    Cut,
    ScriptedServer,
    Seen,
    json_reply,
    sse,
    text_reply,
)

Cli = Inside
KEY = "sk-marked-key-4711"
WORDS = "marked-words-4711"
SAID = f"You sent {KEY} with {WORDS}"
ASKED = (
    ("ask", "-m", "tiny", WORDS),
    ("ask", "--json", "-m", "tiny", WORDS),
    ("ask", "--stream-json", "-m", "tiny", WORDS),
    ("ask", "--save", "-m", "tiny", WORDS),
)
SHOWN = tuple(("ask", f"--dry-run={form}", "-m", "tiny", WORDS) for form in ("json", "curl"))
TOLD = (
    *(
        ("models",),
        ("models", "--json"),
        ("models", "load", "tiny"),
        ("models", "unload", "tiny"),
        ("stats", "--json"),
    ),
    *(("health",), ("detect", "--json"), ("doctor",), ("doctor", "--json"), ("metrics",)),
    *(
        ("config", "show"),
        ("config", "show", "--json"),
        ("config", "check"),
        ("config", "path", "--json"),
    ),
)
REFUSALS = (
    sse(WORDS, Cut()),
    sse(WORDS, {"error": {"message": SAID}}),
    sse({"error": {"message": SAID}}),
    json_reply({"error": {"message": SAID, "code": KEY, "type": KEY, "param": KEY}}, status=400),
    json_reply({"message": SAID, "detail": [{"loc": [KEY], "msg": SAID}]}, status=422),
    text_reply(SAID, status=500, headers={"X-Key": KEY}),
    text_reply(
        SAID, status=307, headers={"Location": f"https://{KEY}@evil.example/{KEY}?key={KEY}"}
    ),
    json_reply(SAID, status=503),
    chat_reply(WORDS),
)
"""What a server says that repeats what it was sent, one after the other."""


@pytest.fixture
def telling(request):
    """Return a server that wants the key, and repeats it in every refusal; over http or https."""
    with ScriptedServer(certificate="hosts" if request.param == "https" else "") as server:
        refuse = json_reply({"error": {"message": SAID}}, status=401, headers={"X-Key": KEY})
        replies = itertools.cycle(REFUSALS)

        def models(seen: Seen):
            return model_list("tiny") if is_signed(seen) else refuse

        server.unknown = refuse
        yield server.on("GET /v1/models", models).on(CHAT, lambda _: next(replies))


def is_signed(seen: Seen) -> bool:
    names = ("authorization", "x-app-id")
    return any(seen.headers.get(name, "").removeprefix("Bearer ") == KEY for name in names)


def endpoint(server: ScriptedServer, more: str = "") -> str:
    return f'[[endpoints]]\nname = "own"\nurl = "{server.url}"\n{more}\n'


@pytest.mark.rule("R-10")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("telling", "source"),
    [("https", "variable"), ("http", "command"), ("http", "stored"), ("http", "header")],
    indirect=["telling"],
)
def test_neither_key_nor_words_are_left_where_they_do_not_belong(tmp_path, telling, source):
    cli = Cli(home=tmp_path, url=telling.url, env={"SSL_CERT_FILE": AUTHORITY})
    command = endpoint(telling, f"api_key_cmd = \"printf '%s' {KEY}\"")
    header = endpoint(telling, 'headers = { "X-App-Id" = "${APP_ID}" }')
    servers = {"command": command, "header": header}
    cli.configure("[limits]\nretry_base_s = 0\n" + servers.get(source, ""))
    if source == "stored":
        (cli.folder / "credentials.toml").write_text(f'["{telling.url}"]\nkey = "{KEY}"\n')
        (cli.folder / "credentials.toml").chmod(0o600)
    if source == "variable":
        cli.env["LMCHAT_API_KEY"] = KEY
    if source == "header":
        cli.env["APP_ID"] = KEY

    printed = []
    told = []
    for command in (*ASKED, *ASKED, *ASKED[:1], *SHOWN, *TOLD):
        done = cli(*command, "--log-level", "debug")
        assert "Traceback" not in done.stderr
        assert command not in SHOWN or WORDS in done.stdout
        printed += [done.stdout, done.stderr]
        told += [done.stdout, done.stderr] if command in TOLD else []
    exported = cli("export", "last", "--format", "json").stdout
    assert WORDS in exported
    assert any(map(is_signed, telling.requests))

    secret = "credentials.toml" if source == "stored" else "config.toml"
    files = {path.name: path.read_bytes() for path in cli.folder.rglob("*") if path.is_file()}
    assert {"lmchat.log", "models.json", "sessions.db"} <= set(files)
    with_key = {name for name, content in files.items() if KEY.encode() in content}
    assert with_key <= {secret}
    assert KEY not in exported + "".join(printed)

    with_words = {name for name, content in files.items() if WORDS.encode() in content}
    assert with_words <= {"sessions.db", "sessions.db-wal"}
    assert WORDS not in "".join(told)
    with closing(sqlite3.connect(cli.folder / "sessions.db")) as connection:
        for table in ("ledger", "metrics"):
            assert WORDS not in repr(connection.execute(f"select * from {table}").fetchall())  # noqa: S608 - our own names


SECRET = "marked-password-4711"  # noqa: S105 - a mark


def test_an_address_that_is_none_is_refused_without_a_word_of_it(tmp_path):
    address = f"http://ada:{SECRET}@[bad"
    named_so = {
        "--endpoint": (Cli(home=tmp_path, url=address), ""),
        "LMCHAT_ENDPOINT": (Cli(home=tmp_path, env={"LMCHAT_ENDPOINT": address}), ""),
        "[[endpoints]]": (Cli(home=tmp_path), f'[[endpoints]]\nname = "own"\nurl = "{address}"\n'),
    }
    for name, (cli, config) in named_so.items():
        cli.configure(config)
        for command in (("health",), ("config", "show", "--json"), ("doctor", "--json")):
            done = cli(*command, "--log-level", "debug")
            assert SECRET not in done.stdout + done.stderr, (name, command)
            assert "Traceback" not in done.stderr
    log = tmp_path / "lmchat" / "lmchat.log"
    assert SECRET not in (log.read_text() if log.exists() else "")
    done = Cli(home=tmp_path)("health", "--allow-host", address)
    assert (SECRET in done.stderr + done.stdout, done.returncode) == (False, 2)
