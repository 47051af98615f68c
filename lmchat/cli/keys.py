"""API keys by server."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator, Mapping

from lmchat.config.load import Loaded
from lmchat.config.settings import EndpointSettings
from lmchat.domain.server import Endpoint, is_address
from lmchat.storage.credentials import Credentials, KeyringKeys

log = logging.getLogger(__name__)

_COMMAND_S = 60  # a command may have to ask its user for a password
KEYRING = "the system keyring"
_OPENAI = "https://api.openai.com:443"


class Keys:
    """API keys by origin (scheme, host and port); `load` blocks, `key_for` does not.

    Order: accepted in this run, `[[endpoints]]`, `api_key`, keyring, `credentials.toml`; `OPENAI_API_KEY`.
    """

    def __init__(
        self,
        loaded: Loaded,
        environ: Mapping[str, str],
        credentials: Credentials,
        keyring: KeyringKeys | None = None,
    ) -> None:
        self._loaded = loaded
        self._environ = environ
        self._credentials = credentials
        self._keyring = keyring or KeyringKeys()
        self._accepted: dict[str, str] = {}
        self._passing: set[str] = set()
        self._own: dict[str, str] = {}
        self.warnings: list[str] = []  # sentences about what could not be read; without keys

    def load(self, *, is_separate: bool = False) -> None:
        """Read stored keys and run key commands, off the event loop."""
        warning = self._credentials.load()
        self.warnings += [warning] if warning else []
        for own in self._loaded.settings.endpoints:
            origin = _origin(own.url)
            key = self._key_of(own)
            if origin and key:
                self._own[origin] = key
        self._load_keyring(is_separate=is_separate)

    def key_for(self, endpoint: Endpoint) -> str | None:
        return next((key for key, _ in self._known(endpoint) if key), None)

    def source_of(self, endpoint: Endpoint) -> str:
        return next((source for key, source in self._known(endpoint) if key), "")

    def _known(self, endpoint: Endpoint) -> Iterator[tuple[str | None, str]]:
        origin = endpoint.origin
        yield self._accepted.get(origin), "the key dialog"
        yield self._own.get(origin), "[[endpoints]] in the configuration"
        yield self._configured(endpoint), f"api_key, {self._loaded.origins.get('api_key', 'configuration')}"
        yield self._keyring.get(origin), KEYRING
        yield self._credentials.get(origin), "credentials.toml"
        if origin == _OPENAI:
            yield self._environ.get("OPENAI_API_KEY"), "OPENAI_API_KEY"

    def accept(self, endpoint: Endpoint, key: str) -> None:
        """Use a key until the end of this run without storing it."""
        self._accepted[endpoint.origin] = key
        self._passing.add(endpoint.origin)

    def is_lasting(self, endpoint: Endpoint) -> bool:
        """Return whether a server may still exist after this run."""
        return endpoint.origin not in self._passing

    def stored_origins(self) -> tuple[str, ...]:
        return self._credentials.origins()

    def keep(self, endpoint: Endpoint, key: str) -> str:
        """Use and store a key, off the event loop; return where.

        Raises `StoreUnavailable` if it could not be stored; it still works until the end of this run.
        """
        origin = endpoint.origin
        self._accepted[origin] = key
        if self._keyring.set(origin, key):
            self._credentials.set(origin, "")
            return KEYRING
        self._credentials.set(origin, key)
        return "credentials.toml"

    def _load_keyring(self, *, is_separate: bool) -> None:
        """Read keys noted as stored there, and those of named servers without another key."""
        noted = self._credentials.in_keyring()
        settings = self._loaded.settings
        urls = [settings.endpoint, *(own.url for own in settings.endpoints)]
        named = [Endpoint.parse(url) for url in urls if _origin(url)]
        bare = [one.origin for one in named if not self.key_for(one)]
        if not self._keyring.load([*noted, *bare], is_separate=is_separate) and noted:
            self.warnings.append("The system keyring does not answer; its API keys are not used.")

    def _configured(self, endpoint: Endpoint) -> str | None:
        """Return `api_key` for the server it was set with; without one, for loopback."""
        key = self._loaded.settings.api_key
        if not key:
            return None
        if not self._loaded.key_endpoint:
            return key if endpoint.is_loopback else None
        return key if _origin(self._loaded.key_endpoint) == endpoint.origin else None

    def _key_of(self, own: EndpointSettings) -> str:
        if own.api_key_env and self._environ.get(own.api_key_env):
            return self._environ[own.api_key_env]
        return (self._printed_by(own) if own.api_key_cmd else "") or own.api_key

    def _printed_by(self, own: EndpointSettings) -> str:
        key, reason = "", "printed nothing"
        try:
            command = ["/bin/sh", "-c", own.api_key_cmd]
            printed = subprocess.check_output(  # noqa: S603 - the user's own command
                command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_COMMAND_S
            )
            key = printed.decode("utf-8", "replace").partition("\n")[0].strip()
        except subprocess.CalledProcessError as error:
            reason = f"exited with status {error.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = type(error).__name__
        if not key:
            self.warnings.append(f"api_key_cmd of endpoint {own.name!r} {reason}.")
            log.warning("api_key_cmd of an endpoint failed: %s", reason)
        return key


def _origin(url: str) -> str:
    """Return the origin; empty for a wrong address, which the connection reports."""
    return Endpoint.parse(url).origin if is_address(url) else ""
