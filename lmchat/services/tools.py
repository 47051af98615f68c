"""The tools of this run: which are offered, which may run, and calls of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from lmchat.config.settings import Approval, McpSettings, ToolSettings
from lmchat.domain.server import Product, Target
from lmchat.domain.tool import Choice, Tool, ToolResult
from lmchat.errors import RequestInvalid
from lmchat.services.ports import ToolHost
from lmchat.threads import run_abandonable

_TELLS_TOOLS = (Product.LM_STUDIO, Product.OLLAMA, Product.LLAMA_CPP, Product.BUILT_IN)
"""Products that say of each model whether it can use tools."""


class Toolbox:
    """Tools of the configured servers, with the approvals and switches of each session."""

    def __init__(
        self,
        host: ToolHost,
        settings: ToolSettings,
        mcp: Sequence[McpSettings] = (),
        allowed: tuple[str, ...] = (),
    ) -> None:
        """Start nothing yet; `allowed` are the tools that always run, by their full names."""
        self.settings = settings
        self.allowed = allowed
        self.host = host
        self._of_servers = {one.name: one.approve for one in mcp if one.approve}
        self._allowed_once: set[tuple[str, str]] = set()
        """Session and tool, where it may run for the rest of the session."""
        self._off: set[tuple[str, str]] = set()

    @property
    def tools(self) -> list[Tool]:
        return [tool for server in self.host.servers for tool in server.tools]

    def find(self, name: str) -> Tool | None:
        """Return the tool of a full name or a name in requests."""
        return next((tool for tool in self.tools if name in (tool.wire_name, tool.full_name)), None)

    def can_use(self, target: Target) -> bool:
        """Whether the model can use tools, as far as its server says; else the configuration decides."""
        known = target.model.capabilities if target.model else ()
        if known or target.product in _TELLS_TOOLS:
            return "tools" in known
        return self.settings.offer_when_unknown

    async def offered(self, target: Target, session_id: str) -> tuple[Tool, ...]:
        """Return the tools that a model may call; servers are started first."""
        if not self.can_use(target):
            return ()
        await self.host.list_servers()
        return tuple(tool for tool in self.tools if self.is_on(session_id, tool))

    def is_on(self, session_id: str, tool: Tool) -> bool:
        """Whether a tool is offered in a session; one that may never run is not."""
        return self.approval(session_id, tool) is not Approval.NEVER

    def toggle(self, session_id: str, name: str) -> None:
        """Switch a server, or a tool by its full name, off or on again for a session."""
        self._off ^= {(session_id, name)}

    def is_off(self, session_id: str, name: str) -> bool:
        """Whether a server, or a tool by its full name, was switched off in a session."""
        return (session_id, name) in self._off

    def approval(self, session_id: str, tool: Tool) -> Approval:
        """Return whether a tool may run: never if it is off, or the configuration says so."""
        rules, name = self.settings.approval, tool.full_name
        configured = Approval(
            rules.get(name)
            or rules.get(tool.server)
            or self._of_servers.get(tool.server)
            or self.settings.approve
        )
        is_off = self.is_off(session_id, name) or self.is_off(session_id, tool.server)
        if is_off or configured is Approval.NEVER:
            return Approval.NEVER
        is_allowed = name in self.allowed or (session_id, name) in self._allowed_once
        return Approval.ALWAYS if is_allowed else configured

    def decide(self, session_id: str, tool: Tool, choice: Choice) -> None:
        """Take over a decision for later calls; who asked the user saves it."""
        if choice is Choice.SESSION:
            self._allowed_once.add((session_id, tool.full_name))
        elif choice is Choice.ALWAYS:
            self.allowed = (*self.allowed, tool.full_name)

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
        """Run a tool whose arguments fit; everything that goes wrong is a result."""
        if reason := await _misfit(tool, arguments):
            return ToolResult(text=f"The arguments do not match the schema: {reason}.", is_error=True)
        return await self.host.call(tool, arguments, timeout_s=self.settings.timeout_s)


async def _misfit(tool: Tool, arguments: Mapping[str, Any]) -> str:
    from lmchat.structured.schema import CHECK_S, Schema  # noqa: PLC0415 - jsonschema takes 0.1 s

    try:
        async with asyncio.timeout(CHECK_S):
            return await run_abandonable(lambda: Schema(tool.schema).misfit(dict(arguments)))
    except TimeoutError:
        return f"they could not be checked within {CHECK_S:g} s"
    except RequestInvalid:
        return ""  # the server's own schema is invalid; it checks the arguments itself
