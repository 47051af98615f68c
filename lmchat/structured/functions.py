"""Python functions as tools: their names, descriptions and JSON schemas, and checked calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from lmchat.config.settings import FUNCTIONS
from lmchat.domain.tool import Tool
from lmchat.errors import RequestInvalid
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

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
