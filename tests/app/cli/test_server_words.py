"""What `detect`, `health`, `doctor` and `models` say of a server, for each state that it can be in.

All of it is in `server_words.json`, with placeholders for addresses, ports and times.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from tests.support import scripted_products as products
from tests.support.programs import Inside
from tests.support.scripted_server import (
    Hold,
    ScriptedServer,
    error_reply,
    free_port,
    html_reply,
    json_reply,
    raw_reply,
)

EXPECTED = json.loads(Path(__file__).with_name("server_words.json").read_text(encoding="utf-8"))
pytestmark = pytest.mark.leaf("doctor")
KEY = "sk-right"
QUICK = "[timeouts]\nhealth_s = 0.2\n"
NAMED = '[[endpoints]]\nname = "mine"\nurl = "{url}"\n'


def nothing_pulled(server: ScriptedServer) -> None:
    """Ollama then has no list at all, so only its variable or its port leads to its proof."""
    products.ollama(server, is_empty=True)
    server.on("GET /v1/models", json_reply({"object": "list", "data": None}))


def broken(server: ScriptedServer) -> None:
    server.unknown = error_reply(500, "out of order")


def page(server: ScriptedServer) -> None:
    server.unknown = html_reply()


def silent(server: ScriptedServer) -> None:
    server.unknown = raw_reply(Hold())


PLAYED: dict[str, Callable[[ScriptedServer], object]] = {
    "ready": products.lm_studio,
    "loading": products.loading_llama_cpp,
    "model_not_loaded": products.ollama,
    "model_not_loaded, none there": nothing_pulled,
    "auth": partial(products.jan, key=KEY),
    "auth, unknown server": partial(products.plain, key=KEY),
    "key_rejected": partial(products.llama_cpp, key=KEY),
    "host_blocked": partial(products.jan, trusts=set()),
    "server_error": broken,
    "certificate": products.plain,
    "not_an_llm": page,
    "timeout": silent,
}
FAR = {
    "not_allowed": "http://box.example:8080",
    "insecure": "http://api.openai.com:80",
}
ROWS = (*PLAYED, "server_off", "offline", *FAR)
# Windows asks a closed port for two seconds, so its words are those of a server that is late.
_MARKS = {
    "timeout": pytest.mark.slow,
    **dict.fromkeys(("certificate", "server_off", *FAR), pytest.mark.posix),
}


@pytest.fixture
def told(tmp_path, monkeypatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    with ExitStack() as stack:

        def start(row: str) -> dict[str, Any]:
            nothing_installed = {"PATH": str(tmp_path)}
            monkeypatch.setitem(sys.modules, "xllamacpp", None)  # README's other line installs it
            cli = Inside(home=tmp_path, env=nothing_installed)
            url = FAR.get(row, "")
            if row == "timeout":  # the others answer, if late on a busy machine
                cli.configure(QUICK)
            if row in PLAYED:
                certificate = "expired" if row == "certificate" else ""
                server = stack.enter_context(ScriptedServer(certificate=certificate))
                PLAYED[row](server)
                cli.url = url = server.url
            elif row == "server_off":  # the program runs, and it has had this port
                url = f"http://localhost:{stack.enter_context(free_port())}"
                settings = tmp_path / ".lmstudio/.internal/http-server-config.json"
                settings.parent.mkdir(parents=True)
                settings.write_text(
                    json.dumps({"port": int(url.rpartition(":")[2])}), encoding="utf-8"
                )
                running = [Mock(info={"name": "LM Studio"})]
                monkeypatch.setattr(psutil, "process_iter", lambda _: iter(running))
            elif row == "offline":
                cli.url = url = f"http://localhost:{stack.enter_context(free_port())}"
            else:
                cli.configure(NAMED.format(url=url))
            if PLAYED.get(row) is nothing_pulled:
                cli.env |= {"OLLAMA_HOST": url}
                cli.url = ""
            if row == "key_rejected":
                cli.env |= {"LMCHAT_ENDPOINT": url, "LMCHAT_API_KEY": "sk-wrong"}
            return words_about(url, cli)

        yield start


def words_about(url: str, cli: Inside) -> dict[str, Any]:
    """Return what each command says of this server, and of none beside it."""
    done = cli("detect", "--json")
    detected = json.loads(done.stdout)
    (row,) = [one for one in detected.pop("candidates") if one["url"] == url]
    is_chosen = detected.get("endpoint") == url
    if is_chosen:
        detected["latency_ms"] = detected["latency_ms"] and "{ms}"
    row["latency_ms"] = row["latency_ms"] and "{ms}"
    health = cli("health", "--json")
    told = json.loads(health.stdout)
    del told["timestamp"]
    findings = [
        {name: value for name, value in one.items() if name != "group"}
        for one in json.loads(cli("doctor", "--json").stdout)["checks"]
        if one["check"] == "chat" or one["name"] in f"{url} mine" or url in one["cause"]
    ]
    models = cli("models")
    said = {
        "detect": {"code": done.returncode, "chosen": detected if is_chosen else None, "row": row},
        "health": {"code": health.returncode, **told},
        "doctor": findings,
        "models": {"code": models.returncode, "says": models.stderr.splitlines()},
    }
    port = url.rpartition(":")[2]
    return json.loads(json.dumps(said).replace(url, "{url}").replace(port, "{port}"))


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=_MARKS.get(row, ())) for row in ROWS],
)
def test_the_commands_say_of_a_server_what_their_table_has(row, told):
    said = told(row)
    assert said == settled(EXPECTED[row], said)


def settled(expected: Any, said: Any) -> Any:
    """Return what is expected; where it has several sentences for the same, the one that is said."""
    if isinstance(expected, list):
        pairs = zip_longest(expected, said if isinstance(said, list) else ())
        return [settled(one, other) for one, other in pairs][: len(expected)]
    if not isinstance(expected, dict):
        return expected
    if expected.keys() == {"one of"}:
        return said if said in expected["one of"] else expected["one of"][0]
    known = said if isinstance(said, dict) else {}
    return {name: settled(value, known.get(name)) for name, value in expected.items()}
