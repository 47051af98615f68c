"""API keys of servers, as the client, its scanner and its sender ask for them."""

from __future__ import annotations

from typing import Protocol

from lmchat.servers.endpoint import Endpoint


class KeySource(Protocol):
    """Source of API keys, such as the settings of the user; an empty key means none."""

    def known_key(self, endpoint: Endpoint) -> str:
        """Return the key that may be sent to an address, without asking the user."""
        ...

    async def key_for(self, endpoint: Endpoint) -> str:
        """Return the key that may be sent to an address; the user may be asked for a password."""
        ...

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to an address, and the next step; else ""."""
        ...

    def take_fault(self, endpoint: Endpoint) -> str:
        """Return why a key that was asked for could not be had, the first time only; else ""."""
        ...


class NoKeys:
    """A source without keys; a subclass has only to override `known_key`."""

    def known_key(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""

    async def key_for(self, endpoint: Endpoint) -> str:
        return self.known_key(endpoint)

    def why_withheld(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""

    def take_fault(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""
