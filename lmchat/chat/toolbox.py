"""The tools of this run: which are offered to models, which may run, and how they are called.

A tool has two names: the full name `SERVER/TOOL`, and another one in requests (`Tool.wire_name`).
Its *fingerprint* is a digest of what runs it and how it is described. What the user has allowed
counts only for a tool with the same fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

from lmchat.config.settings import Approval, McpSettings, ToolSettings
from lmchat.safe_text import safe_line
from lmchat.servers.request import Tool
from lmchat.servers.target import Target
from lmchat.tools.calls import ApprovalScope
from lmchat.tools.protocols import ToolHost, ToolResult, ToolServerState


class Toolbox:
    """Tools of the configured servers, with the approvals and switches of each session."""

    def __init__(
        self,
        host: ToolHost,
        settings: ToolSettings,
        mcp: Sequence[McpSettings] = (),
        allowed: Mapping[str, str] = MappingProxyType({}),
        save_allowed: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        """Start nothing yet.

        `mcp` has the settings of the servers that `host` runs, except for functions of tools.py.
        `allowed` has the fingerprints of tools for which the user once chose "always", by their
        full names. `save_allowed` saves one more: it gets full name and fingerprint.
        """
        self.settings = settings
        self.allowed = dict(allowed)  # fingerprints by full names
        self._save_allowed = save_allowed
        self.host = host
        self._servers = {server.name: server for server in mcp}  # settings by name
        self._allowed_in_session: set[tuple[str, str, str]] = set()
        """Session id, full name and fingerprint of tools that may run for the rest of a session."""
        self._off: set[tuple[str, str]] = set()
        """Session id, and the name of a server or the full name of a tool that is off in it."""

    @property
    def tools(self) -> list[Tool]:
        return list(chain.from_iterable(server.tools for server in self.host.servers))

    @property
    def has_started(self) -> bool:
        """Whether all servers are ready or have failed."""
        return all(server.state is not ToolServerState.STARTING for server in self.host.servers)

    def find(self, name: str) -> Tool | None:
        """Return the tool with this full name, or with this name in requests; None if unknown."""
        for tool in self.tools:
            if name in (tool.wire_name, tool.full_name):
                return tool
        return None

    def can_use(self, target: Target) -> bool:
        """Whether the model can use tools, unless its server says that it cannot."""
        return target.model is None or target.model.tools is not False

    async def offered(self, target: Target, session_id: str) -> tuple[Tool, ...]:
        """Return the tools that the model may call in a session; none if it cannot use tools.

        The servers of the tools are started first.
        """
        if not self.can_use(target):
            return ()
        await self.host.start_servers()
        return tuple(tool for tool in self.tools if self.is_offered(session_id, tool))

    def is_offered(self, session_id: str, tool: Tool) -> bool:
        """Whether a tool is offered in a session: it is neither switched off nor forbidden."""
        is_off = any(self.is_off(session_id, name) for name in (tool.full_name, tool.server))
        return not is_off and self._configured_approval(tool) is not Approval.NEVER

    def _configured_approval(self, tool: Tool) -> Approval:
        """Return the approval by the configuration: the rule for a tool, or else that for all."""
        return Approval(self._configured_rule(tool) or self.settings.approve)

    def toggle(self, session_id: str, name: str) -> None:
        """Switch a server, or a tool by its full name, off or on again for a session."""
        self._off ^= {(session_id, name)}  # adds the pair, or removes it if it is there

    def is_off(self, session_id: str, name: str) -> bool:
        """Whether a server, or a tool by its full name, was switched off in a session."""
        return (session_id, name) in self._off

    def approval(self, session_id: str, tool: Tool) -> Approval:
        """Return whether a tool may run in a session: always, never, or after asking the user.

        `NEVER`: the tool or its server is switched off, or the configuration forbids it. `ALWAYS`:
        the configuration or the user has allowed it. `ASK`: all other tools.
        """
        if not self.is_offered(session_id, tool):
            return Approval.NEVER
        if self._configured_approval(tool) is Approval.ALWAYS:
            return Approval.ALWAYS
        if self.is_allowed_here(session_id, tool):
            return Approval.ALWAYS
        # `ASK` as a rule in the configuration has priority over what the user once always allowed
        is_allowed = self.allowed.get(tool.full_name) == self._fingerprint(tool)
        return Approval.ALWAYS if is_allowed and not self._configured_rule(tool) else Approval.ASK

    def is_allowed_here(self, session_id: str, tool: Tool) -> bool:
        """Whether the user has allowed a tool for this session only."""
        return (session_id, tool.full_name, self._fingerprint(tool)) in self._allowed_in_session

    def why_asked_again(self, tool: Tool) -> str:
        """Return why the user has to decide about this tool, although it was once always allowed.

        Empty for a tool that was never always allowed, and if a rule of the configuration asks
        about it. Only call this if `approval` is `ASK`. Without such a rule, the fingerprint of a
        tool that was always allowed must then have changed.
        """
        if tool.full_name not in self.allowed or self._configured_rule(tool):
            return ""
        name = safe_line(tool.full_name, limit=80)
        return (
            f"{name} is not what you always allowed: its server, description or arguments have "
            "changed."
        )

    async def allow(self, session_id: str, tool: Tool, choice: ApprovalScope) -> None:
        """Note what a decision about a tool allows for later calls.

        `ALWAYS` allows it in all sessions, also of later runs, and `SESSION` in this one. A rule of
        the configuration for the tool has priority: `ALWAYS` then allows it only in this session.
        """
        fingerprint = self._fingerprint(tool)
        if choice is ApprovalScope.ALWAYS and not self._configured_rule(tool):
            self.allowed[tool.full_name] = fingerprint
            if self._save_allowed is not None:
                await self._save_allowed(tool.full_name, fingerprint)
        elif choice is not ApprovalScope.ONCE:  # for this session; a refusal does not come here
            self._allowed_in_session.add((session_id, tool.full_name, fingerprint))

    def _configured_rule(self, tool: Tool) -> str:
        """Return "always", "ask" or "never" from the configuration for a tool or its server.

        Empty if the configuration has no rule for either of them. `[tools.approval]` lists
        exceptions, so it has priority over `approve` of a server in `[[mcp]]`. Functions of
        tools.py have no such server: only `[tools.approval]` can have a rule for them.
        """
        rules = self.settings.approval
        server = self._servers.get(tool.server)
        by_server = rules.get(tool.server) or (server.approve if server is not None else "")
        return rules.get(tool.full_name) or by_server

    def _fingerprint(self, tool: Tool) -> str:
        """Return a digest of the command or URL that runs a tool, its description and schema.

        When it changes, what the user has allowed before is not allowed any more.

        The content of tools.py is not part of it: its code runs already when its functions are
        listed. The values of environment variables are not part of it, as they may be tokens, which
        change.
        """
        from hashlib import sha256  # noqa: PLC0415 - not before the first paint

        server = self._servers.get(tool.server)
        identity: dict[str, object] = {"description": tool.description, "schema": tool.schema}
        if server is not None:
            identity |= {
                "command": [server.command, *server.args],
                "cwd": server.cwd,
                "url": server.url,
                "variables": sorted(server.env or ()),
                "headers": sorted((server.headers_env or {}).items()),
            }
        return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
        """Run a tool within the configured time; any error is a result, too."""
        return await self.host.call(tool, arguments, timeout_s=self.settings.timeout_s)
