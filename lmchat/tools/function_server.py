"""Server of the functions of a file, usually `tools.py`, inside the tool host.

The file is executed as a module. Its public functions are the tools of the server.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from lmchat.config.settings import FUNCTIONS
from lmchat.domain.tool import ServerState, ToolResult, ToolServer
from lmchat.errors import RequestInvalid
from lmchat.files import read_plain
from lmchat.structured.functions import FunctionTool
from lmchat.threads import run_abandonable
from lmchat.tools.tool_host import START_S, SendReport, ToolReport


class FunctionServer:
    """Server of the functions of a file, which is executed once, or again if that gave no tool."""

    def __init__(self, path: Path, send: SendReport) -> None:
        """Begin to execute the file; `send` sends a report to the parent."""
        self._path = path
        self._send = send
        self._tools: dict[str, FunctionTool] = {}  # by name
        self._error = ""
        self._loading = asyncio.create_task(self._load(), name=FUNCTIONS)

    async def ensure_settled(self, *, restarts: bool) -> None:
        """Wait until the file has been executed or has failed.

        With `restarts`, the file is executed again first if it was executed without giving a tool.
        """
        has_given_no_tool = self._loading.done() and not self._tools
        if restarts and has_given_no_tool:
            self._loading = asyncio.create_task(self._load(), name=FUNCTIONS)
        await asyncio.wait([self._loading])

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Call a function and return its result.

        An error is returned as a result, too: that of the function, or that of the file if it has
        no such function.
        """
        await self.ensure_settled(restarts=True)
        if name not in self._tools:
            text = self._error or f"{self._path.name} has no function {name}."
            return ToolResult(text=text, is_error=True)
        try:
            return ToolResult(text=await self._tools[name].call(arguments))
        except RequestInvalid as error:
            return ToolResult(text=error.message, is_error=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's function
            traceback.print_exc()
            return ToolResult(text=self._describe_error(error), is_error=True)

    async def _load(self) -> None:
        """Execute the file, collect its functions, and report state, tools and error."""
        state = ServerState.FAILED
        self._error = ""
        try:
            async with asyncio.timeout(START_S):
                module = await run_abandonable(partial(_execute, self._path))
            self._collect_tools(module)
            state = ServerState.READY
        except TimeoutError:
            self._error = f"{self._path.name} did not end within {START_S:g} s."
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's file
            self._error = self._describe_error(error)
        tools = tuple(function.tool for function in self._tools.values())
        server = ToolServer(name=FUNCTIONS, state=state, tools=tools, error=self._error)
        self._send(ToolReport(server=server))

    def _collect_tools(self, module: ModuleType) -> None:
        """Put the public functions of a module into `_tools`.

        Functions that cannot be tools are named in `_error`, with the reasons; it is empty if there
        are none.
        """
        errors: list[str] = []
        for name, value in vars(module).items():
            if not _is_public_function(module, name, value):
                continue
            try:
                self._tools[name] = FunctionTool(value)
            except RequestInvalid as error:
                line = value.__code__.co_firstlineno
                errors.append(f"{self._path.name}, line {line}: {error.message_with_hint}")
        self._error = " ".join(errors)

    def _describe_error(self, error: BaseException) -> str:
        """Return a sentence about an error, with the line of the file that has led to it.

        That is the last line of the file in the traceback, or the line of an error of syntax.
        """
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(self._path)]
        reason = str(error)
        if isinstance(error, SyntaxError) and error.filename == str(self._path):
            lines = [error.lineno]
            reason = error.msg
        source = f"{self._path.name}, line {lines[-1]}" if lines else self._path.name
        sentence = f"{source}: {type(error).__name__}: {reason or 'no reason given'}"
        return sentence.rstrip(".") + "."


def _is_public_function(module: ModuleType, name: str, value: object) -> bool:
    """Return whether a value of a module is a public function that is defined there by this name.

    An imported function is not, and neither is a second name of a function.
    """
    if not isinstance(value, FunctionType) or name.startswith("_"):
        return False
    return value.__module__ == module.__name__ and value.__name__ == name


def _execute(path: Path) -> ModuleType:
    """Run a file as a module and return the module, which may import modules of its own folder."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module  # dataclasses look there
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    code = compile(read_plain(path), str(path), "exec", dont_inherit=True)
    exec(code, vars(module))  # noqa: S102 - the user's own file
    return module
