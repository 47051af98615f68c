"""A tool host that plays what it is told: the seam under the loop of tool calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.config.settings import ToolSettings
from lmchat.core.servers.events import RequestSent, StreamFinished, ToolCallDelta
from lmchat.core.servers.request import Tool
from lmchat.core.tools.calls import Tell, ToolResult, ToolServer, ToolServerState
from lmchat.core.tools.mcp_servers import with_wire_names
from lmchat.core.tools.questions import AskUser
from tests.support.scripted_backend import Step

_PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
Play = Callable[[Mapping[str, Any]], ToolResult | asyncio.Event]


def read_text(arguments: Mapping[str, Any]) -> ToolResult:
    return ToolResult(text=f"text of {arguments['path']}")


class ScriptedHost:
    """One server, `files`, whose tools are functions; one that returns an event never answers."""

    def __init__(self, **tools: Play) -> None:
        self.tools = tools or {"read_text": read_text}
        self.schema: dict[str, Any] = _PATH
        self.description = ""
        self.error = ""
        self.says = ""  # of each running call
        self.is_starting = False
        self.starts = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self.asked = asyncio.Event()
        self.started = asyncio.Event()  # ends the start of a host that is starting
        self.is_closed = False
        self.ask_user: AskUser | None = None
        self.is_asking = asyncio.Lock()

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        tools = tuple(
            Tool(
                server="files", name=name, description=self.description or name, schema=self.schema
            )
            for name in self.tools
        )
        state = ToolServerState.FAILED if self.error else ToolServerState.READY
        state = ToolServerState.STARTING if self.is_starting else state
        return with_wire_names(
            [ToolServer(name="files", state=state, error=self.error, tools=tools)]
        )

    async def start_servers(self, *, restarts: bool = False) -> tuple[ToolServer, ...]:
        self.starts += 1
        if self.is_starting:
            self.asked.set()
            await self.started.wait()
            self.is_starting = False
        return self.servers

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float, tell: Tell
    ) -> ToolResult:
        self.calls.append((tool.name, dict(arguments)))
        self.asked.set()
        if self.says:
            tell(self.says)
        played = self.tools[tool.name](arguments)
        if isinstance(played, ToolResult):
            return played
        try:
            await played.wait()
        except asyncio.CancelledError:
            self.cancelled.append(tool.name)
            raise
        return ToolResult(text="late")

    async def aclose(self) -> None:
        self.is_closed = True


def toolbox(
    host: ScriptedHost | None = None, *, approve: str = "always", **settings: Any
) -> Toolbox:
    asking = ToolSettings(approve=approve, **settings)
    return Toolbox(host or ScriptedHost(), asking, (), {}, not_saved)


async def not_saved(tool: str, fingerprint: str) -> None:
    """Forget what is allowed always."""


def calls(*asked: tuple[str, Mapping[str, Any] | str]) -> list[Step]:
    """An answer that calls tools, by their names in requests."""
    deltas = [
        ToolCallDelta(
            index=index,
            call_id=f"c{index}",
            name=name,
            arguments=given if isinstance(given, str) else json.dumps(given),
        )
        for index, (name, given) in enumerate(asked)
    ]
    return [RequestSent(), *deltas, StreamFinished(reason="tool_calls")]
