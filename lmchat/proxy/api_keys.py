"""API keys of servers: where they come from, and which one an address gets."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from lmchat.domain.server import Endpoint
from lmchat.threads import run_abandonable


class KeySource(Protocol):
    """Where API keys come from, such as the settings of the user and a keyring.

    Each method is about one spelling of an address. `ServerKeys` asks for all of them.
    """

    def key_for(self, endpoint: Endpoint) -> str | None:
        """Return the key that may be sent to an address, from what was read so far."""
        ...

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to an address, and the next step; else ""."""
        ...

    def look_up(self, endpoint: Endpoint) -> None:
        """Ask a keyring, if there is one; `key_for` then returns its key. May block."""
        ...


class NoKeys:
    """A source without keys."""

    def key_for(self, endpoint: Endpoint) -> str | None:  # noqa: ARG002 - used by subclasses
        return None

    def why_withheld(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""

    def look_up(self, endpoint: Endpoint) -> None:
        """Do nothing: there is no keyring."""


class ServerKeys:
    """The keys of a source by server: all names of this machine share a key."""

    def __init__(self, source: KeySource) -> None:
        self._source = source

    def key(self, endpoint: Endpoint) -> str | None:
        """Return the key of a server, or None."""
        for alias in endpoint.aliases:
            if key := self._source.key_for(alias):
                return key
        return None

    async def key_after_refusal(self, endpoint: Endpoint) -> str | None:
        """Return the key of a server that refused to answer without one, or None.

        If no key is known so far, a keyring is asked first, if there is one. It is not asked
        before: it may in turn ask the user for a password.
        """
        if not self.key(endpoint):
            for alias in endpoint.aliases:
                await run_abandonable(partial(self._source.look_up, alias))
        return self.key(endpoint)

    def withheld_reason(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to a server, and the next step.

        Empty if no key is held back.
        """
        for alias in endpoint.aliases:
            if reason := self._source.why_withheld(alias):
                return reason
        return ""
