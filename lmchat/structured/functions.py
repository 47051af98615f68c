"""Python functions as tools: name, description and JSON schema from the signature, and checked calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, get_args, get_origin

import msgspec

from lmchat.errors import RequestInvalid
from lmchat.threads import run_abandonable

_REFERENCE = "#/$defs/{name}"
_SIMPLE = (bool, int, float, str, type(None))
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_ENDS = (StopIteration, SystemExit, KeyboardInterrupt)
"""No future can hold the first one; the others would end more than the call."""


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
        fields = [_field(parameter) for parameter in _parameters(self.name, function)]
        try:
            self._arguments: type[Any] = msgspec.defstruct(
                self.name, fields, kw_only=True, forbid_unknown_fields=True
            )
            self.schema = _schema(self._arguments)
        except (TypeError, ValueError) as error:
            text = str(error).splitlines()[0].rstrip(".")
            raise RequestInvalid(
                f"The type hints of the function {self.name} cannot become a JSON schema: {text}.",
                hint="Use types of JSON, such as str, int, list[str] or a dataclass.",
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


def _field(parameter: inspect.Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    hint, default = parameter.annotation, parameter.default
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        if text := next((note for note in notes if isinstance(note, str)), ""):
            hint = Annotated[inner, *notes, msgspec.Meta(description=text)]
    if default is parameter.empty:
        return parameter.name, hint
    is_simple = isinstance(default, _SIMPLE)
    return parameter.name, hint, default if is_simple else msgspec.field(default_factory=lambda: default)


def _schema(arguments: type[Any]) -> dict[str, Any]:
    (reference,), parts = msgspec.json.schema_components(
        [arguments], schema_hook=_refuse, ref_template=_REFERENCE
    )
    schema: dict[str, Any] = parts.pop(reference["$ref"].removeprefix(_REFERENCE.format(name="")))
    del schema["title"]
    return {**schema, "$defs": parts} if parts else schema


def _refuse(kind: type[Any]) -> dict[str, Any]:
    raise TypeError(f"{kind.__name__} is no type of JSON")


def _run(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except _ENDS as error:
        raise RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__) from error


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    try:
        return msgspec.json.encode(result).decode()
    except (TypeError, ValueError, RecursionError):
        return str(result)
