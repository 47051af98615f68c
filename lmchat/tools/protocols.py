"""Tool servers as other packages see them, and the protocol that `McpServers` implements."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from lmchat.servers.request import Tool
from lmchat.tools.questions import AskUser
from lmchat.units import counted


class ToolServerState(StrEnum):
    """State of a tool server."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class ToolServer(Struct, frozen=True, kw_only=True):
    """A server of tools, as it was last seen."""

    name: str
    state: ToolServerState = ToolServerState.STARTING  # also before its first start
    error: str = ""  # why it failed; while it is ready, why some of its tools are left out
    hint: str = ""  # what to do about the error
    tools: tuple[Tool, ...] = ()  # as it listed them last; they stay after its end

    @property
    def problem(self) -> str:
        return f"{self.error} {self.hint}".strip()

    @property
    def state_sentence(self) -> str:
        """Such as `ready, 3 tools.`, and its error."""
        tools = (
            f", {counted(len(self.tools), 'tool')}" if self.state is ToolServerState.READY else ""
        )
        return f"{self.state}{tools}. {self.error}".rstrip()


class ToolResult(Struct, frozen=True, kw_only=True):
    """Result of a call, or the reason why none exists."""

    text: str
    is_error: bool = False


class ToolHost(Protocol):
    """Tool servers, each of which starts at its first use and again after its end."""

    ask_user: AskUser | None  # for questions of servers; None refuses them all
    is_asking: asyncio.Lock  # held while a question is shown

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        """As last reported, with the names of their tools in requests."""

    async def start_servers(self, *, restarts: bool = False) -> tuple[ToolServer, ...]:
        """Start all servers that do not run, and return them when each is ready or has failed.

        Servers that have failed are started again only with `restarts`.
        """

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> ToolResult:
        """Run a tool; errors, crashes and timeouts are results. Cancelling cancels the call."""

    async def aclose(self) -> None: ...
