"""A backend of the library `keyring`, for a program that is told of it by `PYTHON_KEYRING_BACKEND`.

The variable `KEYRING_OF_TESTS` holds its keys by origin as JSON; without it the keyring is locked.
"""

from __future__ import annotations

import json
import os
import threading

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError, PasswordSetError

NAME = "tests.support.keyring_of_tests.Ring"


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
