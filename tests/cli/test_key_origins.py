"""Which key goes to which server, by where the key and where the address come from."""

from __future__ import annotations

import pytest

from lmchat.cli.keys import Keys
from lmchat.config.credentials import Credentials
from lmchat.config.load import Flags, load
from lmchat.servers.endpoint import Endpoint
from tests.support.programs import Inside as Cli
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer, lead_here, text_reply

KEY = "sk-marked-key-4711"
FAR = "models.example"  # stands for another machine; its name leads to the scripted server

KEYS = {
    "api_key": (f'api_key = "{KEY}"', {}),
    "LMCHAT_API_KEY": ("", {"LMCHAT_API_KEY": KEY}),
    "OPENAI_API_KEY": ("", {"OPENAI_API_KEY": KEY}),
}
ADDRESSES = {
    "endpoint": ('endpoint = "URL"', {}, ()),
    "LMCHAT_ENDPOINT": ("", {"LMCHAT_ENDPOINT": "URL"}, ()),
    "LLM_BASE_URL": ("", {"LLM_BASE_URL": "URL"}, ()),
    "--endpoint": ("", {}, ("--endpoint", "URL")),
    "[[endpoints]]": ('[[endpoints]]\nname = "own"\nurl = "URL"', {}, ()),
}
FAR_PAIRS = {
    ("api_key", "endpoint"),
    ("LMCHAT_API_KEY", "LMCHAT_ENDPOINT"),
    ("LMCHAT_API_KEY", "LLM_BASE_URL"),
}
"""Key and address that are set in the same place, and belong together on another machine, too."""


def ask(cli, config, env, options, url):
    """Run `lmchat ask`, with this address for `URL` in configuration, environment and options."""
    cli.configure(f'allowed_hosts = ["{FAR}"]\n{config}'.replace("URL", url))
    cli.env |= {name: value.replace("URL", url) for name, value in env.items()}
    return cli(*(word.replace("URL", url) for word in options), "ask", "-m", "tiny", "Hello?")


def is_sent(server):
    """Return whether a request to the server had the key."""
    return any(KEY in seen.headers.get("authorization", "") for seen in server.requests)


@pytest.fixture
def cli(tmp_path):
    return Cli(home=tmp_path)


@pytest.fixture
def server():
    with ScriptedServer() as scripted:
        yield plain(scripted, "tiny", key=KEY)


@pytest.mark.rule("R-10")
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_key_and_address_of_two_places_belong_together_on_this_machine_only(
    monkeypatch, cli, server, key, address
):
    lead_here(monkeypatch, FAR)
    (key_line, key_env), (line, env, options) = KEYS[key], ADDRESSES[address]
    done = ask(cli, f"{key_line}\n{line}", key_env | env, options, f"http://{FAR}:{server.port}")
    may_be_sent = (key, address) in FAR_PAIRS
    assert (is_sent(server), done.returncode) == (may_be_sent, 0 if may_be_sent else 1)
    if not may_be_sent and key != "OPENAI_API_KEY":
        place = "config.toml" if key == "api_key" else key
        assert f"The API key in {place} was not sent: it is for another address" in done.stderr
        assert "[[endpoints]]" in done.stderr
    assert KEY not in done.stderr + done.stdout

    server.requests.clear()
    done = ask(cli, f"{key_line}\n{line}", key_env | env, options, server.url)
    may_be_sent = key != "OPENAI_API_KEY"
    assert (is_sent(server), done.returncode) == (may_be_sent, 0 if may_be_sent else 1)


@pytest.mark.rule("R-9")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_key_follows_a_redirect(cli, server, status):
    with ScriptedServer() as other_server:
        plain(other_server, "tiny", key=KEY)
        server.unknown = text_reply(
            "", status=status, headers={"Location": f"{other_server.url}/v1/models"}
        )
        server.forget()
        done = ask(cli, f'endpoint = "URL"\napi_key = "{KEY}"', {}, (), server.url)
        assert done.returncode == 1
        assert is_sent(server)
        assert other_server.connections == 0


def keys_of(tmp_path, text="", environ=None, **flags):
    file = tmp_path / "config.toml"
    file.write_text(text)
    keys = Keys(
        load(file, environ or {}, Flags(**flags)),
        environ or {},
        Credentials(tmp_path / "keys.toml"),
    )
    keys.load()
    return keys


URLS = (
    "http://127.0.0.1:1337",  # detected, or typed on the welcome page
    "http://[::1]:8080",
    "http://localhost:9999",
    "http://nas:1337",  # typed on the welcome page, or used before
    "https://nas:1337",
    "https://api.openai.com",
    "http://api.openai.com",
    "https://api.openai.com.evil.com",
)


@pytest.mark.parametrize(
    ("text", "environ", "flags", "sent_to"),
    [
        ("api_key='k'", {}, {}, URLS[:3]),
        ("", {"LMCHAT_API_KEY": "k"}, {}, URLS[:3]),
        ("api_key='k'", {}, {"endpoint": "http://nas:1337"}, URLS[:3]),
        ("api_key='k'", {}, {"endpoint": "http://[::1]:8080"}, URLS[:3]),
        ("api_key='k'", {"LLM_BASE_URL": "http://nas:1337"}, {}, URLS[:3]),
        ("api_key='k'\nendpoint='http://nas:1337'", {}, {}, URLS[3:4]),
        (
            "api_key='k'\nendpoint='http://nas:1337'",
            {},
            {"endpoint": "https://nas:1337"},
            URLS[3:4],
        ),
        ("endpoint='http://nas:1337'", {"LMCHAT_API_KEY": "k"}, {}, URLS[:3]),
        ("", {"LMCHAT_API_KEY": "k", "LLM_BASE_URL": "http://nas:1337"}, {}, URLS[3:4]),
        ("", {"OPENAI_API_KEY": "k"}, {}, URLS[5:6]),
        ("api_key='k'\nendpoint='http://127.0.0.1:1337'", {}, {}, URLS[:1]),
        ("api_key='k'\nendpoint='http://nas:1337'", {"LMCHAT_ENDPOINT": URLS[4]}, {}, URLS[3:4]),
        ("api_key='k'\nendpoint='no address at all:'", {}, {}, ()),
    ],
)
def test_a_key_of_the_configuration_goes_to_these_servers_and_to_no_other(
    tmp_path, text, environ, flags, sent_to
):
    keys = keys_of(tmp_path, text, environ, **flags)
    assert tuple(url for url in URLS if keys.known_key(Endpoint.parse(url))) == sent_to


def test_a_key_typed_for_one_server_goes_to_that_one_only(tmp_path):
    keys = keys_of(tmp_path)
    keys.keep(Endpoint.parse("http://nas:1337"), "k")
    assert [url for url in URLS if keys.known_key(Endpoint.parse(url))] == ["http://nas:1337"]
