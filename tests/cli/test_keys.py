from __future__ import annotations

import asyncio

import pytest

from lmchat.cli.keys import Keys
from lmchat.config.credentials import Credentials
from lmchat.config.load import Flags, load
from lmchat.servers.endpoint import Endpoint


@pytest.fixture
def keys_of(tmp_path):
    def make(text="", environ=None, *, stored=None, **flags):
        file = tmp_path / "config.toml"
        file.write_text(text)
        credentials = Credentials(tmp_path / "credentials.toml")
        for origin, key in (stored or {}).items():
            credentials.set(origin, key)
        loaded = load(file, environ or {}, Flags(**flags)).require_valid()
        keys = Keys(loaded, environ or {}, Credentials(tmp_path / "credentials.toml"))
        keys.load()
        return keys

    return make


def _key_for(keys, url):
    """Return the key that is sent to an address."""
    return asyncio.run(keys.key_for(Endpoint.parse(url)))


def test_an_own_server_takes_its_key_from_environment_command_or_file(keys_of):
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
    """
    keys = keys_of(text.replace("        ", ""), {"A_KEY": "of-environment"})
    sent_keys = [_key_for(keys, f"http://{name}:1") for name in "abcd"]
    assert sent_keys == ["of-environment", "from command", "of-file", "fallback"]


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
    assert _key_for(keys, "http://a:1") is None
    told = f"api_key_cmd of endpoint 'a' {why}. Run it in a shell to see why."
    assert keys.why_withheld(Endpoint.parse("http://a:1")) == told


def test_a_command_runs_once_when_its_key_is_needed(keys_of, tmp_path):
    runs = tmp_path / "runs"
    command = f"echo run >> {runs}; echo k"
    keys = keys_of(f"[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='{command}'")
    assert keys.known_key(Endpoint.parse("http://a:1")) is None
    assert _key_for(keys, "http://b:1") is None
    assert not runs.exists()
    assert [_key_for(keys, "http://a:1") for _ in range(2)] == ["k", "k"]
    assert runs.read_text() == "run\n"


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
    (tmp_path / "credentials.toml").write_text('["http://a"]\nkey = "secret')
    warning = keys_of().load()
    assert "credentials.toml is not valid" in warning
    assert "secret" not in warning


BAD = "s3cret\x07"


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
    keys, endpoint = keys_of(text, environ, stored=stored), Endpoint.parse("http://a:1")
    assert (_key_for(keys, "http://a:1"), keys.source_of(endpoint)) == (None, "")
    assert keys.why_withheld(endpoint) == (
        f"The API key from {source} was not sent: it has control characters or letters beyond ASCII. "
        "Set it again without them."
    )


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
            "config.toml, line 1: api_key must be a string in quotes without control characters",
        ),
        (
            "[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key = \"s3cret\\u0007\"",
            {},
            "config.toml, line 4: endpoints[1].api_key must be a string in quotes without control characters",
        ),
        (
            "",
            {"LMCHAT_API_KEY": BAD},
            "environment variable LMCHAT_API_KEY: (api_key) must be a string in quotes without control characters",
        ),
    ],
)
def test_a_configured_key_that_cannot_be_sent_is_a_problem_of_the_configuration(
    tmp_path, text, environ, told
):
    file = tmp_path / "config.toml"
    file.write_text(text)
    (problem,) = load(file, environ).problems
    assert told in problem.sentence
    assert "s3cr" not in problem.sentence


def test_a_key_command_gets_the_environment_without_the_keys_of_lmchat(keys_of, monkeypatch):
    monkeypatch.setenv("LMCHAT_API_KEY", "of-lmchat")
    monkeypatch.setenv("STORE", "mine")
    text = (
        "[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='echo \"$LMCHAT_API_KEY/$STORE\"'"
    )
    keys = keys_of(text, {"LMCHAT_API_KEY": "of-lmchat", "STORE": "mine", "PATH": "/usr/bin:/bin"})
    assert _key_for(keys, "http://a:1") == "/mine"
