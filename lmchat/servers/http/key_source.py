"""API keys of servers, as the client, its scanner and its sender ask for them."""

from __future__ import annotations

from typing import Protocol

from lmchat.servers.endpoint import Endpoint


class KeySource(Protocol):
    """Source of API keys; an empty one means none."""

    def known_key(self, endpoint: Endpoint) -> str:
        """Return the key for an address without asking the user."""
        ...

    async def key_for(self, endpoint: Endpoint) -> str:
        """Return the key for an address; the user may be asked for a password."""
        ...

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent, and the next step; else ""."""
        ...

    def take_fault(self, endpoint: Endpoint) -> str:
        """Return why a key could not be had, the first time only; else ""."""
        ...


class NoKeys:
    """Source without keys; a subclass overrides `known_key`."""

    def known_key(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""

    async def key_for(self, endpoint: Endpoint) -> str:
        return self.known_key(endpoint)

    def why_withheld(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""

    def take_fault(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - used by subclasses
        return ""
