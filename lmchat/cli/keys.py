"""API keys by server."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator, Mapping
from threading import Lock

from msgspec import Struct

from lmchat.config.load import Loaded
from lmchat.config.settings import EndpointSettings
from lmchat.domain.server import Endpoint, is_address
from lmchat.files import environment_for_others
from lmchat.machine.process import run_blocking
from lmchat.storage.credentials import Credentials, KeyringKeys
from lmchat.text import header_value

log = logging.getLogger(__name__)

KEYRING = "the system keyring"
_KEY_FILE = "credentials.toml"
_COMMAND_S = 60  # a command may have to ask its user for a password
_OPENAI = "https://api.openai.com:443"
_NO_ADDRESS = "it is set without an address, and so is for this machine only"
_SET_TOGETHER = "To use it here, add an [[endpoints]] entry with this url and the key."
_UNANSWERED = (
    "The system keyring does not answer, so its API key was not sent. "
    "Unlock it, then start lmchat again."
)


class _SetKey(Struct, frozen=True):
    """An API key, and where it is set; both empty without one."""

    key: str = ""
    source: str = ""


class Keys:
    """API keys by origin (scheme, host and port); `load` blocks, `key_for` does not.

    Order: accepted in this run, `[[endpoints]]`, `api_key`, keyring, `credentials.toml`,
    `OPENAI_API_KEY`.
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
        self._passing: set[str] = set()  # origins of servers that end with this run
        self._of_endpoints: dict[str, _SetKey] = {}
        self._is_separate = False
        self._lock = Lock()
        self._looked_up: set[str] = set()
        self._unanswered: set[str] = set()
        """Origins whose key is in a keyring that does not answer."""
        self.warnings: list[str] = []
        """Sentences about what could not be read; without keys."""

    def load(self, *, is_separate: bool = False) -> None:
        """Read stored keys and run key commands, off the event loop.

        With `is_separate`, a separate process will read the keyring.
        """
        self._is_separate = is_separate
        if warning := self._credentials.load():
            self.warnings.append(warning)
        for endpoint in self._loaded.settings.endpoints:
            origin = _origin(endpoint.url)
            found = self._key_of(endpoint)
            if origin and found.key:
                self._of_endpoints[origin] = found

    def look_up(self, endpoint: Endpoint) -> None:
        """Ask the keyring for the key of a server that wants one; blocks for a few seconds at most.

        It is asked once, about servers that were named and those whose key was stored there.
        """
        origin = endpoint.origin
        is_stored = origin in self._credentials.in_keyring()
        if not is_stored and origin not in self._named_origins():
            return
        with self._lock:  # a second check of the server waits for the answer to the first
            if origin in self._looked_up:
                return
            self._looked_up.add(origin)
            has_answer = self._keyring.load([origin], is_separate=self._is_separate)
            if is_stored and not has_answer:
                self._unanswered.add(origin)

    def _named_origins(self) -> set[str]:
        settings = self._loaded.settings
        return {_origin(settings.endpoint), *(_origin(own.url) for own in settings.endpoints)}

    def key_for(self, endpoint: Endpoint) -> str | None:
        try:
            return header_value(self._found(endpoint).key) or None
        except ValueError:
            return None  # `why_withheld` says so

    def source_of(self, endpoint: Endpoint) -> str:
        return self._found(endpoint).source if self.key_for(endpoint) else ""

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to a server, and the next step; else ""."""
        found = self._found(endpoint)
        try:
            header_value(found.key)
        except ValueError as error:
            words = f"The API key from {found.source} was not sent: it {error}."
            return f"{words} Set it again without them."
        if found.key:
            return ""
        if endpoint.origin in self._unanswered:
            return _UNANSWERED
        return self._why_for_others(endpoint) if self._loaded.settings.api_key else ""

    def _why_for_others(self, endpoint: Endpoint) -> str:
        """Return why `api_key` is not sent to a server."""
        own = self._loaded.key_endpoint
        is_of_this_host = is_address(own) and Endpoint.parse(own).host == endpoint.host
        is_named = _origin(self._loaded.settings.endpoint) == endpoint.origin
        was_found = endpoint.is_loopback and not is_of_this_host and not is_named
        if was_found:
            return ""  # the server's own hint says where its key is
        reason = f"it is for {_origin(own) or 'another address'}" if own else _NO_ADDRESS
        return f"The API key in {self._place_of_key} was not sent: {reason}. {_SET_TOGETHER}"

    @property
    def _place_of_key(self) -> str:
        """Variable or file that `api_key` comes from."""
        origin = self._loaded.origins.get("api_key", "")
        return origin.partition("(")[2].rstrip(")") or "the configuration"

    def _found(self, endpoint: Endpoint) -> _SetKey:
        """Return the first key for a server."""
        return next((found for found in self._known(endpoint) if found.key), _SetKey())

    def _known(self, endpoint: Endpoint) -> Iterator[_SetKey]:
        """Yield the keys for a server in their order; some are empty."""
        origin = endpoint.origin
        configured = f"api_key, {self._loaded.origins.get('api_key', 'configuration')}"
        yield _SetKey(self._accepted.get(origin, ""), "the key dialog")
        yield self._of_endpoints.get(origin, _SetKey())
        yield _SetKey(self._configured(endpoint), configured)
        yield _SetKey(self._keyring.get(origin) or "", KEYRING)
        yield _SetKey(self._credentials.get(origin) or "", _KEY_FILE)
        if origin == _OPENAI:
            yield _SetKey(self._environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY")

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

        Raises `StoreUnavailable` if it could not be stored; it works until the end of this run.
        """
        origin = endpoint.origin
        self._accepted[origin] = key
        if self._keyring.set(origin, key):
            self._credentials.set(origin, "")
            return KEYRING
        self._credentials.set(origin, key)
        return _KEY_FILE

    def _configured(self, endpoint: Endpoint) -> str:
        """Return `api_key` for the server it was set with, else "".

        Set without one, it is for this machine: for the server that is named here, else for each.
        """
        key = self._loaded.settings.api_key
        own = self._loaded.key_endpoint
        if own:
            return key if _origin(own) == endpoint.origin else ""
        if not endpoint.is_loopback:
            return ""
        named = self._loaded.settings.endpoint
        is_named_here = is_address(named) and Endpoint.parse(named).is_loopback
        is_for_another = is_named_here and _origin(named) != endpoint.origin
        return "" if is_for_another else key

    def _key_of(self, own: EndpointSettings) -> _SetKey:
        """Return the key of an entry."""
        if key := self._environ.get(own.api_key_env, ""):
            return _SetKey(key, f"the environment variable {own.api_key_env}")
        if own.api_key_cmd and (key := self._printed_by(own)):
            return _SetKey(key, f"api_key_cmd of endpoint {own.name!r}")
        return _SetKey(own.api_key, "[[endpoints]] in the configuration")

    def _printed_by(self, own: EndpointSettings) -> str:
        key = ""
        reason = "printed nothing"
        try:
            printed = run_blocking(
                ["/bin/sh", "-c", own.api_key_cmd],
                environment=environment_for_others(self._environ),
                timeout_s=_COMMAND_S,
                has_terminal=True,
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
