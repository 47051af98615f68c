"""Keys in the keyring of the system: kept and read, and what happens where there is none or it is locked."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import keyring
import pytest
from keyring.backends import fail, null

from lmchat.domain.candidate import Grade
from lmchat.storage.checks import keyring_findings
from lmchat.storage.credentials import KeyringKeys, system_keyring
from tests.support.faults import FailingKeyring, LockedKeyring, MemoryKeyring

JAN, OTHER = "http://127.0.0.1:1337", "http://nas:8080"
BRIEF_S = 0.05


def _installed(monkeypatch, backend):
    """Put the library there, with this backend."""

    def get_keyring():
        if isinstance(backend, Exception):
            raise backend
        return backend

    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_keyring=get_keyring))


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


def test_a_locked_keyring_is_given_up(caplog):
    ring = LockedKeyring()
    keys = KeyringKeys(lambda: ring, limit_s=BRIEF_S)
    assert not keys.load([JAN])
    assert not keys.set(JAN, "s3cret")
    assert keys.get(JAN) is None
    assert "s3cret" not in caplog.text
    ring.unlock.set()
    assert KeyringKeys(lambda: ring).load([JAN])


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
        SimpleNamespace(priority=0, name="fail Keyring"),
        SimpleNamespace(priority=-1, name="null Keyring"),
        SimpleNamespace(priority=0.5, name="PlaintextKeyring"),
        SimpleNamespace(name="no keyring at all"),
        RuntimeError("no service"),
    ],
    ids=str,
)
def test_what_is_no_real_keyring_is_not_used(monkeypatch, backend):
    _installed(monkeypatch, backend)
    assert system_keyring() is None
    assert not KeyringKeys().set(JAN, "k")
    assert KeyringKeys().load([JAN])


def test_where_the_extra_is_not_installed_nothing_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert system_keyring() is None
    assert KeyringKeys().load([JAN])


def test_the_real_library_gives_what_is_expected_of_it(monkeypatch):
    class InMemory(keyring.backend.KeyringBackend):
        priority = 1

        def __init__(self):
            self.ring = MemoryKeyring()

        def get_password(self, service, username):
            return self.ring.get_password(service, username)

        def set_password(self, service, username, password):
            self.ring.set_password(service, username, password)

    before = keyring.get_keyring()
    try:
        for backend in (fail.Keyring(), null.Keyring()):
            keyring.set_keyring(backend)
            assert system_keyring() is None
        keyring.set_keyring(InMemory())
        assert KeyringKeys().set(JAN, "k")
        again = KeyringKeys()
        assert again.load([JAN])
        assert again.get(JAN) == "k"
    finally:
        keyring.set_keyring(before)


def test_another_program_reads_keys_and_a_locked_keyring_is_given_up_there_too(monkeypatch, caplog):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.support.faults.Ring")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr("lmchat.storage.credentials._START_S", 0.5)
    assert not KeyringKeys(limit_s=BRIEF_S).load([JAN], is_apart=True)
    assert "TimeoutExpired" in caplog.text
    monkeypatch.setenv("KEYRING_OF_TESTS", json.dumps({JAN: "s3cret"}))
    keys = KeyringKeys(lambda: pytest.fail("this program asks no keyring"), limit_s=30)
    assert keys.load([JAN, OTHER], is_apart=True)
    assert (keys.get(JAN), keys.get(OTHER)) == ("s3cret", None)


@pytest.mark.parametrize(
    ("find", "state", "grade"),
    [
        (MemoryKeyring, "works", Grade.OK),
        (lambda: None, "none", Grade.OK),
        (FailingKeyring, "fails", Grade.WARNING),
        (LockedKeyring, "late", Grade.WARNING),
    ],
)
def test_the_doctor_says_how_it_stands_with_the_keyring(find, state, grade):
    (row,) = keyring_findings(find, limit_s=5 if state != "late" else BRIEF_S)
    assert (row.facts["state"], row.grade) == (state, grade)
    assert bool(row.next_step) is (grade is Grade.WARNING)
    assert "s3cret" not in row.cause
