"""API keys, and sign-ins to tool servers, in `credentials.toml`."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import tomli_w
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from lmchat.base.errors import StoreUnavailable
from lmchat.base.files.disk import OWNER_ONLY, explain_system_error, locked, write_atomically
from lmchat.base.files.locks import one_process
from lmchat.core.config.toml import TomlError, read_toml

_logger = logging.getLogger(__name__)

_OTHERS = 0o077  # permissions of other users
_RENEWAL_S = 10.0  # the longest wait for a renewal by another process
_HEAD = "# API keys that were typed into lmchat, and sign-ins. Keep this file private.\n"


class _Stored(Struct, frozen=True, omit_defaults=True):
    key: str = ""
    sign_in: str = ""


class Credentials:
    """API keys of the file `credentials.toml`, by origin (`http://127.0.0.1:1337`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keys: dict[str, str] = {}
        """Keys of the file, and keys that could not be written to it, by origin."""

    def load(self) -> str:
        """Read the keys; return a warning, which is empty if all went well."""
        try:
            self.keys = _keys_of(self._read())
        except StoreUnavailable as error:
            return error.message_with_next_step
        return ""

    def set(self, origin: str, key: str) -> None:
        """Store a key; if this raises `StoreUnavailable`, it is in memory only."""
        self.keys = {**self.keys, origin: key}  # also if the file fails below
        self._store(origin, key=key)

    def sign_in(self, address: str) -> str:
        """The text that `set_sign_in` has stored, or ""; raises `StoreUnavailable`."""
        return self._read().get(address, _Stored()).sign_in

    def set_sign_in(self, address: str, text: str) -> None:
        """Store the sign-in to a tool server; raises `StoreUnavailable`."""
        self._store(address, sign_in=text)

    def drop(self, address: str) -> bool:
        """Delete the sign-in to a tool server; return whether there was one.

        Raises `StoreUnavailable`.
        """
        had_one = bool(self.sign_in(address))
        if had_one:
            self._store(address, sign_in="")
        return had_one

    def renewing(self) -> AbstractAsyncContextManager[None]:
        """Keep other processes from renewing a sign-in, which the server may do once only.

        The lock is not that of the file, as each renewal has to write it.
        """
        return one_process(self._path.with_name(f".{self._path.name}.renewal"), _RENEWAL_S)

    def _store(self, name: str, **values: str) -> None:
        try:
            with locked(self._path):  # another process may have written since `load`
                entries = self._read()
                entry = replace(entries.pop(name, _Stored()), **values)
                if entry != _Stored():
                    entries[name] = entry
                write_atomically(self._path, _HEAD + tomli_w.dumps(to_builtins(entries)))
                self.keys = _keys_of(entries)
        except OSError as error:
            raise explain_system_error(error, self._path) from error

    def _read(self) -> dict[str, _Stored]:
        """Return the content of the file, which others may not read from now on.

        Raises `StoreUnavailable`.
        """
        name = self._path.name
        try:
            entries, _ = read_toml(self._path, dict[str, _Stored])
            mode = self._path.stat().st_mode
            if os.name == "posix" and stat.S_ISREG(mode) and mode & _OTHERS:
                _logger.warning("%s could be read by others; that is mended", name)
                self._path.chmod(OWNER_ONLY)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explain_system_error(error, self._path) from error
        except TomlError as error:
            raise StoreUnavailable(
                f"{name} is not valid ({error}): the API keys in it are not used.",
                next_step="Fix the file, or delete it and re-enter your API keys.",
            ) from None
        return entries


def _keys_of(entries: Mapping[str, _Stored]) -> dict[str, str]:
    return {origin: entry.key for origin, entry in entries.items() if entry.key}
