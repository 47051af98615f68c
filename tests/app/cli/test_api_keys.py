"""API keys: where they come from, and which goes to which server."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from lmchat.api.api_keys import ApiKeys
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.load import Flags, load
from lmchat.core.servers.endpoint import Endpoint
from tests.support.programs import Inside as Cli
from tests.support.scripted_products import CHAT, plain
from tests.support.scripted_server import ScriptedServer, error_reply, lead_here, text_reply


@pytest.fixture
def keys_of(tmp_path):
    def make(text="", environ=None, *, stored=None, **flags):
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        credentials = Credentials(tmp_path / "credentials.toml")
        for origin, key in (stored or {}).items():
            credentials.set(origin, key)
        loaded = load(file, environ or {}, Flags(**flags))
        keys = ApiKeys(loaded, environ or {}, Credentials(tmp_path / "credentials.toml"))
        keys.load()
        return keys

    return make


def _key_for(keys, url):
    """Return the key that is sent to an address."""
    return asyncio.run(keys.key_for(Endpoint.parse(url)))


@pytest.mark.posix
def test_a_configured_server_takes_its_key_from_environment_command_or_file(keys_of):
    text = """
        [[endpoints]]
        name = "a"
        url = "http://a:1"
        api_key_env = "A_KEY"
        api_key = "unused"
        [[endpoints]]
        name = "b"
        url = "http://b:1"
        api_key_cmd = "printf 'from %s\\nsecond' command"
        [[endpoints]]
        name = "c"
        url = "http://c:1"
        api_key = "of-file"
        [[endpoints]]
        name = "d"
        url = "http://d:1"
        api_key_env = "NOT_SET"
        api_key = "fallback"
        [[endpoints]]
        name = "e"
        url = "http://e:1"
        api_key_env = "NOT_SET"
    """
    keys = keys_of(text.replace("        ", ""), {"A_KEY": "of-environment"})
    sent_keys = [_key_for(keys, f"http://{name}:1") for name in "abcde"]
    assert sent_keys == ["of-environment", "from command", "of-file", "fallback", ""]
    told = keys.why_withheld(Endpoint.parse("http://e:1"))
    assert told == "The environment variable NOT_SET is not set."


@pytest.mark.posix
@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exited with status 3"),
        ("true", "printed nothing"),
        ("no-such-cmd", "exited with status 127"),
    ],
)
def test_a_command_that_fails_is_told_without_what_it_printed(keys_of, command, why):
    keys = keys_of(
        f"[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='echo secret >&2; {command}'"
    )
    assert _key_for(keys, "http://a:1") == ""
    told = f"The api_key_cmd of endpoint 'a' {why}. Run it in a shell to see why."
    assert keys.why_withheld(Endpoint.parse("http://a:1")) == told


@pytest.mark.posix
@pytest.mark.parametrize(
    "printed", ["echo k", "printf k", "echo k; echo more", "yes k | head -c 300000"]
)
def test_a_program_that_a_command_leaves_behind_delays_no_key(keys_of, tmp_path, printed):
    """As an agent that the command starts, which holds the output open."""
    pid = tmp_path / "pid"
    command = f"sleep 600 & echo $! > {pid}; {printed}"
    keys = keys_of(f"[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='{command}'")
    try:
        assert _key_for(keys, "http://a:1") == "k"
    finally:
        os.kill(
            int(pid.read_text(encoding="utf-8")), signal.SIGKILL
        )  # it still runs: it is the user's


@pytest.mark.posix
def test_a_command_runs_once_when_its_key_is_needed(keys_of, tmp_path):
    runs = tmp_path / "runs"
    command = f"echo run >> {runs}; echo k"
    keys = keys_of(f"[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='{command}'")
    assert keys.known_key(Endpoint.parse("http://a:1")) == ""
    assert _key_for(keys, "http://b:1") == ""
    assert not runs.exists()
    assert [_key_for(keys, "http://a:1") for _ in range(2)] == ["k", "k"]
    assert runs.read_text(encoding="utf-8") == "run\n"


def test_no_other_key_goes_to_a_server_before_its_command_has_run(keys_of):
    text = "[[endpoints]]\nname='a'\nurl='http://127.0.0.1:1'\napi_key_cmd='echo own'"
    keys = keys_of(text, {"LMCHAT_API_KEY": "k"}, stored={"http://127.0.0.1:1": "old"})
    assert keys.known_key(Endpoint.parse("http://127.0.0.1:1")) == ""
    assert _key_for(keys, "http://127.0.0.1:1") == "own"


def test_the_key_of_openai_waits_for_a_command_too(keys_of):
    server = Endpoint.parse("https://api.openai.com")
    text = f"[[endpoints]]\nname='a'\nurl='{server.url}'\napi_key_cmd='echo own'"
    keys = keys_of(text, {"OPENAI_API_KEY": "other"})
    assert keys.known_key(server) == ""
    assert _key_for(keys, server.url) == "own"


def test_a_stored_key_holds_where_nothing_is_configured(keys_of):
    stored = {"http://127.0.0.1:1337": "stored"}
    assert _key_for(keys_of(stored=stored), "http://127.0.0.1:1337") == "stored"
    assert (
        _key_for(keys_of(environ={"LMCHAT_API_KEY": "k"}, stored=stored), "http://127.0.0.1:1337")
        == "k"
    )


def test_a_key_that_was_accepted_holds_at_once_and_in_the_next_run(keys_of):
    keys = keys_of(environ={"LMCHAT_API_KEY": "old"})
    keys.keep(Endpoint.parse("http://127.0.0.1:1337"), "new")
    assert _key_for(keys, "http://127.0.0.1:1337") == "new"
    assert _key_for(keys_of(), "http://127.0.0.1:1337") == "new"


def test_a_damaged_file_of_keys_is_told_without_its_content(keys_of, tmp_path):
    (tmp_path / "credentials.toml").write_text('["http://a"]\nkey = "secret', encoding="utf-8")
    warning = keys_of().load()
    assert "credentials.toml is not valid" in warning
    assert "secret" not in warning


BAD = "s3cret\x07"


@pytest.mark.posix
@pytest.mark.parametrize(
    ("own", "environ", "source"),
    [
        ("api_key_env = 'A_KEY'", {"A_KEY": BAD}, "the environment variable A_KEY"),
        ("api_key_cmd = \"printf 's3cret\\\\a'\"", {}, "api_key_cmd of endpoint 'a'"),
        ("", {}, "credentials.toml"),
    ],
)
def test_a_key_that_cannot_be_sent_is_told_by_its_source_and_without_its_words(
    keys_of, own, environ, source
):
    text = f"[[endpoints]]\nname='a'\nurl='http://a:1'\n{own}"
    stored = {"http://a:1": BAD} if source == "credentials.toml" else None
    keys = keys_of(text, environ, stored=stored)
    endpoint = Endpoint.parse("http://a:1")
    assert (_key_for(keys, "http://a:1"), keys.source_of(endpoint)) == ("", "")
    assert keys.why_withheld(endpoint) == (
        f"The API key from {source} was not sent: it has control characters or letters beyond ASCII. "
        "Set it again without them."
    )
    told = [keys.take_fault(endpoint) for _ in range(2)]
    assert told == [keys.why_withheld(endpoint), ""], "before anything is sent, and once"


@pytest.mark.posix
def test_a_byte_order_mark_before_a_key_is_no_part_of_it(keys_of):
    command = r"printf '\357\273\277of-a-file'"
    text = f"[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='''{command}'''"
    assert _key_for(keys_of(text), "http://a:1") == "of-a-file"


def test_blanks_and_line_ends_around_a_key_are_not_sent(keys_of):
    text = """
