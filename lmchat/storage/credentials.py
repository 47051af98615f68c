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
_START_S = 3.0  # more time where a separate process asks it
_OWNER_ONLY = 0o600
_OTHERS = 0o077  # permissions of other users
_HEAD = "# API keys that were typed into lmchat. Keep this file private.\n"


class Credentials:
    """API keys of the file `credentials.toml`, by origin (`http://127.0.0.1:1337`).

    A keyring cannot list its keys, so the file also names the origins whose keys are in the
    keyring. For such an origin, `_keys` has an empty key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, str] = {}  # those of the file, and those that could not be written

    def load(self) -> str:
        """Read the keys; return a warning if the file could not be used, else an empty text.

        A missing file is no failure: it means that there are no keys.
        """
        try:
            self._keys = self._read()
        except StoreUnavailable as error:
            return error.message_with_hint
        return ""

    def get(self, origin: str) -> str | None:
        """Return the key of an origin; None if the file has none, or it is in the keyring."""
        return self._keys.get(origin) or None

    def origins(self) -> tuple[str, ...]:
        """Return the origins that have a key, in the file or in the keyring."""
        return tuple(self._keys)

    def in_keyring(self) -> tuple[str, ...]:
        """Return the origins whose keys are in the keyring."""
        return tuple(origin for origin, key in self._keys.items() if not key)

    def set(self, origin: str, key: str) -> None:
        """Store the key of an origin; an empty key notes that the key is in the keyring.

        Raises `StoreUnavailable` if the file cannot be read or written. The key is then in memory
        only.
        """
        self._keys = {**self._keys, origin: key}  # also if the file fails below
        # another process may have written since `load`: the file is read again
        self._write({**self._read(), origin: key})

    def _read(self) -> dict[str, str]:
        """Return the keys in the file by origin; an empty dictionary if there is no file.

        If other users may access the file, their permissions are removed first. Entries that are no
        valid key are left out. Raises `StoreUnavailable`.
        """
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
            # the parser's message, which may quote a key, is not repeated
            raise StoreUnavailable(
                f"{name} is not valid TOML: the API keys in it are not used.",
                hint="Fix the file, or delete it and re-enter your API keys.",
            ) from None

        keys: dict[str, str] = {}
        for origin, entry in data.items():
            if not isinstance(entry, dict):
                continue
            key = entry.get("key")
            if entry.get("keyring") is True:
                keys[origin] = ""
            elif isinstance(key, str):
                keys[origin] = key
        return keys

    def _write(self, keys: dict[str, str]) -> None:
        """Replace all keys, in the file and in memory; raises `StoreUnavailable`."""
        entries: dict[str, dict[str, str | bool]] = {}
        for origin, key in keys.items():
            entries[origin] = {"key": key} if key else {"keyring": True}
        text = _HEAD + tomli_w.dumps(entries)
        try:
            write_atomically(self._path, text, mode=_OWNER_ONLY)
        except OSError as error:
            raise explain(error, self._path) from error
        self._keys = keys


class KeyringKeys:
    """API keys of the system keyring, by origin; they are in memory once loaded."""

    def __init__(
        self, find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
    ) -> None:
        """Load nothing yet.

        `find` returns the keyring. Each call of the keyring is abandoned after `limit_s`.
        """
        self._find = find
        self._limit_s = limit_s
        self._keys: dict[str, str] = {}

    def load(self, origins: Iterable[str], *, is_separate: bool = False) -> bool:
        """Load the keys of origins; return False if the keyring failed or did not answer in time.

        If there is no keyring, no key is loaded and True is returned. With `is_separate`, another
        process asks the keyring, so that this process does not load 10 MB of libraries.
        """
        different_origins = list(dict.fromkeys(origins))
        if not different_origins:
            return True
        try:
            if is_separate:
                self._keys |= self._read_separately(different_origins)
            else:
                self._keys |= run_within(self._limit_s, lambda: self._read(different_origins))
        except Exception as error:  # noqa: BLE001 - third-party; lmchat starts without it
            log.warning("the system keyring could not be read: %s", type(error).__name__)
            return False
        return True

    def get(self, origin: str) -> str | None:
        """Return the loaded key of an origin; None if the origin has no key or was not loaded."""
        return self._keys.get(origin)

    def set(self, origin: str, key: str) -> bool:
        """Store a key in the keyring; return whether that worked.

        False means that there is no keyring, or that it failed or did not answer in time.
        """
        try:
            is_stored = run_within(self._limit_s, lambda: self._write(origin, key))
        except Exception as error:  # noqa: BLE001 - third-party; the caller uses the file then
            log.warning("the system keyring took no key: %s", type(error).__name__)
            return False
        if is_stored:
            self._keys[origin] = key
        return is_stored

    def _read(self, origins: list[str]) -> dict[str, str]:
        return keys_of(self._find(), origins)

    def _read_separately(self, origins: list[str]) -> dict[str, str]:
        """Return the keys that `main` of `system_keyring` prints in another process.

        Return an empty dictionary if the library `keyring` is not installed.
        """
        if find_spec("keyring") is None:
            return {}
        printed = run_blocking(
            [*own_program("lmchat.storage.system_keyring"), *origins],
            environment=environment_for_others(os.environ),
            timeout_s=self._limit_s + _START_S,
        )
        keys: dict[str, str] = json.loads(printed)
        return keys

    def _write(self, origin: str, key: str) -> bool:
        """Store a key; return whether there is a keyring that gives the same key back."""
        backend = self._find()
        if backend is None:
            return False
        backend.set_password(SERVICE, origin, key)
        return backend.get_password(SERVICE, origin) == key
