"""The tools of this run: which are offered to models, which may run, and how they are called.

A tool has the full name `SERVER/TOOL`, and another in requests (`Tool.wire_name`). What the user
has allowed counts only for the same *fingerprint*, a digest of what runs and describes it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct

from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import Approval, McpSettings, ToolSettings
from lmchat.core.servers.request import Tool
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.tools.calls import (
    ApprovalScope,
    Decision,
    Tell,
    ToolHost,
    ToolResult,
    names_of_starting,
)


class ToolQuestion(Struct, frozen=True, kw_only=True):
    """A call that waits until the user decides."""

    message: ChatMessage
    note: str = ""  # why the user is asked about an always allowed tool

    @property
    def name(self) -> str:
        """`SERVER/TOOL`."""
        return self.message.tool_calls[0].name


Ask = Callable[[ToolQuestion], Awaitable[Decision]]


class Toolbox:
    """Tools of the configured servers, with the approvals and switches of each session."""

    def __init__(
        self,
        host: ToolHost,
        settings: ToolSettings,
        mcp: Sequence[McpSettings],
        allowed: Mapping[str, str],
        save_allowed: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """Functions of tools.py are not in `mcp`; `allowed` has fingerprints by full names."""
        self.settings = settings
        self.allowed = dict(allowed)
        self._save_allowed = save_allowed
        self.host = host
        self._servers = {server.name: server for server in mcp}
        self._allowed_in_session: set[tuple[str, str, str]] = set()
        """Session id, full name, fingerprint."""
        self._off: set[tuple[str, str]] = set()
        """Session id, and a server or the full name of a tool."""

    @property
    def tools(self) -> list[Tool]:
        return list(chain.from_iterable(server.tools for server in self.host.servers))

    def find(self, name: str) -> Tool | None:
        """By the full name, or that in requests."""
        for tool in self.tools:
            if name in (tool.wire_name, tool.full_name):
                return tool
        return None

    def can_use(self, target: Target) -> bool:
        """True if the server does not say."""
        return target.model is None or target.model.tools is not False

    def must_start(self, target: Target) -> bool:
        """Whether `offered` has to start servers, and to wait until all work or have failed."""
        return self.can_use(target) and bool(self.starting())

    def starting(self) -> str:
        return names_of_starting(self.host.servers)

    @property
    def must_call(self) -> bool:
        """Only the first answer of a turn must: else it would not end."""
        return self.settings.choice == "required"

    async def offered(self, target: Target, session_id: str) -> tuple[Tool, ...]:
        """The servers are started first."""
        if not self.can_use(target):
            return ()
        await self.host.start_servers()
        return self.offered_now(session_id)

    def offered_now(self, session_id: str) -> tuple[Tool, ...]:
        """Of the servers that have started."""
        return tuple(tool for tool in self.tools if self.is_offered(session_id, tool))

    def is_offered(self, session_id: str, tool: Tool) -> bool:
        is_off = any(self.is_off(session_id, name) for name in (tool.full_name, tool.server))
        return not is_off and self._configured_approval(tool) != "never"

    def _configured_approval(self, tool: Tool) -> Approval:
        return self._configured_rule(tool) or self.settings.approve

    def toggle(self, session_id: str, name: str) -> None:
        """`name` is a server or the full name of a tool."""
        self._off ^= {(session_id, name)}

    def is_off(self, session_id: str, name: str) -> bool:
        """Whether this server or tool itself was switched off."""
        return (session_id, name) in self._off

    def approval(self, session_id: str, tool: Tool) -> Approval:
        """Return "never" also for a tool that is switched off."""
        if not self.is_offered(session_id, tool):
            return "never"
        if self._configured_approval(tool) == "always" or self.is_allowed_here(session_id, tool):
            return "always"
        # "ask" in the configuration comes before what the user once always allowed
        is_allowed = self.allowed.get(tool.full_name) == self._fingerprint(tool)
        return "always" if is_allowed and not self._configured_rule(tool) else "ask"

    def is_allowed_here(self, session_id: str, tool: Tool) -> bool:
        """Whether the user has allowed it for this session only."""
        return (session_id, tool.full_name, self._fingerprint(tool)) in self._allowed_in_session

    def why_asked_again(self, tool: Tool) -> str:
        """Say that a tool which was always allowed has changed, or "".

        Only if `approval` is "ask": without a rule, the fingerprint has then changed.
        """
        if tool.full_name not in self.allowed or self._configured_rule(tool):
            return ""
        name = safe_line(tool.full_name, limit=80)
        return (
            f"{name} is not what you always allowed: its server, description or arguments have "
            "changed."
        )

    async def allow(self, session_id: str, tool: Tool, choice: ApprovalScope) -> None:
        """`ALWAYS` counts only in this session if the configuration has a rule for the tool."""
        fingerprint = self._fingerprint(tool)
        if choice is ApprovalScope.ALWAYS and not self._configured_rule(tool):
            self.allowed[tool.full_name] = fingerprint
            await self._save_allowed(tool.full_name, fingerprint)
        elif choice is not ApprovalScope.ONCE:  # a refusal does not come here
            self._allowed_in_session.add((session_id, tool.full_name, fingerprint))

    def _configured_rule(self, tool: Tool) -> Approval | None:
        """`[tools.approval]` has priority over `mcp.json`."""
        rules = self.settings.approval
        server = self._servers.get(tool.server)
        by_server = rules.get(tool.server) or (server and server.approve)
        return rules.get(tool.full_name) or by_server or None

    def _fingerprint(self, tool: Tool) -> str:
        """If it changes, what the user has allowed is not allowed any more.

        The content of tools.py is not in it, as that runs already when its functions are listed;
        nor are values of the user's variables, as they may be tokens, which change.
        """
        from hashlib import sha256  # noqa: PLC0415 - not before the first paint

        server = self._servers.get(tool.server)
        identity: dict[str, object] = {"description": tool.description, "schema": tool.schema}
        if server is not None:
            identity |= {
                "command": [server.command, *server.args],
                "cwd": server.cwd,
                "url": server.url,
                "variables": sorted((server.env or {}).items()),
                "headers": sorted((server.headers or {}).items()),
            }
        return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    async def call(self, tool: Tool, arguments: Mapping[str, Any], tell: Tell) -> ToolResult:
        """Any error is a result, too. `tell` gets what the tool says while it runs."""
        return await self.host.call(tool, arguments, timeout_s=self.settings.timeout_s, tell=tell)
