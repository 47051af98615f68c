"""Whether keys go to the keyring of the system, or why not."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.storage.keyring import LIMIT_S, SERVICE, Keyring, KeyringLate, system_keyring, within

_FILE = "keys that are typed in go to credentials.toml"
_INSTALL = "pip install 'lmchat[keyring]'"


def keyring_findings(
    find: Callable[[], Keyring | None] = system_keyring, *, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Return the row about the keyring; blocks for two seconds at most."""
    try:
        name = within(limit_s, lambda: _answering(find()))
    except KeyringLate:
        cause = f"The system keyring does not answer within {limit_s:g} s; {_FILE}."
        return [_row("late", Grade.WARNING, cause, "Unlock it, and start lmchat again")]
    except Exception as error:  # noqa: BLE001 - third-party
        cause = f"The system keyring fails ({type(error).__name__}); {_FILE}."
        return [_row("fails", Grade.WARNING, cause, "Unlock it, and start lmchat again")]
    if name:
        return [_row("works", Grade.OK, f"Keys that are typed in go to the system keyring ({name}).")]
    if find is system_keyring and find_spec("keyring") is None:
        return [_row("not_installed", Grade.OK, f"Not installed ({_INSTALL}); {_FILE}.")]
    return [_row("none", Grade.OK, f"This system has none that can be used; {_FILE}.")]


def _answering(backend: Keyring | None) -> str:
    """Return the name of a keyring that answers; empty where there is none."""
    if backend is None:
        return ""
    backend.get_password(SERVICE, "doctor")
    return str(getattr(backend, "name", "") or type(backend).__name__)


def _row(state: str, grade: Grade, cause: str, step: str = "") -> Finding:
    return Rows(Group.KEYS)("keyring", "Keyring", grade, cause, step, state=state)
