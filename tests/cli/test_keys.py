from __future__ import annotations

import pytest

from lmchat.cli.keys import Keys
from lmchat.config.load import Flags, load
from lmchat.domain.server import Endpoint
from lmchat.storage.credentials import Credentials, KeyringKeys
from tests.support.faults import LockedKeyring, MemoryKeyring

_OPENAI = "https://api.openai.com"


@pytest.fixture
def keys_of(tmp_path):
    def make(text="", environ=None, *, stored=None, ring=None, **flags):
        file = tmp_path / "config.toml"
        file.write_text(text)
        credentials = Credentials(tmp_path / "credentials.toml")
        for origin, key in (stored or {}).items():
            credentials.set(origin, key)
        loaded = load(file, environ or {}, Flags(**flags)).sound()
        keyring = KeyringKeys(lambda: ring, limit_s=0.05 if isinstance(ring, LockedKeyring) else 5)
        keys = Keys(loaded, environ or {}, Credentials(tmp_path / "credentials.toml"), keyring)
        keys.load()
        return keys

    return make


def _of(keys, url):
    return keys.key_for(Endpoint.parse(url))


def test_a_key_goes_to_its_own_server_only(keys_of):
    keys = keys_of('endpoint = "http://127.0.0.1:1337"\napi_key = "k"')
    assert _of(keys, "http://127.0.0.1:1337/v1") == "k"
    for other in ("http://127.0.0.1:1338", "http://localhost:1337", "https://127.0.0.1:1337", _OPENAI):
        assert _of(keys, other) is None


def test_a_key_of_the_file_does_not_follow_a_flag_to_another_server(keys_of):
    text = 'endpoint = "http://nas:1337"\napi_key = "k"\nallowed_hosts = ["nas", "evil"]'
    keys = keys_of(text, endpoint="http://evil:1337")
    assert _of(keys, "http://evil:1337") is None
    assert _of(keys, "http://nas:1337") == "k"


def test_a_key_without_a_server_goes_to_this_machine_only(keys_of):
    keys = keys_of(environ={"LMCHAT_API_KEY": "k"})
    assert _of(keys, "http://localhost:1337") == "k"
    assert _of(keys, "http://[::1]:1337") == "k"
    assert _of(keys, "http://nas:1337") is None


def test_the_key_of_openai_goes_to_openai_only(keys_of):
    keys = keys_of(environ={"OPENAI_API_KEY": "k"})
    assert _of(keys, _OPENAI) == "k"
    for other in ("http://api.openai.com", "https://api.openai.com.evil.com", "http://127.0.0.1:1234"):
        assert _of(keys, other) is None


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
    found = [_of(keys, f"http://{name}:1") for name in "abcd"]
    assert found == ["of-environment", "from command", "of-file", "fallback"]
    assert keys.warnings == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exited with status 3"),
        ("true", "printed nothing"),
        ("no-such-cmd", "exited with status 127"),
    ],
)
def test_a_command_that_fails_is_told_without_what_it_printed(keys_of, command, why):
    keys = keys_of(f"[[endpoints]]\nname='a'\nurl='http://a:1'\napi_key_cmd='echo secret >&2; {command}'")
    assert _of(keys, "http://a:1") is None
    assert keys.warnings == [f"api_key_cmd of endpoint 'a' {why}."]


def test_a_stored_key_holds_where_nothing_is_configured(keys_of):
    stored = {"http://127.0.0.1:1337": "stored"}
    assert _of(keys_of(stored=stored), "http://127.0.0.1:1337") == "stored"
    assert _of(keys_of(environ={"LMCHAT_API_KEY": "k"}, stored=stored), "http://127.0.0.1:1337") == "k"


def test_a_key_that_was_accepted_holds_at_once_and_in_the_next_run(keys_of):
    keys = keys_of(environ={"LMCHAT_API_KEY": "old"})
    keys.keep(Endpoint.parse("http://127.0.0.1:1337"), "new")
    assert _of(keys, "http://127.0.0.1:1337") == "new"
    assert _of(keys_of(), "http://127.0.0.1:1337") == "new"


def test_a_damaged_file_of_keys_is_told_without_its_content(keys_of, tmp_path):
    (tmp_path / "credentials.toml").write_text('["http://a"]\nkey = "secret')
    keys = keys_of()
    assert len(keys.warnings) == 1
    assert "secret" not in keys.warnings[0]


_JAN = Endpoint.parse("http://127.0.0.1:1337")


def test_a_key_is_kept_in_the_keyring_where_there_is_one_and_not_in_a_file(keys_of, tmp_path):
    ring = MemoryKeyring()
    assert keys_of(ring=ring).keep(_JAN, "s3cret") == "the system keyring"
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cret" not in written
    again = keys_of(ring=ring)
    assert (again.key_for(_JAN), again.source_of(_JAN)) == ("s3cret", "the system keyring")
    assert again.stored_origins() == (_JAN.origin,)


def test_without_a_keyring_a_key_is_kept_in_the_file(keys_of):
    assert keys_of().keep(_JAN, "k") == "credentials.toml"
    assert keys_of().source_of(_JAN) == "credentials.toml"


def test_a_locked_keyring_costs_the_keys_in_it_and_says_so(keys_of):
    keys_of(ring=MemoryKeyring()).keep(_JAN, "k")
    locked = LockedKeyring()
    keys = keys_of(ring=locked)
    assert keys.key_for(_JAN) is None
    assert keys.warnings == ["The system keyring does not answer; its API keys are not used."]
    assert keys.keep(_JAN, "new") == "credentials.toml"
    assert keys_of(ring=locked).key_for(_JAN) == "new"
    locked.unlock.set()


def test_the_keyring_is_asked_for_named_servers_that_have_no_other_key(keys_of):
    text = """
endpoint = "http://127.0.0.1:1337"
[[endpoints]]
name = "a"
url = "http://127.0.0.1:7001"
api_key = "own"
[[endpoints]]
name = "b"
url = "http://127.0.0.1:7002"
"""
    ring = MemoryKeyring(**{"http://127.0.0.1:7001": "unused", "http://127.0.0.1:7002": "by hand"})
    keys = keys_of(text, ring=ring)
    assert [_of(keys, f"http://127.0.0.1:{port}") for port in (1337, 7001, 7002)] == [None, "own", "by hand"]
    assert [origin for _, origin in ring.asked] == ["http://127.0.0.1:1337", "http://127.0.0.1:7002"]


def test_a_configured_key_goes_before_that_of_the_keyring(keys_of):
    ring = MemoryKeyring()
    keys_of(ring=ring).keep(_JAN, "kept")
    assert keys_of(ring=ring, environ={"LMCHAT_API_KEY": "set"}).key_for(_JAN) == "set"
