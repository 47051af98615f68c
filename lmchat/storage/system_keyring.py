"""Keyring of this system, found without loading the backends for other systems.

A backend is a class of the library `keyring` for one kind of keyring. The library itself would load
all its backends to compare them, and the one for macOS starts a compiler on Linux to find its
frameworks. `main` prints keys as JSON, for a process that runs this module as a program.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from importlib import import_module
from typing import Any, Protocol

log = logging.getLogger(__name__)

SERVICE = "lmchat"  # name of our keys in the keyring; the user name is the server's origin
_REAL_PRIORITY = 1  # backends below it always fail, keep nothing, or keep plain text
_BACKENDS = {
    "darwin": ("keyring.backends.macOS.Keyring",),
    "win32": ("keyring.backends.Windows.WinVaultKeyring",),
}
"""Names of the backends of a system, by `sys.platform`."""
# backends of Linux
_KWALLET = "keyring.backends.kwallet.DBusKeyring"
_SECRET_SERVICES = ("keyring.backends.SecretService.Keyring", "keyring.backends.libsecret.Keyring")


class Keyring(Protocol):
    """Backend of the library `keyring`."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...


def system_keyring() -> Keyring | None:
    """Return the backend that the user has chosen, else the first of this system that works.

    The user chooses with `PYTHON_KEYRING_BACKEND` or `keyringrc.cfg`. Return None if the library
    `keyring` is not installed, if no backend works, or if it keeps keys badly or not at all.
    """
    try:
        core = import_module("keyring.core")
        backend: Any = core.load_env() or core.load_config() or _first_working(core)
        priority = getattr(backend, "priority", 0)
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 - third-party, and below it the system's services
        log.info("the system keyring cannot be used: %s", type(error).__name__)
        return None
    if priority < _REAL_PRIORITY:
        return None
    keyring: Keyring = backend
    return keyring


def _first_working(core: Any) -> Any:
    """Return the first backend of this system that can be loaded; None if none can.

    `core` is the module `keyring.core`.
    """
    for name in _names_of_backends():
        try:
            return core.load_keyring(name)
        except Exception as error:  # noqa: BLE001 - third-party; its service may be missing
            log.debug("%s cannot be used: %s", name, type(error).__name__)
    return None


def _names_of_backends() -> tuple[str, ...]:
    """Return the names of the backends of this system, the one that is preferred here first."""
    if sys.platform in _BACKENDS:
        return _BACKENDS[sys.platform]
    is_kde = "KDE" in os.environ.get("XDG_CURRENT_DESKTOP", "").split(":")
    if is_kde:
        return (_KWALLET, *_SECRET_SERVICES)
    return (*_SECRET_SERVICES, _KWALLET)


def keys_of(backend: Keyring | None, origins: list[str]) -> dict[str, str]:
    """Return the keys of origins by origin, without origins that have no key in the keyring.

    For None, which means that there is no keyring, return an empty dictionary.
    """
    if backend is None:
        return {}
    keys = {origin: backend.get_password(SERVICE, origin) for origin in origins}
    return {origin: key for origin, key in keys.items() if key}


def main() -> None:
    """Print the keys of the origins that the command line names, as one JSON object."""
    sys.stdout.write(json.dumps(keys_of(system_keyring(), sys.argv[1:])))
