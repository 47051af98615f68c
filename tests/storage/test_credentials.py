from __future__ import annotations

import json
import logging
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmchat.domain.finding import Grade
from lmchat.errors import StoreUnavailable
from lmchat.storage.credentials import Credentials, KeyringKeys
from lmchat.storage.file_checks import keyring_findings
from lmchat.storage.system_keyring import system_keyring
from tests.support.faults import FailingKeyring, LockedKeyring, MemoryKeyring

JAN, OTHER = "http://127.0.0.1:1337", "http://[::1]:8080"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lmchat" / "credentials.toml"


def test_keys_are_kept_by_origin_for_their_owner_only(path):
    credentials = Credentials(path)
    assert credentials.load() == ""
    credentials.set(JAN, 'k"\\\n\u202e')
    credentials.set(OTHER, "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Credentials(path)
    assert (again.load(), again.get(JAN), again.get(OTHER)) == ("", 'k"\\\n\u202e', "two")
    assert again.get("http://127.0.0.1:1338") is None
    assert again.origins() == (JAN, OTHER)


def test_a_key_is_never_in_the_representation_or_the_log(path, caplog):
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(path)
    credentials.set(JAN, "s3cret")
    path.chmod(0o644)
    credentials.load()
    path.write_text('[x\nkey = "s3cret"')
    warning = credentials.load()
    with pytest.raises(StoreUnavailable) as caught:
        credentials.set(JAN, "s3cret")
    error = caught.value
    shown = (repr(credentials), str(credentials), warning, repr(error), str(vars(error)))
    assert "s3cret" not in "".join((*shown, caplog.text))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_file_that_others_could_read_is_closed_to_them(path):
    Credentials(path).set(JAN, "k")
    path.chmod(0o666)
    Credentials(path).load()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_processes_do_not_lose_each_others_keys(path):
    first, second = Credentials(path), Credentials(path)
    first.set(JAN, "one")
    second.set(OTHER, "two")
    assert (second.get(JAN), second.get(OTHER)) == ("one", "two")


def test_a_broken_file_is_told_and_never_written_over(path):
    path.parent.mkdir()
    path.write_text("not [ toml")
    credentials = Credentials(path)
    assert "not valid TOML" in credentials.load()
    with pytest.raises(StoreUnavailable, match="not valid TOML"):
        credentials.set(JAN, "k")
    assert path.read_text() == "not [ toml"
    assert credentials.get(JAN) == "k"  # known until the end all the same


def test_entries_of_the_wrong_kind_cost_themselves_alone(path):
    path.parent.mkdir()
    path.write_text(f'stray = 1\n["{JAN}"]\nkey = "k"\n["{OTHER}"]\nkey = 7\n')
    credentials = Credentials(path)
    assert (credentials.load(), credentials.origins()) == ("", (JAN,))


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    credentials = Credentials(tmp_path / "file" / "credentials.toml")
    assert "cannot be used" in credentials.load()
    with pytest.raises(
        StoreUnavailable, match=r"/credentials.toml cannot be used: a part of its path is a file"
    ):
        credentials.set(JAN, "k")


def test_a_key_that_went_to_the_keyring_leaves_its_address_alone_behind(path):
    credentials = Credentials(path)
    credentials.set(JAN, "s3cret")
    credentials.set(OTHER, "two")
    credentials.set(JAN, "")
    assert "s3cret" not in path.read_text()
    again = Credentials(path)
    again.load()
    assert (again.get(JAN), again.in_keyring(), again.origins()) == (None, (JAN,), (JAN, OTHER))
    again.set(JAN, "three")
    assert (again.get(JAN), again.in_keyring()) == ("three", ())
    assert Credentials(path).load() == ""


BRIEF_S = 0.05


def test_a_key_that_was_kept_is_read_by_the_next_run():
    ring = MemoryKeyring()
    keys = KeyringKeys(lambda: ring)
    assert keys.set(JAN, "s3cret")
    assert keys.get(JAN) == "s3cret"
    again = KeyringKeys(lambda: ring)
    assert again.get(JAN) is None
    assert again.load([JAN, OTHER, JAN])
    assert (again.get(JAN), again.get(OTHER)) == ("s3cret", None)
    assert "s3cret" not in repr(again)
    assert ring.asked[-2:] == [("lmchat", JAN), ("lmchat", OTHER)]


def test_without_servers_to_ask_about_the_keyring_is_left_alone():
    def find():
        raise AssertionError("nobody wants a key")

    assert KeyringKeys(find).load([])


def test_a_keyring_that_fails_is_none_and_its_words_are_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    keys = KeyringKeys(FailingKeyring)
    assert not keys.load([JAN])
    assert not keys.set(JAN, "s3cret")
    assert "RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_keyring_that_keeps_nothing_does_not_count_as_one():
    class Forgetful(MemoryKeyring):
        def set_password(self, service, username, password):
            pass

    assert not KeyringKeys(Forgetful).set(JAN, "k")


@pytest.mark.parametrize(
    "backend",
    [
        SimpleNamespace(priority=0.5, name="PlaintextKeyring"),
        SimpleNamespace(name="no keyring at all"),
        RuntimeError("no service"),
        None,
    ],
    ids=str,
)
def test_what_is_no_real_keyring_is_not_used_nor_where_the_extra_is_missing(monkeypatch, backend):
    def load_env():
        if isinstance(backend, Exception):
            raise backend
        return backend

    library = None if backend is None else SimpleNamespace(load_env=load_env)
    monkeypatch.setitem(sys.modules, "keyring.core", library)
    assert system_keyring() is None
    assert not KeyringKeys().set(JAN, "k")
    assert KeyringKeys().load([JAN])


@pytest.mark.parametrize("backend", ["fail", "null"])
def test_a_backend_of_the_real_library_that_keeps_nothing_is_none(monkeypatch, backend):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"keyring.backends.{backend}.Keyring")
    assert system_keyring() is None


