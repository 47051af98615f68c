"""`credentials.toml`: keys of servers by origin, readable by their owner only."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import tomli_w

from lmchat.errors import StoreUnavailable
from lmchat.files import read_plain, write_atomically
from lmchat.storage.database import explain

log = logging.getLogger(__name__)

_OWNER_ONLY = 0o600
_OTHERS = 0o077
_HEAD = "# Keys that were typed into lmchat. Keep this file to yourself.\n"


class Credentials:
    """Keys by origin (`http://127.0.0.1:1337`); `get` answers from memory, all else blocks on the disk.

    The file also names the origins whose keys are in the keyring of the system, which cannot list them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Credentials({str(self._path)!r}, {len(self._keys)} keys)"

    def load(self) -> str:
        """Read the file; return a warning where it could not be used, and never raise."""
        try:
            self._keys = self._read()
        except StoreUnavailable as error:
            return error.words
        return ""

    def get(self, origin: str) -> str | None:
        """Return the key of a server, as last read or set."""
        return self._keys.get(origin) or None

    def origins(self) -> tuple[str, ...]:
        """Return where keys are known for, here or in the keyring."""
        return tuple(self._keys)

    def in_keyring(self) -> tuple[str, ...]:
        """Return the origins whose keys are in the keyring."""
        return tuple(origin for origin, key in self._keys.items() if not key)

    def move_to_keyring(self, origin: str) -> None:
        """Note that the key of a server is in the keyring, and hold it here no longer.

        Raises:
            StoreUnavailable: the file cannot be read or written.
        """
        self.set(origin, "")

    def set(self, origin: str, key: str) -> None:
        """Keep a key, beside what other processes have written meanwhile.

        Raises:
            StoreUnavailable: the file cannot be read or written; the key is known until the end all the same.
        """
        self._keys = {**self._keys, origin: key}
        self._write({**self._read(), origin: key})

    def _read(self) -> dict[str, str]:
        try:
            if self._path.stat().st_mode & _OTHERS:
                log.warning("%s could be read by others; that is mended", self._path.name)
                self._path.chmod(_OWNER_ONLY)
            data = tomllib.loads(read_plain(self._path).decode())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explain(error, self._path) from error
        except (ValueError, RecursionError):
            # Without the parser's message: it may quote a key.
            raise StoreUnavailable(
                f"{self._path.name} is not valid TOML: the keys in it are not used.",
                hint="Mend it, or remove it and type the keys again.",
            ) from None
        rows = ((origin, _key(row)) for origin, row in data.items() if isinstance(row, dict))
        return {origin: key for origin, key in rows if isinstance(key, str)}

    def _write(self, keys: dict[str, str]) -> None:
        text = _HEAD + tomli_w.dumps({origin: _row(key) for origin, key in keys.items()})
        try:
            write_atomically(self._path, text, mode=_OWNER_ONLY)
        except OSError as error:
            raise explain(error, self._path) from error
        self._keys = keys


def _key(row: dict[str, object]) -> object:
    """Return the key that a row holds; empty where it is in the keyring."""
    return "" if row.get("keyring") is True else row.get("key") or None


def _row(key: str) -> dict[str, object]:
    return {"key": key} if key else {"keyring": True}
