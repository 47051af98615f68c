from __future__ import annotations

import json

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import OPENAI
from tests.support.scripted_server import AUTHORITY, ScriptedServer, lead_here

Cli = Inside
KEY = "sk-of-the-provider-4711"


@pytest.fixture
def server():
    """A server that can show the certificate of every provider."""
    with ScriptedServer(certificate="hosts") as scripted:
        OPENAI.script(scripted)
        yield scripted


def test_a_provider_is_sent_nothing_until_it_is_allowed_and_then_its_own_key(
    monkeypatch, tmp_path, server
):
    lead_here(monkeypatch, OPENAI.host)
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
    keys = {"PROVIDER_KEY": KEY, "LMCHAT_API_KEY": "sk-of-this-machine"}
    url = OPENAI.url(server.port)
    cli = Cli(home=tmp_path, url=url, env={"SSL_CERT_FILE": AUTHORITY, **keys})
    own = f"[[endpoints]]\nname = 'own'\nurl = '{url}'\napi_key_env = 'PROVIDER_KEY'\n"
    cli.configure(own)
    done = cli("ask", "-m", "some-model", "Hello?")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmchat: Endpoint not allowed: Endpoint must be localhost")
    assert f"--allow-host {OPENAI.host}" in done.stderr
    assert server.connections == 0
    cli.configure(f"allowed_hosts = {json.dumps([OPENAI.host])}\n{own}")
    assert cli.json("ask", "--json", "-m", "some-model", "Hello?")["reply"] == "Hello there."
    assert [row["id"] for row in cli.json("models", "--json")["data"]] == ["some-model"]
    assert cli.json("stats", "--json")["data"][0]["product"] == OPENAI.product
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {KEY}"}
    assert {seen.path for seen in server.requests} == {
        f"{OPENAI.path}/models",
        f"{OPENAI.path}/chat/completions",
    }
