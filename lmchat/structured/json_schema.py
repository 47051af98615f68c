"""JSON wanted of a model: its schema, the check of an answer, and the prompt for a second one."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from lmchat.domain.request import AnyObject, FittingValue, WantedOutput
from lmchat.errors import AnswerUnfit, RequestInvalid
from lmchat.files import needed_environment
from lmchat.machine.process import own_program, run_blocking
from lmchat.structured.json_text import UnfitError, find_value, strict_json
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

MAX_SCHEMA_CHARS = 256_000  # more than the window of most models
CHECK_S = 5.0  # a pattern, or a schema that refers to itself, can take forever to check
_START_S = 20.0  # for a busy machine to start a process that checks
_SMALL_CHARS = 10_000  # an answer in which JSON is found at once, also if it is made to be slow
_SAID_CHARS = 200
_MOST_ERRORS = 50  # of which the best is chosen


class UncheckedError(UnfitError):
    """There is no result of a check; `reason` follows the word "checked"."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"it could not be checked{reason}")
        self.reason = reason


class InvalidSchemaError(RequestInvalid):
    """A schema cannot be used; the reason follows a colon."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This JSON schema cannot be used: {reason}.", hint="Correct the schema.")
        self.reason = reason


class WantedValue:
    """A value that fits a schema, or any JSON object; raises `RequestInvalid` for no schema."""

    def __init__(self, schema: object = None, *, name: str = "answer") -> None:
        self._schema = None if schema is None else _plain(schema)
        self._name = name
        self._misfit = ""  # what is wrong with the first answer

    @property
    def output(self) -> WantedOutput:
        if self._schema is None:
            return AnyObject()
        return FittingValue(schema=_as_sent(self._schema), name=self._name)

    async def require_valid(self) -> None:
        """Raise `RequestInvalid` if the schema is invalid."""
        if self._schema is None:
            return
        try:
            await _checked({"schema": self._schema})
        except UncheckedError as error:
            raise InvalidSchemaError(str(error)) from error

    async def value_in(
        self, text: str, *, thought: str = "", finish_reason: str = "", is_refusal: bool = False
    ) -> Any:
        """Return the JSON value of an answer.

        Raises `AnswerUnfit` where none fits, and for a refusal or an answer cut short.
        """
        try:
            if self._schema is None and len(text) + len(thought) <= _SMALL_CHARS:
                return _value(None, text, thought)
            return await _checked({"schema": self._schema, "text": text, "thought": thought})
        except UnfitError as error:
            if is_refusal:
                message = "The model refused, so there is no JSON value."
                hint = "Change the prompt, or use another model."
            elif finish_reason == "length":
                message = f"The answer was cut short, so it does not match: {error}."
                hint = "Raise max_tokens, or use a model with a larger context window."
            else:
                message = self._misfit_words(error)
                hint = "Simplify the prompt, or use another model; small models often fail."
                self._misfit = str(error)
            raise AnswerUnfit(message, hint=hint) from error

    def _misfit_words(self, error: UnfitError) -> str:
        wanted = "request" if self._schema is None else "schema"
        tries = ", also at the second attempt" if self._misfit else ""
        return f"The answer does not match the {wanted}{tries}: {error}."

    def retry_prompt(self) -> str:
        """Return the prompt for a second answer; empty where that would end in the same way."""
        if not self._misfit:
            return ""
        form = "one JSON object"
        schema = ""
        if self._schema is not None:
            form = "one JSON value that matches the schema below"
            schema = "\n\n" + json.dumps(_as_sent(self._schema), ensure_ascii=False)
        return (
            f"Your answer does not match: {self._misfit}. Answer again with {form}, "
            f"and with nothing else: no explanation, no code fence.{schema}"
        )


class Schema:
    """A valid JSON schema; references are never fetched.

    Only for the process that checks: a schema can be made so that already its own check never ends.
    """

    def __init__(self, value: object) -> None:
        from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - takes 0.1 s
        from referencing import Registry  # noqa: PLC0415

        whole = _plain(value)
        try:
            draft = validators.validator_for(whole, default=Draft202012Validator)
            meta = draft(draft.META_SCHEMA, format_checker=draft.FORMAT_CHECKER)
            error = _first(meta.iter_errors(whole)) or _lost_reference(whole, draft)
            self._validator: Any = draft(whole, registry=Registry())
        except Exception as failure:  # noqa: BLE001 - of the library
            error = _words_of(failure)
        if error:
            raise InvalidSchemaError(error)

    def misfit(self, value: object) -> str:
        """Return what is wrong with a value and where; empty where it fits. May never return."""
        try:
            return _first(self._validator.iter_errors(value))
        except RecursionError:
            return "the schema refers to itself endlessly"
        except Exception as error:  # noqa: BLE001 - of the library
            return f"it cannot be checked: {_words_of(error)}"


async def misfit_of(schema: object, value: object) -> str:
    """Return what is wrong with a value and where; empty where it fits.

    Raises `RequestInvalid` for an invalid schema, and `UncheckedError`.
    """
    return str(await _checked({"schema": schema, "value": value})) if schema else ""


async def _checked(order: dict[str, Any]) -> Any:
    """Return the result of a check in another process: Python cannot stop a pattern search."""
    try:
        out = await run_abandonable(partial(_run_child, order | {"limit_s": CHECK_S}))
    except OSError as error:
        raise UncheckedError(f", no process started: {error.strerror or error}") from error
    except subprocess.SubprocessError as error:  # it has ended itself, or was ended
        raise UncheckedError(f" within {CHECK_S:g} s") from error
    outcome = json.loads(out)
    if "no_schema" in outcome:
        raise InvalidSchemaError(outcome["no_schema"])
    if "misfit" in outcome:
        raise UnfitError(outcome["misfit"])
    return outcome["found"]


def _run_child(order: dict[str, Any]) -> bytes:
    if "value" in order:
        order |= {"schema": _plain(order["schema"])}
    return run_blocking(
        own_program(__name__, "answer"),
        environment=needed_environment(os.environ),
        timeout_s=order["limit_s"] + _START_S,
        data=json.dumps(order).encode(),
    )


def answer() -> None:
    """Print the outcome of an order (the process of `_checked`); nothing if it takes too long."""
    import jsonschema  # noqa: F401, PLC0415 - not part of the time limit
    import referencing  # noqa: F401, PLC0415

    order = json.load(sys.stdin)
    # also ends a search that keeps Python from running
    faulthandler.dump_traceback_later(order["limit_s"], exit=True)
    sys.stdout.write(json.dumps(_outcome(order)))


def _outcome(order: dict[str, Any]) -> dict[str, Any]:
    try:
        schema = None if order["schema"] is None else Schema(order["schema"])
    except InvalidSchemaError as error:
        return {"no_schema": error.reason}
    if schema is not None and "value" in order:
        return {"found": schema.misfit(order["value"])}
    if "text" not in order:
        return {"found": None}
    try:
        return {"found": _value(schema, order["text"], order["thought"])}
    except UnfitError as error:
        return {"misfit": str(error)}


def _value(schema: Schema | None, text: str, thought: str) -> Any:
    if thought and not text.strip():
        # with a schema, a model does not think: LM Studio and vLLM take its answer for thought
        with suppress(UnfitError):
            return _fitting(schema, thought)
    return _fitting(schema, text)


def _fitting(schema: Schema | None, text: str) -> Any:
    def misfit(value: object) -> str:
        if schema is not None:
            return schema.misfit(value)
        return "" if isinstance(value, dict) else "it is not a JSON object"

    value = find_value(text, lambda candidate: not misfit(candidate))
    reason = misfit(value)
    if reason:
        raise UnfitError(reason)
    return value


def _as_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for a request: some servers refuse the name of a draft."""
    return {name: part for name, part in schema.items() if name != "$schema"}


