"""Python functions as tools: name, description and JSON schema, and checked calls."""

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

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class FunctionTool:
    """Function that a model can call; raises `RequestInvalid` for one that cannot be described."""

    def __init__(self, function: Callable[..., Any]) -> None:
        name = str(getattr(function, "__name__", type(function).__name__))
        description = inspect.getdoc(function) or ""
        self._function = function
        try:
            if not description:
                raise TypeError("it has no docstring")  # noqa: TRY301 - reported like other errors
            parameters = inspect.signature(function, eval_str=True).parameters.values()
            self._arguments: type[Any] = msgspec.defstruct(
                name, map(_field, parameters), kw_only=True, forbid_unknown_fields=True
            )
            schema = _schema(self._arguments)
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
            outlives_stop=True,  # an async function stops only at its next `await`
        )

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the result as text.

        Raises errors of the function, and `RequestInvalid` for wrong arguments.
        """
        try:
            values = msgspec.convert(dict(arguments), self._arguments, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise RequestInvalid(
                f"The arguments of {self.tool.name} do not fit: {error}."
            ) from error
        run = partial(self._function, **msgspec.structs.asdict(values))
        result = await run_abandonable(partial(_run, run))
        return _text(await result if inspect.isawaitable(result) else result)


def _field(parameter: inspect.Parameter) -> tuple[str, Any, Any]:
    if parameter.kind not in _NAMED:
        raise TypeError(f"the parameter {parameter.name} cannot be given by name")
    if parameter.annotation is parameter.empty:
        raise TypeError(f"the parameter {parameter.name} has no type hint")
    default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
    return parameter.name, parameter.annotation, default


def _schema(arguments: type[Any]) -> dict[str, Any]:
    """Return the schema with the parameters at its top, where models look for them."""
    whole = msgspec.json.schema(arguments, schema_hook=_refuse)
    parts = whole["$defs"]
    schema: dict[str, Any] = parts.pop(whole["$ref"].rpartition("/")[2])
    return {**schema, "$defs": parts} if parts else schema


def _refuse(kind: type[Any]) -> dict[str, Any]:
    raise TypeError(f"{kind.__name__} is no type of JSON")


def _run(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except StopIteration as error:  # no future can hold it
        raise RuntimeError("StopIteration").with_traceback(error.__traceback__) from error


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    try:
        return msgspec.json.encode(result).decode()
    except (TypeError, ValueError, RecursionError):  # JSON cannot hold it
        return str(result)
