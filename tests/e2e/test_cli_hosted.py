from __future__ import annotations

import json

import pytest

from tests.support.programs import Cli
from tests.support.scripted_products import OPENAI, PROVIDERS, Provider
from tests.support.scripted_server import AUTHORITY, ScriptedServer

KEY = "sk-of-the-provider-4711"


@pytest.fixture
def played():
    """A server that can show the certificate of every provider."""
    with ScriptedServer(certificate="hosts") as server:
        yield server


def named(home, server: ScriptedServer, provider: Provider, *, is_allowed: bool) -> Cli:
    """Return the command line of a user who has named a provider."""
    provider.script(server)
    hosts = [provider.host] if is_allowed else []
    env = {
        "SSL_CERT_FILE": AUTHORITY,
        "TEST_NAMES_OF_THIS_MACHINE": " ".join(provider.host for provider in PROVIDERS),
        "PROVIDER_KEY": KEY,
        "LMCHAT_API_KEY": "sk-of-this-machine",
    }
    cli = Cli(home=home, url=provider.url(server.port), env=env)
    cli.configure(
        f"allowed_hosts = {json.dumps(hosts)}\n[[endpoints]]\nname = 'own'\nurl = '{cli.url}'\n"
        "api_key_env = 'PROVIDER_KEY'\n"
    )
    return cli


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.product.value)
def test_a_provider_answers_with_its_own_key_once_it_is_allowed(tmp_path, played, provider):
    cli = named(tmp_path, played, provider, is_allowed=True)
    told = cli.json("ask", "--json", "-m", "some-model", "Hello?")
    assert (told["reply"], told["reasoning"]) == ("Hello there.", provider.thought)
    assert [row["id"] for row in cli.json("models", "--json")["data"]] == ["some-model"]
    assert cli.json("stats", "--json")["data"][0]["product"] == provider.product
    assert {request.headers["authorization"] for request in played.requests} == {f"Bearer {KEY}"}
    assert {request.path for request in played.requests} == {
        f"{provider.path}/models",
        f"{provider.path}/chat/completions",
    }


def test_a_provider_that_is_not_allowed_is_sent_nothing_and_the_flag_is_named(tmp_path, played):
    provider = OPENAI
    cli = named(tmp_path, played, provider, is_allowed=False)
    done = cli("ask", "-m", "some-model", "Hello?")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmchat: Endpoint not allowed: Endpoint must be localhost")
    assert f"--allow-host {provider.host}" in done.stderr
    assert played.connections == 0
    assert (
        cli("ask", "-m", "some-model", "--allow-host", provider.host, "Hello?").stdout
        == "Hello there.\n"
    )
