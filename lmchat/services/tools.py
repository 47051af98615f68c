"""The tools of this run: which are offered, which may run, and calls of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lmchat.config.settings import Approval, McpSettings, ToolSettings
from lmchat.domain.server import Target
from lmchat.domain.tool import Choice, Tool, ToolResult
from lmchat.errors import RequestInvalid
from lmchat.services.ports import ToolHost
from lmchat.text import safe_line

_MOST_CHECKS = 4  # processes that check arguments side by side; an answer may make a thousand calls


class Toolbox:
    """Tools of the configured servers, with the approvals and switches of each session."""

    def __init__(
        self,
        host: ToolHost,
        settings: ToolSettings,
        mcp: Sequence[McpSettings] = (),
        allowed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start nothing yet; `allowed` are the fingerprints of tools that always run, by full names."""
        self.settings = settings
        self.allowed = dict(allowed)
        self.host = host
        self._servers = {server.name: server for server in mcp}
        self._allowed_once: set[tuple[str, str, str]] = set()
        """Session, tool and fingerprint, where it may run for the rest of the session."""
        self._off: set[tuple[str, str]] = set()
        self._checks = asyncio.Semaphore(_MOST_CHECKS)

    @property
    def tools(self) -> list[Tool]:
        return [tool for server in self.host.servers for tool in server.tools]

    def find(self, name: str) -> Tool | None:
        """Return the tool of a full name or a name in requests."""
        return next((tool for tool in self.tools if name in (tool.wire_name, tool.full_name)), None)

    def can_use(self, target: Target) -> bool:
        """Whether the model can use tools, as far as its server says; else the configuration decides."""
        known = target.model.capabilities if target.model else ()
        if known or target.product.facts.lists_tool_models:
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
        name = tool.full_name
        configured = Approval(self._rule(tool) or self.settings.approve)
        is_off = self.is_off(session_id, name) or self.is_off(session_id, tool.server)
        if is_off or configured is Approval.NEVER:
            return Approval.NEVER
        is_allowed = self._is_always_allowed(tool) or self._is_allowed_once(session_id, tool)
        return Approval.ALWAYS if is_allowed else configured

    def fingerprint_to_save(self, tool: Tool) -> str:
        """Return what to save with `always`; nothing where a rule of the configuration wins over it."""
        return "" if self._rule(tool) else self._fingerprint(tool)

    def why_asked_again(self, tool: Tool) -> str:
        """Return why a tool that was always allowed needs another decision; empty where it was not."""
        name = tool.full_name
        if name not in self.allowed:
            return ""
        shown = safe_line(name, limit=80)
        if self._rule(tool):
            return f"config.toml asks about {shown} each time, although you once chose “always”."
        if not self.allowed[name]:
            return f"An older lmchat saved “always” for {shown} without what it was; decide again."
        return f"{shown} is not what you always allowed: its server, description or arguments have changed."

    def decide(self, session_id: str, tool: Tool, choice: Choice) -> None:
        """Take over a decision for later calls; who asked the user saves it."""
        fingerprint = self.fingerprint_to_save(tool)
        if choice is Choice.ALWAYS and fingerprint:
            self.allowed[tool.full_name] = fingerprint
        elif choice in (Choice.SESSION, Choice.ALWAYS):
            self._allowed_once.add((session_id, tool.full_name, self._fingerprint(tool)))

    def _rule(self, tool: Tool) -> str:
        """Return what the configuration says about a tool or its server; empty if it names neither."""
        rules, server = self.settings.approval, self._servers.get(tool.server)
        of_server = server.approve if server is not None else ""
        return rules.get(tool.full_name) or rules.get(tool.server) or of_server

    def _is_always_allowed(self, tool: Tool) -> bool:
        saved = self.allowed.get(tool.full_name)
        return bool(saved) and not self._rule(tool) and saved == self._fingerprint(tool)

    def _is_allowed_once(self, session_id: str, tool: Tool) -> bool:
        if not self._allowed_once:
            return False
        return (session_id, tool.full_name, self._fingerprint(tool)) in self._allowed_once

    def _fingerprint(self, tool: Tool) -> str:
        """Return a digest of what a tool is: what runs it, and what the user and the model know of it.

        The content of tools.py is not part of it: its code runs already when its functions are listed.
        Neither are values of variables: a new token makes no other tool.
        """
        from hashlib import sha256  # noqa: PLC0415 - not before the first paint

        server = self._servers.get(tool.server)
        facts: dict[str, object] = {"description": tool.description, "schema": tool.schema}
        if server is not None:
            facts |= {
                "command": [server.command, *server.args],
                "cwd": server.cwd,
                "url": server.url,
                "variables": sorted(server.env or ()),
                "headers": sorted((server.headers_env or {}).items()),
            }
        try:
            text = json.dumps(facts, sort_keys=True)
        except RecursionError:  # of a schema without end: it fits no saved one
            return ""
        return sha256(text.encode()).hexdigest()

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
        """Run a tool whose arguments fit; everything that goes wrong is a result."""
        from lmchat.structured.json_schema import UncheckedError, misfit_of  # noqa: PLC0415 - for calls only

        try:
            async with self._checks:
                reason = await misfit_of(tool.schema, dict(arguments))
        except UncheckedError as error:
            text = f"The tool did not run: its arguments could not be checked{error.reason}."
            return ToolResult(text=text, is_error=True)
        except RequestInvalid:
            reason = ""  # the server's own schema is invalid; it checks the arguments itself
        if reason:
            return ToolResult(
                text=f"The arguments do not match the schema: {reason}.", is_error=True
            )
        return await self.host.call(tool, arguments, timeout_s=self.settings.timeout_s)
