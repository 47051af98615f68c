"""API keys of servers, and where each is set.

A server is identified by its origin: scheme, host and port. `Loaded.origins` is something else: the
places where settings are set.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from lmchat.config.credentials import Credentials
from lmchat.config.load import Loaded
from lmchat.config.settings import EndpointSettings
from lmchat.processes.child import run_in_terminal
from lmchat.safe_text import header_value
from lmchat.servers.endpoint import Endpoint, is_address

log = logging.getLogger(__name__)

_KEY_FILE = "credentials.toml"
_IN_ENDPOINTS = "[[endpoints]] in the configuration"
_COMMAND_S = 60  # time limit of `api_key_cmd`, which may have to ask the user for a password
_OPENAI_ORIGIN = "https://api.openai.com:443"
_FOR_ANOTHER = (
    "it is for another address, or for this machine. "
    "To use it here, add an [[endpoints]] entry with this url and the key."
)


class Keys:
    """API keys by origin; `load` and `keep` block.

    `key_for` runs the command of an entry of `[[endpoints]]` when its key is first needed; the
    other methods know of such a key only then.

    If a server has several keys, the first of these is used: one that was accepted in this run,
    `[[endpoints]]`, `api_key`, `credentials.toml`, `OPENAI_API_KEY`.
    """

    def __init__(
        self, loaded: Loaded, environ: Mapping[str, str], credentials: Credentials
    ) -> None:
        self._loaded = loaded
        self._environ = environ
        self._credentials = credentials
        self._accepted: dict[str, str] = {}  # keys of this run, by origin
        self._of_endpoints: dict[str, tuple[str, str]] = {}
        """Keys of `[[endpoints]]` with their sources, by origin."""
        self._commands: dict[str, EndpointSettings] = {}  # those that have not run, by origin
        self._command_lock = asyncio.Lock()
        self.lent_terminal: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
        """Returns a context in which a key command has the terminal."""
        self._faults: dict[str, str] = {}  # why a command has printed no key, by origin
        self.warnings: list[str] = []  # sentences about what could not be read; without keys

    def load(self) -> None:
        """Read `credentials.toml` and the keys of `[[endpoints]]`. Blocks.

        What could not be read becomes a sentence in `warnings`, in place of earlier ones. A command
        that has failed may run again.
        """
        self.warnings = list(filter(None, [self._credentials.load()]))
        for entry in self._loaded.settings.endpoints:
            origin = _origin(entry.url)
            key = self._environ.get(entry.api_key_env, "")
            if key:
                source = f"the environment variable {entry.api_key_env}"
                self._of_endpoints[origin] = key, source
            elif not entry.api_key_cmd:
                self._of_endpoints[origin] = entry.api_key, _IN_ENDPOINTS
            elif origin not in self._of_endpoints:
                self._commands[origin] = entry

    async def key_for(self, endpoint: Endpoint) -> str | None:
        """Return the key to send to a server; run the command that prints it, if it has not run.

        Return None if no key is set, or if it has characters that no header can hold.
        """
        origin = endpoint.origin
        async with self._command_lock:  # two commands at once may both ask for a password
            if origin in self._commands and origin not in self._accepted:
                sourced = await self._printed_key(self._commands[origin])
                if sourced[0]:  # else a later `load` lets the command run again
                    self._of_endpoints[origin] = sourced
                del self._commands[origin]
        return self.known_key(endpoint)

    def known_key(self, endpoint: Endpoint) -> str | None:
        """Return what `key_for` returns, but run no command."""
        try:
            return header_value(self._first_key(endpoint)[0]) or None
        except ValueError:
            return None  # `why_withheld` returns the reason

    def source_of(self, endpoint: Endpoint) -> str:
        """Return where the key that is sent to a server is set, "" if no key is sent."""
        return self._first_key(endpoint)[1] if self.known_key(endpoint) else ""

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to a server, and the next step.

        The reasons are: no header can hold the key; its command has failed; the setting `api_key`
        is for another server.
        Return "" if a key is sent, or none is set.
        """
        key, key_source = self._first_key(endpoint)
        try:
            header_value(key)
        except ValueError as error:
            # the error says that the key has forbidden characters: these are meant by "them"
            sentence = f"The API key from {key_source} was not sent: it {error}."
            return f"{sentence} Set it again without them."
        if key:
            return ""
        if fault := self._faults.get(endpoint.origin):
            return fault
        if self._loaded.settings.api_key:
            source = self._loaded.origins.get("api_key", "")  # as "environment (LMCHAT_API_KEY)"
            place = source.partition("(")[2].rstrip(")") or "the configuration"
            return f"The API key in {place} was not sent: {_FOR_ANOTHER}"
        return ""

    def _first_key(self, endpoint: Endpoint) -> tuple[str, str]:
        """Return the first key that is set for a server, with its source; else two empty texts."""
        origin = endpoint.origin
        saved = (one for one in self._credentials.origins() if _origin(one) == origin)
        # the file may have another form of the address: an exact match comes first
        stored = next(filter(None, map(self._credentials.get, (origin, *saved))), "")
        configured_source = f"api_key, {self._loaded.origins.get('api_key', 'configuration')}"
        possible_keys = [
            (self._accepted.get(origin, ""), "the key dialog"),
            self._of_endpoints.get(origin, ("", "")),
            (self._api_key_for(endpoint), configured_source),
            (stored, _KEY_FILE),
        ]
        if origin == _OPENAI_ORIGIN:
            possible_keys.append((self._environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY"))
        return next((sourced for sourced in possible_keys if sourced[0]), ("", ""))

    def accept(self, endpoint: Endpoint, key: str) -> None:
        """Use a key for a server that ends with this run, such as the built-in engine."""
        self._accepted[endpoint.origin] = key

    def stored_origins(self) -> tuple[str, ...]:
        """Return the origins of the servers with a key in `credentials.toml`."""
        return self._credentials.origins()

    def keep(self, endpoint: Endpoint, key: str) -> None:
        """Use a key from now on, and store it in `credentials.toml`. Blocks.

        Raises `StoreUnavailable` if it could not be stored; it is then used in this run only.
        """
        origin = endpoint.origin
        self._accepted[origin] = key
        self._credentials.set(origin, key)

    def _api_key_for(self, endpoint: Endpoint) -> str:
        """Return the setting `api_key` if it may be sent to this server, else "".

        A key that is set together with an address is for the server at that address. Any other key
        is for this machine only: for the server here that the setting `endpoint` names, or for all
        servers here if it names none.
        """
        key = self._loaded.settings.api_key
        key_url = self._loaded.key_endpoint  # the address that is set together with the key, or ""
        if key_url:
            return key if _origin(key_url) == endpoint.origin else ""
        if not endpoint.is_loopback:
            return ""
        named_url = self._loaded.settings.endpoint
        names_this_machine = is_address(named_url) and Endpoint.parse(named_url).is_loopback
        is_for_another = names_this_machine and _origin(named_url) != endpoint.origin
        return "" if is_for_another else key

    async def _printed_key(self, entry: EndpointSettings) -> tuple[str, str]:
        """Run `api_key_cmd` in a shell and return the first line that it prints, with its source.

        If it fails, takes too long or prints an empty line, return the entry's value
        `api_key`, which may be empty.
        """
        argv = ["/bin/sh", "-c", entry.api_key_cmd]
        try:
            async with self.lent_terminal(), asyncio.timeout(_COMMAND_S):
                exit_code, output = await run_in_terminal(
                    argv, environ=self._environ, data=b"", has_output=True
                )
        except (OSError, TimeoutError) as error:
            reason = type(error).__name__
        else:
            key = output.decode("utf-8", "replace").partition("\n")[0].strip()
            if key and exit_code == 0:
                return key, f"api_key_cmd of endpoint {entry.name!r}"
            reason = f"exited with status {exit_code}" if exit_code else "printed nothing"
        log.warning("api_key_cmd of an endpoint failed: %s", reason)
        words = f"api_key_cmd of endpoint {entry.name!r} {reason}."
        self._faults[_origin(entry.url)] = f"{words} Run it in a shell to see why."
        return entry.api_key, _IN_ENDPOINTS


def _origin(url: str) -> str:
    """Return the origin of an address; "" for a wrong one, which the connection reports."""
    return Endpoint.parse(url).origin if is_address(url) else ""
