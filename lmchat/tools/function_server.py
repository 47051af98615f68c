"""MCP server of the functions of a file, usually `tools.py`: a program over stdin and stdout.

The file is executed as a module. Its public functions are the tools of the server, and what is
wrong with it is the text of its instructions. The program ends with its stdin.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

from lmchat.config.settings import FUNCTIONS
from lmchat.errors import RequestInvalid
from lmchat.files.disk import read_plain
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line

_NAMED_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""Kinds of parameters that can be given by name, as models give them."""


class FunctionTool:
    """Function that a model can call; `tool` describes it for requests.

    A struct with a field for each parameter gives the JSON schema, and checks the arguments of
    calls. Raises `RequestInvalid` for a function that cannot be described in this way.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        # an object that can be called has no `__name__` of its own
        name = str(getattr(function, "__name__", type(function).__name__))
        description = inspect.getdoc(function) or ""
        self._function = function
        try:
            if not description:
                raise TypeError("it has no docstring")  # noqa: TRY301 - reported like other errors
            parameters = inspect.signature(function, eval_str=True).parameters.values()
            self._arguments: type[Any] = msgspec.defstruct(
                name, map(_struct_field, parameters), kw_only=True, forbid_unknown_fields=True
            )
            schema = _parameters_schema(self._arguments)
        except Exception as error:
            raise RequestInvalid(
                f"The function {name} cannot be a tool: {safe_line(str(error)).rstrip('.')}.",
                hint="It needs a docstring and type hints such as str, int, list[str] "
                "or a dataclass.",
            ) from error
        self.tool = Tool(name=name, description=description, input_schema=schema)

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Run the function in a thread and return its result as text.

        A function defined with `async` gives an awaitable, which is then awaited here. Raises
        `RequestInvalid` for wrong arguments, and the errors of the function itself.
        """
        try:
            # not strict: some models send a number as text
            values = msgspec.convert(dict(arguments), self._arguments, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise RequestInvalid(
                f"The arguments of {self.tool.name} do not fit: {error}."
            ) from error
        call_function = partial(self._function, **msgspec.structs.asdict(values))
        result = await run_abandonable(partial(_without_stop_iteration, call_function))
        if inspect.isawaitable(result):
            result = await result
        return _result_text(result)


def _struct_field(parameter: inspect.Parameter) -> tuple[str, Any, Any]:
    """Return name, type and default of a parameter, as `msgspec.defstruct` takes them.

    Raises `TypeError` for a parameter without a name or a type hint.
    """
    if parameter.kind not in _NAMED_KINDS:
        raise TypeError(f"the parameter {parameter.name} cannot be given by name")
    if parameter.annotation is parameter.empty:
        raise TypeError(f"the parameter {parameter.name} has no type hint")
    default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
    return parameter.name, parameter.annotation, default


def _parameters_schema(arguments: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a struct, with the fields of the struct at its top.

    msgspec puts the struct below `$defs` and a `$ref` to it at the top, but models look for the
    parameters at the top. Other types that the fields refer to stay below `$defs`.
    """
    root = msgspec.json.schema(arguments, schema_hook=_refuse_type)
    definitions = root["$defs"]
    own_name = root["$ref"].rpartition("/")[2]  # of "#/$defs/NAME"
    schema: dict[str, Any] = definitions.pop(own_name)
    return {**schema, "$defs": definitions} if definitions else schema


def _refuse_type(type_: type[Any]) -> dict[str, Any]:
    """Raise `TypeError` for a type that has no form in JSON; msgspec calls this for such a type."""
    raise TypeError(f"{type_.__name__} is no type of JSON")


def _without_stop_iteration(call_function: Callable[[], Any]) -> Any:
    """Call a function and return its result; its `StopIteration` becomes a `RuntimeError`.

    `run_abandonable` carries the result or error out of its thread in a future, and a future cannot
    hold a `StopIteration`.
    """
    try:
        return call_function()
    except StopIteration as error:
        raise RuntimeError("StopIteration").with_traceback(error.__traceback__) from error


def _result_text(result: Any) -> str:
    """Return the result of a function as text: a string as it is, another value as JSON.

    A value that JSON cannot hold becomes what `str` returns for it.
    """
    if isinstance(result, str):
        return result
    try:
        return msgspec.json.encode(result).decode()
    except (TypeError, ValueError, RecursionError):
        return str(result)


def main() -> None:
    """Serve the functions of the file that the command names, until stdin ends."""
    asyncio.run(_serve(Path(sys.argv[1])))
    os._exit(0)  # threads of functions must not delay the end


async def _serve(path: Path) -> None:
    """Execute a file and serve its functions, until stdin ends."""
    # from now on, functions and the programs that they start read nothing, and write into stderr
    async with stdio_server() as (source, sink):
        sys.stdout = sys.stderr
        functions, problem = _load(path)

        async def list_tools(*_: object) -> ListToolsResult:
            return ListToolsResult(tools=[function.tool for function in functions.values()])

        async def call_tool(_: object, call: Any) -> CallToolResult:
            try:
                if call.name not in functions:
                    raise RequestInvalid(f"{path.name} has no function {call.name}.")  # noqa: TRY301
                text = await functions[call.name].call(call.arguments or {})
                is_error = False
            except RequestInvalid as error:
                text, is_error = error.message, True
            except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's function
                traceback.print_exc()
                text, is_error = _describe_error(path, error), True
            # lone surrogates, as in names of files, cannot be sent as UTF-8
            text = text.encode(errors="replace").decode()
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)

        server: Server[Any] = Server(
            FUNCTIONS, instructions=problem, on_list_tools=list_tools, on_call_tool=call_tool
        )
        await server.run(source, sink, server.create_initialization_options())


def _load(path: Path) -> tuple[dict[str, FunctionTool], str]:
    """Execute a file; return its public functions by name, and what is wrong with it."""
    try:
        module = _execute(path)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's file
        return {}, _describe_error(path, error)
    functions: dict[str, FunctionTool] = {}
    problems: list[str] = []
    for name, value in vars(module).items():
        if not _is_public_function(module, name, value):
            continue
        try:
            functions[name] = FunctionTool(value)
        except RequestInvalid as error:
            line = value.__code__.co_firstlineno
            problems.append(f"{path.name}, line {line}: {error.message_with_hint}")
    return functions, " ".join(problems)


def _describe_error(path: Path, error: BaseException) -> str:
    """Return a sentence about an error, with the line of the file that has led to it.

    That is the last line of the file in the traceback, or the line of an error of syntax.
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    reason = str(error)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
        reason = error.msg
    source = f"{path.name}, line {lines[-1]}" if lines else path.name
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
