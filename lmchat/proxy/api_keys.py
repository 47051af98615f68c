"""API keys of servers: where they come from, and which one an address gets."""

from __future__ import annotations

from typing import Protocol

from lmchat.servers.endpoint import Endpoint


class KeySource(Protocol):
    """Where API keys come from, such as the settings of the user.

    Each method is about one spelling of an address. `ServerKeys` asks for all of them.
    """

    def key_for(self, endpoint: Endpoint) -> str | None:
        """Return the key that may be sent to an address."""
        ...

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to an address, and the next step; else ""."""
        ...


class NoKeys:
    """A source without keys."""

    def key_for(self, endpoint: Endpoint) -> str | None:  # noqa: ARG002 - used by subclasses
        return None

    def why_withheld(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""


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

    def withheld_reason(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to a server, and the next step.

        Empty if no key is held back.
        """
        for alias in endpoint.aliases:
            if reason := self._source.why_withheld(alias):
                return reason
        return ""
