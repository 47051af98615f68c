"""Keyrings of tests: one in memory, one that is locked and waits for ever, one that fails."""

from __future__ import annotations

import threading


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
