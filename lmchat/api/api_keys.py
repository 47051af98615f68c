"""API keys of servers by origin (scheme, host and port), and where each is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from lmchat.base.processes.child import run_for_first_line
from lmchat.base.safe_text import header_value
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.load import LoadedSettings
from lmchat.core.config.mcp_file import checked_headers, expanded, refuse_missing
from lmchat.core.config.settings import EndpointSettings
from lmchat.core.servers.endpoint import Endpoint, origin_of

_KEY_FILE = "credentials.toml"
_COMMAND_S = 60  # it may ask for a password
_OPENAI_ORIGIN = "https://api.openai.com:443"
_NO_ENTRY = EndpointSettings(name="", url="")
_FOR_ANOTHER = (
    "it is for another address, or for servers of this machine that lmchat recognises. "
    "To use it here, set the address beside it (LMCHAT_ENDPOINT beside LMCHAT_API_KEY), type it at "
    "the server's row on the screen, or add an [[endpoints]] entry with this url and the key."
)


class ApiKeys:
    """API keys by origin; `load` and `keep` block.

    The key of a command is unknown until `key_for` has run it. The first of these is used: one
    accepted in this run, `[[endpoints]]`, `api_key`, `credentials.toml`, `OPENAI_API_KEY`.
    """

    def __init__(
        self, loaded: LoadedSettings, environ: Mapping[str, str], credentials: Credentials
    ) -> None:
        self._loaded = loaded
        self._environ = environ
        self._credentials = credentials
        # all by origin
        self.stored: dict[str, str] = {}  # that `load` has read
        self._accepted: dict[str, str] = {}  # in this run
        self._entries = {origin_of(entry.url): entry for entry in loaded.settings.endpoints}
        self._printed: dict[str, str] = {}  # by commands; "" if one failed
        self._faults: dict[str, str] = {}  # why a command has printed no key
        self._told_faults: set[str] = set()  # that `take_fault` has returned
        self._command_lock = asyncio.Lock()
        self.suspended: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
        """Entered while a command that prints a key uses the terminal."""
        self.may_get_any: Callable[[Endpoint], bool] = lambda endpoint: endpoint.is_loopback

    def load(self) -> str:
        """Read `credentials.toml`; return a warning or "". Blocks."""
        warning = self._credentials.load()
        # it may write an address in another form than `Endpoint.origin`
        self.stored = {origin_of(name): key for name, key in self._credentials.keys.items()}
        return warning

    async def key_for(self, endpoint: Endpoint) -> str:
        """Return the key to send; run the command that prints it, once.

        "" if none is set, or if no header can hold it.
        """
        origin = endpoint.origin
        entry = self._entries.get(origin, _NO_ENTRY)
        # a key in its environment variable comes first
        if entry.api_key_cmd and not self._environ.get(entry.api_key_env):
            async with self._command_lock:  # two commands at once may both ask for a password
                if origin not in self._printed and origin not in self._accepted:
                    self._printed[origin] = await self._printed_key(entry)
        return self.known_key(endpoint)

    def known_key(self, endpoint: Endpoint) -> str:
        """Return what `key_for` returns, but run no command."""
        key, _, _ = self._first_key(endpoint)
        return key

    def headers_for(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Return the configured headers; raise `RequestInvalid`."""
        entry = self._entries.get(endpoint.origin, _NO_ENTRY)
        missing = partial(refuse_missing, entry.name, "config")
        headers = expanded(entry.headers or {}, self._environ, missing)
        return checked_headers(entry.name, "config", headers)

    def source_of(self, endpoint: Endpoint) -> str:
        """Return where the key is set; "" if none is sent."""
        key, source, _ = self._first_key(endpoint)
        return source if key else ""

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a set key is not sent, and the next step, or ""."""
        _, _, why = self._first_key(endpoint)
        return why

    def take_fault(self, endpoint: Endpoint) -> str:
        """Return why a key could not be had or sent, once in a run; else ""."""
        if endpoint.origin in self._told_faults:
            return ""
        self._told_faults.add(endpoint.origin)
        key, source, why = self._first_key(endpoint)
        is_unfit = bool(source) and not key
        return self._faults.get(endpoint.origin, why if is_unfit else "")

    def _first_key(self, endpoint: Endpoint) -> tuple[str, str, str]:
        """Return the key, where it is set, and why it is not sent; all "" if none is set.

        The key is "" if no header can hold it.
        """
        origin = endpoint.origin
        settings = self._loaded.settings
        entry = self._entries.get(origin, _NO_ENTRY)
        setting_origin = self._loaded.origin("api_key")
        # an `api_key` set together with an address is for that; without one, for servers on this
        # machine
        key_url = self._loaded.key_endpoint
        may_get_any = self.may_get_any(endpoint)
        is_setting_for_server = origin_of(key_url) == origin if key_url else may_get_any
        # with their sources; the first that is not "" counts
        possible_keys = [
            (self._accepted.get(origin, ""), "the key dialog"),
            (
                self._environ.get(entry.api_key_env, ""),
                f"the environment variable {entry.api_key_env}",
            ),
            (self._printed.get(origin, ""), f"api_key_cmd of endpoint {entry.name!r}"),
        ]
        # the command's key would precede those below, so it has to run first
        if not entry.api_key_cmd or origin in self._printed:
            setting = settings.api_key if is_setting_for_server else ""
            possible_keys += [
                (entry.api_key, "[[endpoints]] in the configuration"),
                (setting, f"api_key, {setting_origin.label}"),
                (self.stored.get(origin, ""), _KEY_FILE),
            ]
            if origin == _OPENAI_ORIGIN:
                possible_keys.append((self._environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY"))
        for key, source in possible_keys:
            try:
                if sent_key := header_value(key):
                    return sent_key, source, ""
            except ValueError as error:
                # "them": the characters that no header can hold
                sentence = f"The API key from {source} was not sent: it {error}."
                return "", source, f"{sentence} Set it again without them."
        if origin in self._faults:
            return "", "", self._faults[origin]
        if entry.api_key_env:
            return "", "", f"The environment variable {entry.api_key_env} is not set."
        if settings.api_key:
            place = setting_origin.name or "the configuration"
            return "", "", f"The key in {place} was not sent: {_FOR_ANOTHER}"
        return "", "", ""

    def accept(self, endpoint: Endpoint, key: str) -> None:
        """Use a key for a server that ends with this run, such as the built-in engine."""
        self._accepted[endpoint.origin] = key

    def keep(self, endpoint: Endpoint, key: str) -> None:
        """Raises `StoreUnavailable`; the key is then used in this run only. Blocks."""
        self._accepted[endpoint.origin] = key
        self._credentials.set(endpoint.origin, key)

    async def _printed_key(self, entry: EndpointSettings) -> str:
        """Run `api_key_cmd` in a shell; return the first line, or "", and remember why."""
        try:
            async with self.suspended(), asyncio.timeout(_COMMAND_S):
                exit_code, key = await run_for_first_line(
                    entry.api_key_cmd, environ=self._environ, folder=self._loaded.file.parent
                )
        except TimeoutError:
            reason = f"has not ended within {_COMMAND_S} s"
        except OSError as error:
            reason = f"cannot start: {error.strerror or error}"
        else:
            if key and exit_code == 0:
                return key
            reason = f"exited with status {exit_code}" if exit_code else "printed nothing"
        command = f"The api_key_cmd of endpoint {entry.name!r}"
        self._faults[origin_of(entry.url)] = f"{command} {reason}. Run it in a shell to see why."
        return ""
