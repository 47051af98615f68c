"""MCP server of the functions of a file, usually `tools.py`: a program over stdin and stdout.

The file is executed as a module, and its public functions are the tools. What is wrong with it is
the text of the server's instructions. The program ends with its stdin.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

from lmchat.base.errors import RequestInvalid
from lmchat.base.files.disk import read_plain
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import FUNCTIONS
from lmchat.core.config.toml import fault_of

_NAMED_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""Kinds of parameters that can be given by name, as models give them."""


class FunctionTool:
    """Function that a model can call; `tool` describes it for requests.

    A struct with a field for each parameter gives the JSON schema, and checks the arguments of
    calls. Raises `RequestInvalid` for a function that cannot be described in this way.
    """

    def __init__(self, function: FunctionType) -> None:
        name = function.__name__
        self._function = function
        try:
            self._arguments = _arguments_struct(function)
            schema = msgspec.json.schema(self._arguments)
        except Exception as error:
            raise RequestInvalid(
                f"The function {name} cannot be a tool: {safe_line(str(error)).rstrip('.')}.",
                next_step="It needs a docstring and type hints such as str, int, list[str] "
                "or a dataclass.",
            ) from error
        # msgspec has the struct below `$defs`, but models look for the parameters at the top
        definitions = schema["$defs"]
        own_schema = definitions.pop(schema["$ref"].rpartition("/")[2])  # of "#/$defs/NAME"
        if definitions:
            own_schema["$defs"] = definitions
        self.tool = Tool(
            name=name, description=inspect.getdoc(function) or "", input_schema=own_schema
        )

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Run the function in a thread; the result is a string as it is, or else JSON.

        Raises `RequestInvalid` for wrong arguments, and the errors of the function itself.
        """
        try:
            # not strict: some models send a number as text
            values = msgspec.convert(dict(arguments), self._arguments, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise RequestInvalid(
                f"The arguments of {self.tool.name} do not fit: {fault_of(error)}."
            ) from error
        result = await run_abandonable(partial(self._function, **msgspec.structs.asdict(values)))
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, str):
            return result
        try:
            return msgspec.json.encode(result).decode()
        except (TypeError, ValueError, RecursionError):  # JSON cannot hold it
            return str(result)


def _arguments_struct(function: FunctionType) -> type[Any]:
    """Raises `TypeError` for a parameter that does not fit, and any error of the type hints."""
    if not inspect.getdoc(function):
        raise TypeError("it has no docstring")
    fields: list[tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind not in _NAMED_KINDS:
            raise TypeError(f"the parameter {parameter.name} cannot be given by name")
        if parameter.annotation is parameter.empty:
            raise TypeError(f"the parameter {parameter.name} has no type hint")
        is_needed = parameter.default is parameter.empty
        default = msgspec.NODEFAULT if is_needed else parameter.default
        fields.append((parameter.name, parameter.annotation, default))
    return msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)


def main() -> None:
    """Serve the functions of the file that the command names, until stdin ends."""
    asyncio.run(_serve(Path(sys.argv[1])))
    os._exit(0)  # threads of functions must not delay the end


async def _serve(path: Path) -> None:
    # `stdio_server` takes stdin and stdout for itself. From then on, functions and the programs
    # that they start read nothing, and what they print goes to stderr.
    async with stdio_server() as (source, sink):
        sys.stdout = sys.stderr
        functions, problem = _load(path)
        server: Server[Any] = Server(
            FUNCTIONS,
            instructions=problem,
            on_list_tools=partial(_list_tools, functions),
            on_call_tool=partial(_call_tool, functions, path),
        )
        await server.run(source, sink, server.create_initialization_options())


async def _list_tools(functions: Mapping[str, FunctionTool], *_: object) -> ListToolsResult:
    return ListToolsResult(tools=[function.tool for function in functions.values()])


async def _call_tool(
    functions: Mapping[str, FunctionTool], path: Path, _: object, call: Any
) -> CallToolResult:
    """Any error of the function is a result, so that this program continues."""
    text = f"{path.name} has no function {call.name}."
    is_error = True
    if call.name in functions:
        try:
            text = await functions[call.name].call(call.arguments or {})
            is_error = False
        except RequestInvalid as error:
            text = error.message
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's function
            traceback.print_exc()
            text = _describe_error(path, error)
    # lone surrogates, as in names of files, cannot be sent as UTF-8
    text = text.encode(errors="replace").decode()
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


def _load(path: Path) -> tuple[dict[str, FunctionTool], str]:
    """Execute a file; return the functions that it defines, and a text with its problems."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module  # dataclasses look for their module there
    sys.path.append(str(path.parent))  # from which it may import
    try:
        code = compile(read_plain(path), str(path), "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102 - the user's own file
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's file
        return {}, _describe_error(path, error)
    functions: dict[str, FunctionTool] = {}
    problems: list[str] = []
    for name, member in vars(module).items():
        is_function = isinstance(member, FunctionType) and not name.startswith("_")
        # an imported function and a second name of a function are left out
        if is_function and (member.__module__, member.__name__) == (module.__name__, name):
            try:
                functions[name] = FunctionTool(member)
            except RequestInvalid as error:
                line = member.__code__.co_firstlineno
                problems.append(f"{path.name}, line {line}: {error.message_with_next_step}")
    return functions, " ".join(problems)


def _describe_error(path: Path, error: BaseException) -> str:
    """Name the last line of the user's file in the traceback, or that of an error of syntax."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    reason = str(error)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
        reason = error.msg
    source = f"{path.name}, line {lines[-1]}" if lines else path.name
    sentence = f"{source}: {type(error).__name__}: {reason or 'no reason given'}"
    return sentence.rstrip(".") + "."
