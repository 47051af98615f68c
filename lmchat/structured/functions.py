"""Python functions as tools: name, description and JSON schema from the signature, and checked calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from lmchat.errors import RequestInvalid
from lmchat.threads import run_abandonable

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class FunctionTool:
    """Function that a model can call; raises `RequestInvalid` for one that cannot be described."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = str(getattr(function, "__name__", type(function).__name__))
        self.description = inspect.getdoc(function) or ""
        if not self.description:
            raise RequestInvalid(
                f"The function {self.name} has no docstring.", hint="Describe in it what the function does."
            )
        self._function = function
        fields = [
            (one.name, one.annotation, msgspec.NODEFAULT if one.default is one.empty else one.default)
            for one in _parameters(self.name, function)
        ]
        try:
            self._arguments: type[Any] = msgspec.defstruct(
                self.name, fields, kw_only=True, forbid_unknown_fields=True
            )
            self.schema = _schema(self._arguments)
        except (TypeError, ValueError) as error:
            text = str(error).splitlines()[0].rstrip(".")
            raise RequestInvalid(
                f"The type hints of the function {self.name} cannot become a JSON schema: {text}.",
                hint="Use types and defaults of JSON, such as str, int, list[str] or a dataclass.",
            ) from error

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the result as text; raises what the function raises.

        Raises:
            RequestInvalid: The arguments do not fit.
        """
        try:
            values = msgspec.convert(dict(arguments), self._arguments, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise RequestInvalid(f"The arguments of {self.name} do not fit: {error}.") from error
        run = partial(self._function, **msgspec.structs.asdict(values))
        if inspect.iscoroutinefunction(self._function):
            return _text(await run())
        result = await run_abandonable(partial(_run, run))
        return _text(await result if inspect.isawaitable(result) else result)


def _parameters(name: str, function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    try:
        found = tuple(inspect.signature(function, eval_str=True).parameters.values())
    except Exception as error:
        raise RequestInvalid(
            f"The type hints of the function {name} cannot be read: {error}.", hint="Correct them."
        ) from error
    for parameter in found:
        if parameter.kind not in _NAMED:
            raise RequestInvalid(
                f"The parameter {parameter.name} of the function {name} cannot be given by name.",
                hint="Write each parameter without * or /.",
            )
        if parameter.annotation is parameter.empty:
            raise RequestInvalid(
                f"The parameter {parameter.name} of the function {name} has no type hint.",
                hint=f"Write it as in `{parameter.name}: str`.",
            )
    return found


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
    except (TypeError, ValueError, RecursionError):
        return str(result)