def _plain(value: object) -> dict[str, Any]:
    """Return a schema as plain JSON; raises `InvalidSchemaError`."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidSchemaError("it is not valid JSON") from None
    if len(text) > MAX_SCHEMA_CHARS:
        reason = f"it has {len(text)} characters, at most {MAX_SCHEMA_CHARS} are allowed"
        raise InvalidSchemaError(reason)
    try:
        schema = strict_json(text)
    except UnfitError as error:
        raise InvalidSchemaError(str(error)) from None
    if not isinstance(schema, dict):
        raise InvalidSchemaError("it must be a JSON object")
    return schema


def _lost_reference(schema: dict[str, Any], draft: Any) -> str:
    """Return the reference that leads nowhere, or outside: nothing is fetched."""
    from referencing import Registry, Resource  # noqa: PLC0415 - see above
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012, specification_with  # noqa: PLC0415

    name = str(draft.META_SCHEMA.get("$schema", "")).rstrip("#")
    root: Resource[Any] = specification_with(name, default=DRAFT202012).create_resource(schema)
    waiting = [(root, Registry[Any]().resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]
        contents = resource.contents if isinstance(resource.contents, dict) else {}
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = contents.get(keyword)
            if not isinstance(reference, str):
                continue
            try:
                resolver.lookup(reference)
            except Unresolvable:
                return f"{keyword} {safe_line(repr(reference), limit=80)} does not exist in it"
    return ""


def _first(errors: Iterator[Any]) -> str:
    """Return the most telling error with its place; empty without one."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(islice(errors, _MOST_ERRORS))
    if error is None:
        return ""
    return f"at {safe_line(error.json_path, limit=_SAID_CHARS)}: {_words_of(error)}"


def _words_of(error: Exception) -> str:
    words = str(getattr(error, "message", "")) or type(error).__name__
    return safe_line(words, limit=_SAID_CHARS)