api_key = " k1\\r\\n"
[[endpoints]]
name = "a"
url = "http://a:1"
api_key_env = "A_KEY"
"""
    keys = keys_of(text, {"A_KEY": "k2\r\n"}, stored={"http://b:1": "\tk3\n"})
    sent_keys = [_key_for(keys, url) for url in ("http://127.0.0.1:1", "http://a:1", "http://b:1")]
    assert sent_keys == ["k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        (
            "api_key = 's3crét'",
            {},
            "config.toml, line 1: api_key: expected a string in quotes without control characters",
        ),
        (
            "[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key = \"s3cret\\u0007\"",
            {},
            "config.toml, line 4: endpoints[1].api_key: expected a string in quotes without control characters",
        ),
        (
            "",
            {"LMCHAT_API_KEY": BAD},
            "environment variable LMCHAT_API_KEY: api_key: expected a string in quotes without control characters",
        ),
    ],
)
def test_a_configured_key_that_cannot_be_sent_is_a_problem_of_the_configuration(
    tmp_path, text, environ, told
):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    (problem,) = load(file, environ).problems
    assert told in problem.sentence
    assert "s3cr" not in problem.sentence


@pytest.mark.posix
def test_a_key_command_gets_the_environment_without_the_keys_of_lmchat(
    keys_of, monkeypatch, tmp_path
):
    monkeypatch.setenv("LMCHAT_API_KEY", "of-lmchat")
    monkeypatch.setenv("STORE", "mine")
    text = (
        "[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='echo \"$LMCHAT_API_KEY/$STORE\"'"
    )
    keys = keys_of(text, {"LMCHAT_API_KEY": "of-lmchat", "STORE": "mine", "PATH": "/usr/bin:/bin"})
    assert _key_for(keys, "http://a:1") == "/mine"
    # nor a program of the current folder, which is not that of the configuration
    monkeypatch.chdir(tmp_path.parent)
    keys = keys_of("[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='pwd'")
    assert _key_for(keys, "http://a:1") == str(tmp_path)


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
    (key_line, key_env) = KEYS[key]
    (line, env, options) = ADDRESSES[address]
    done = ask(cli, f"{key_line}\n{line}", key_env | env, options, f"http://{FAR}:{server.port}")
    may_be_sent = (key, address) in FAR_PAIRS
    assert (is_sent(server), done.returncode) == (may_be_sent, 0 if may_be_sent else 1)
    if not may_be_sent and key != "OPENAI_API_KEY":
        place = "config.toml" if key == "api_key" else key
        assert f"The key in {place} was not sent: it is for another address" in done.stderr
        assert "The key can be in" not in done.stderr
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
        (
            "api_key='k'\nendpoint='https://nas:1337'\nallowed_hosts=['nas']",
            {},
            {"endpoint": "http://nas:1337"},
            URLS[4:5],
        ),
        ("", {"OPENAI_API_KEY": "k"}, {}, URLS[5:6]),
        ("api_key='k'\nendpoint='http://127.0.0.1:1337'", {}, {}, URLS[:1]),
        ("api_key='k'\nendpoint='http://nas:1337'", {"LMCHAT_ENDPOINT": URLS[4]}, {}, URLS[3:4]),
        ("api_key='k'\nendpoint='no address at all:'", {}, {}, ()),
    ],
)
def test_a_key_of_the_configuration_goes_to_these_servers_and_to_no_other(
    keys_of, text, environ, flags, sent_to
):
    keys = keys_of(text, environ, **flags)
    assert tuple(url for url in URLS if keys.known_key(Endpoint.parse(url))) == sent_to


def test_a_key_typed_for_one_server_goes_to_that_one_only(keys_of):
    keys = keys_of()
    keys.keep(Endpoint.parse("http://nas:1337"), "k")
    assert [url for url in URLS if keys.known_key(Endpoint.parse(url))] == ["http://nas:1337"]


@pytest.mark.windows
def test_a_key_command_runs_in_the_shell_of_windows(keys_of):
    text = "[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='(echo k) && echo \"more\"'"
    assert _key_for(keys_of(text, dict(os.environ)), "http://a:1") == "k"


@pytest.mark.rule("R-10")
def test_headers_go_with_each_request_to_their_server_alone_and_not_without_a_value(cli):
    with ScriptedServer() as own, ScriptedServer() as other:
        for server in (own, other):
            plain(server, "tiny")
        headers = '{ "X-App-Id" = "Id ${APP_ID}", "X`Team" = "beans", Authorization = "Mine" }'
        cli.configure(f'[[endpoints]]\nname = "own"\nurl = "{own.url}"\nheaders = {headers}')
        cli.env |= {"APP_ID": "4711\n"}
        for server in (own, other):
            assert cli("ask", "--endpoint", server.url, "-m", "tiny", "Hi").returncode == 0
        sent = [{seen.headers.get(name) for seen in own.requests} for name in NAMES]
        assert (sent, len(own.requests) > 1) == ([{"Id 4711"}, {"beans"}, {"Mine"}], True)
        assert not [seen for seen in other.requests if set(NAMES) & seen.headers.keys()]

        curl = cli("ask", "--dry-run=curl", "--endpoint", own.url, "-m", "tiny", "Hi").stdout
        assert "--header 'X-App-Id: VALUE'" in curl
        assert "--header 'X`Team: VALUE'" in curl
        own.on(CHAT, error_reply(401, "Invalid API key"))
        refused = cli("ask", "--endpoint", own.url, "-m", "tiny", "Hi").stderr
        assert "Check the headers under [[endpoints]] in config.toml" in refused
        asked = own.connections
        for value, words in (
            (None, "variable APP_ID of the server own is not set"),
            ("é", "X-App-Id"),
        ):
            cli.env = {name: text for name, text in cli.env.items() if name != "APP_ID"}
            cli.env |= {} if value is None else {"APP_ID": value}
            done = cli("ask", "--endpoint", own.url, "-m", "tiny", "Hi")
            assert (done.returncode, words in done.stderr) == (2, True)
            assert words in cli("detect").stdout
        assert own.connections == asked


NAMES = ("x-app-id", "x`team", "authorization")
