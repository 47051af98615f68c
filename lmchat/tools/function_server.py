"""Server of the functions of a file, usually `tools.py`, inside the tool host.

The file is executed as a module. Its public functions are the tools of the server.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec

from lmchat.config.settings import FUNCTIONS
from lmchat.errors import RequestInvalid
from lmchat.files.disk import read_plain
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.servers.request import Tool
from lmchat.tools.tool import ServerState, ToolResult, ToolServer
from lmchat.tools.tool_host import START_S, SendReport, ToolReport

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
        self.tool = Tool(
            server=FUNCTIONS,
            name=name,
            wire_name=name,
            description=description,
            schema=schema,
            outlives_stop=True,  # also an async function, which stops only at its next `await`
        )

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
