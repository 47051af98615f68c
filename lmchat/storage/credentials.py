"""API keys in `credentials.toml` and in the system keyring.

A locked keyring may wait for its user forever, so it is asked in a thread that can be abandoned.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import tomli_w

from lmchat.errors import StoreUnavailable
from lmchat.files import environment_for_others, read_plain, write_atomically
from lmchat.machine.process import own_program, run_blocking
from lmchat.storage.file_errors import explain
from lmchat.storage.system_keyring import SERVICE, Keyring, keys_of, system_keyring
from lmchat.threads import run_within

log = logging.getLogger(__name__)

LIMIT_S = 2.0  # for the answer of a keyring; an unlocked one answers in milliseconds
_START_S = 3.0  # for the start of the process that asks it
_OWNER_ONLY = 0o600
_OTHERS = 0o077  # permissions of other users
_HEAD = "# API keys that were typed into lmchat. Keep this file private.\n"


class Credentials:
    """Keys by origin (`http://127.0.0.1:1337`).

    The key of an origin is empty if it is in the keyring, which cannot list its keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, str] = {}

    def load(self) -> str:
        """Read the file; return a warning where it could not be used."""
        try:
            self._keys = self._read()
        except StoreUnavailable as error:
            return error.message_with_hint
        return ""

    def get(self, origin: str) -> str | None:
        return self._keys.get(origin) or None

    def origins(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def in_keyring(self) -> tuple[str, ...]:
        return tuple(origin for origin, key in self._keys.items() if not key)

    def set(self, origin: str, key: str) -> None:
        """Store a key, or an empty one for a key in the keyring.

        Raises `StoreUnavailable` if the file cannot be written; the key is then in memory only.
        """
        self._keys = {**self._keys, origin: key}
        self._write({**self._read(), origin: key})

    def _read(self) -> dict[str, str]:
        name = self._path.name
        try:
            if self._path.stat().st_mode & _OTHERS:
                log.warning("%s could be read by others; that is mended", name)
                self._path.chmod(_OWNER_ONLY)
            data = tomllib.loads(read_plain(self._path).decode())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explain(error, self._path) from error
        except (ValueError, RecursionError):
            # without the parser's message, which may quote a key
            raise StoreUnavailable(
                f"{name} is not valid TOML: the API keys in it are not used.",
                hint="Fix the file, or delete it and re-enter your API keys.",
            ) from None

        keys: dict[str, str] = {}
        for origin, row in data.items():
            if not isinstance(row, dict):
                continue
            key = "" if row.get("keyring") is True else row.get("key")
            if isinstance(key, str):
                keys[origin] = key
        return keys

    def _write(self, keys: dict[str, str]) -> None:
        rows = {origin: {"key": key} if key else {"keyring": True} for origin, key in keys.items()}
        text = _HEAD + tomli_w.dumps(rows)
        try:
            write_atomically(self._path, text, mode=_OWNER_ONLY)
        except OSError as error:
            raise explain(error, self._path) from error
        self._keys = keys


class KeyringKeys:
    """Keys of the keyring by origin; loading and storing block for `limit_s` at most."""

    def __init__(
        self, find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
    ) -> None:
        self._find = find
        self._limit_s = limit_s
        self._keys: dict[str, str] = {}

    def load(self, origins: Iterable[str], *, is_separate: bool = False) -> bool:
        """Read the keys of servers; return whether the keyring answered or is absent.

        With `is_separate` a separate process asks, so that this one does not load 10 MB of
        libraries.
        """
        wanted = list(dict.fromkeys(origins))
        if not wanted:
            return True
        try:
            if is_separate:
                self._keys |= self._read_separately(wanted)
            else:
                self._keys |= run_within(self._limit_s, lambda: self._read(wanted))
        except Exception as error:  # noqa: BLE001 - third-party; lmchat starts without it
            log.warning("the system keyring could not be read: %s", type(error).__name__)
            return False
        return True

    def get(self, origin: str) -> str | None:
        return self._keys.get(origin)

    def set(self, origin: str, key: str) -> bool:
        """Store a key; return whether that worked."""
        try:
            is_kept = run_within(self._limit_s, lambda: self._write(origin, key))
        except Exception as error:  # noqa: BLE001 - third-party: there is the file
            log.warning("the system keyring took no key: %s", type(error).__name__)
            return False
        if is_kept:
            self._keys[origin] = key
        return is_kept

    def _read(self, origins: list[str]) -> dict[str, str]:
        return keys_of(self._find(), origins)

    def _read_separately(self, origins: list[str]) -> dict[str, str]:
        if find_spec("keyring") is None:
            return {}
        printed = run_blocking(
            [*own_program("lmchat.storage.system_keyring"), *origins],
            environment=environment_for_others(os.environ),
            timeout_s=self._limit_s + _START_S,
        )
        found: dict[str, str] = json.loads(printed)
        return found

    def _write(self, origin: str, key: str) -> bool:
        backend = self._find()
        if backend is None:
            return False
        backend.set_password(SERVICE, origin, key)
        return backend.get_password(SERVICE, origin) == key