def test_the_real_library_gives_what_is_expected_of_it(monkeypatch):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.support.faults.Ring")
    monkeypatch.setenv("KEYRING_OF_TESTS", json.dumps({JAN: "k"}))
    assert not KeyringKeys().set(JAN, "k")  # this one is only read
    keys = KeyringKeys()
    assert keys.load([JAN])
    assert keys.get(JAN) == "k"


@pytest.mark.parametrize(
    ("platform", "desktop", "working", "asked"),
    [
        ("linux", "GNOME", "SecretService", ["SecretService"]),
        ("linux", "GNOME", "kwallet", ["SecretService", "libsecret", "kwallet"]),
        ("linux", "X:KDE", "kwallet", ["kwallet"]),
        ("linux", "", "", ["SecretService", "libsecret", "kwallet"]),
        ("darwin", "", "macOS", ["macOS"]),
        ("win32", "", "Windows", ["Windows"]),
        ("win32", "", "", ["Windows"]),
    ],
)
def test_the_first_keyring_of_this_system_that_works_is_taken_and_no_other_is_looked_at(
    monkeypatch, platform, desktop, working, asked
):
    ring, names = SimpleNamespace(priority=5), []

    def load_keyring(name):
        names.append(name.split(".")[2])
        if names[-1] != working:
            raise RuntimeError("there is none")
        return ring

    core = SimpleNamespace(
        load_env=lambda: None, load_config=lambda: None, load_keyring=load_keyring
    )
    monkeypatch.setitem(sys.modules, "keyring.core", core)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XDG_CURRENT_DESKTOP", desktop)
    assert system_keyring() is (ring if working else None)
    assert names == asked


def test_another_program_reads_keys_and_a_locked_keyring_is_given_up_there_too(monkeypatch, caplog):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.support.faults.Ring")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr("lmchat.storage.credentials._START_S", 0.5)
    assert not KeyringKeys(limit_s=BRIEF_S).load([JAN], is_separate=True)
    assert "TimeoutExpired" in caplog.text
    monkeypatch.setenv("KEYRING_OF_TESTS", json.dumps({JAN: "s3cret"}))
    keys = KeyringKeys(lambda: pytest.fail("this program asks no keyring"), limit_s=30)
    assert keys.load([JAN, OTHER], is_separate=True)
    assert (keys.get(JAN), keys.get(OTHER)) == ("s3cret", None)


@pytest.mark.parametrize(
    ("find", "words", "grade"),
    [
        (MemoryKeyring, "are saved in the system keyring", Grade.OK),
        (lambda: None, "No keyring is available", Grade.OK),
        (FailingKeyring, "keyring failed", Grade.WARNING),
        (LockedKeyring, "does not answer", Grade.WARNING),
    ],
)
def test_the_doctor_says_how_it_stands_with_the_keyring(find, words, grade):
    (row,) = keyring_findings(find, limit_s=BRIEF_S if find is LockedKeyring else 5)
    assert (words in row.cause, row.grade) == (True, grade)
    assert bool(row.next_step) is (grade is Grade.WARNING)
    assert "s3cret" not in row.cause
