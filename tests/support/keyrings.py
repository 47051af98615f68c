"""Keyrings of tests: in memory, locked, failing, and one for a child program.

`PYTHON_KEYRING_BACKEND` names `NAME` to a child. `KEYRING_OF_TESTS` holds its keys by origin as JSON; without
it the keyring is locked.
"""

from __future__ import annotations

import json
import os
import threading

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError, PasswordSetError


class MemoryKeyring:
    """Keeps what it is given until the test ends."""

    priority = 5
    name = "memory"

    def __init__(self, **kept: str):
        self.kept = {("lmchat", origin): key for origin, key in kept.items()}
        self.asked = []

    def get_password(self, service, username):
        self.asked.append((service, username))
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password


class LockedKeyring(MemoryKeyring):
    """Waits for its user, who is away, until `unlock` is set."""

    def __init__(self):
        super().__init__()
        self.unlock = threading.Event()

    def get_password(self, service, username):
        self.unlock.wait()
        return super().get_password(service, username)

    def set_password(self, service, username, password):
        self.unlock.wait()
        super().set_password(service, username, password)


class FailingKeyring(MemoryKeyring):
    """Raises what no one expects, with the key in its words."""

    def get_password(self, service, username):
        raise RuntimeError("no prompt; was asked for s3cret")

    def set_password(self, service, username, password):
        raise RuntimeError(f"cannot keep {password}")


NAME = "tests.support.keyrings.Ring"


class Ring(KeyringBackend):
    """Says what it does, as a backend well may, and gives keys."""

    priority = 5

    def get_password(self, service, username):
        print("asked for", username)  # noqa: T201 - what a backend must not do, and some do
        if "KEYRING_OF_TESTS" not in os.environ:
            threading.Event().wait()
        return json.loads(os.environ["KEYRING_OF_TESTS"]).get(username)

    def set_password(self, service, username, password):
        raise PasswordSetError("the keys of tests are only read")

    def delete_password(self, service, username):
        raise PasswordDeleteError("the keys of tests are only read")
