"""JSON wanted of a model: its schema, the check of an answer, and the prompt for a second one.

The rest of lmchat uses `WantedValue` and `misfit_of`. Both let a child process do checks that
may never end; the comment above `_check_in_child` describes what the child gets and prints.
"""

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

from lmchat.errors import AnswerUnfit, RequestInvalid
from lmchat.markdown.commonmark import UnfitError, find_value, strict_json
from lmchat.processes.child import own_program, run_blocking
from lmchat.processes.environment import needed_environment
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.servers.request import AnyObject, FittingValue, WantedOutput

MAX_SCHEMA_CHARS = 256_000  # more than the window of most models
CHECK_S = 5.0  # a pattern, or a schema that refers to itself, can take forever to check
_START_S = 20.0  # for a busy machine to start a process that checks
_SMALL_CHARS = 10_000  # the search in such an answer is fast, whatever the model has written
_MAX_ERROR_CHARS = 200
_MAX_REFERENCE_CHARS = 80
_MOST_ERRORS = 50  # of which the best is chosen


class UncheckedError(UnfitError):
    """A check has no result; `reason` continues the words "it could not be checked".

    It begins with a blank or a comma: " within 5 s".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"it could not be checked{reason}")
        self.reason = reason


class InvalidSchemaError(RequestInvalid):
    """A schema cannot be used; `reason` follows a colon in the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This JSON schema cannot be used: {reason}.", hint="Correct the schema.")
        self.reason = reason


class WantedValue:
    """JSON value that is wanted of a model: one that fits a schema, or any JSON object.

    `name` is the name of the schema in requests. Raises `RequestInvalid` if `schema` is given and
    is no JSON object.
    """

    def __init__(self, schema: object = None, *, name: str = "answer") -> None:
        self._schema = None if schema is None else _plain_schema(schema)
        self._name = name
        self._last_misfit = ""  # why the last answer did not fit; empty before that

    @property
    def output(self) -> WantedOutput:
        """The wanted form of the answer, for a request."""
        if self._schema is None:
            return AnyObject()
        return FittingValue(schema=_schema_to_send(self._schema), name=self._name)

    async def require_valid(self) -> None:
        """Raise `RequestInvalid` if the schema is invalid, or its check does not end in time."""
        if self._schema is None:
            return
        try:
            await _check_in_child({"schema": self._schema})
        except UncheckedError as error:
            raise InvalidSchemaError(str(error)) from error

    async def value_in(
        self, text: str, *, thought: str = "", finish_reason: str = "", is_refusal: bool = False
    ) -> Any:
        """Return the JSON value of an answer; `thought` is the reasoning before it.

        Raises `AnswerUnfit` if no value fits. The error names the cause: the model refused, the
        answer was cut short, or the value is wrong. Only in the last case, the reason is kept for
        `retry_prompt`.
        """
        try:
            # checked here if it cannot take long, as a child process takes a moment to start
            if self._schema is None and len(text) + len(thought) <= _SMALL_CHARS:
                return _value_in_answer(None, text, thought)
            order = {"schema": self._schema, "text": text, "thought": thought}
            return await _check_in_child(order)
        except UnfitError as error:
            if is_refusal:
                message = "The model refused, so there is no JSON value."
                hint = "Change the prompt, or use another model."
            elif finish_reason == "length":
                message = f"The answer was cut short, so it does not match: {error}."
                hint = "Raise max_tokens, or use a model with a larger context window."
            else:
                message = self._misfit_message(error)
                hint = "Simplify the prompt, or use another model; small models often fail."
                self._last_misfit = str(error)
            raise AnswerUnfit(message, hint=hint) from error

    def _misfit_message(self, error: UnfitError) -> str:
        """Return the message about an answer that does not fit.

        If `_last_misfit` is set, an earlier answer did not fit either, which the message adds.
        """
        expected = "request" if self._schema is None else "schema"
        attempt = ", also at the second attempt" if self._last_misfit else ""
        return f"The answer does not match the {expected}{attempt}: {error}."

    def retry_prompt(self) -> str:
        """Return the prompt for a second answer, which says what was wrong with the first one.

        It is empty if `value_in` has kept no reason. That is so after a refusal or an answer cut
        short: a second answer would end in the same way.
        """
        if not self._last_misfit:
            return ""
        expected = "one JSON object"
        schema = ""
        if self._schema is not None:
            expected = "one JSON value that matches the schema below"
            schema = "\n\n" + json.dumps(_schema_to_send(self._schema), ensure_ascii=False)
        return (
            f"Your answer does not match: {self._last_misfit}. Answer again with {expected}, "
            f"and with nothing else: no explanation, no code fence.{schema}"
        )


class Schema:
    """A valid JSON schema; references are never fetched.

    Create it in the child process only: even the check of the schema, which is done here, may never
    end. Raises `InvalidSchemaError`.
    """

    def __init__(self, value: object) -> None:
        from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - takes 0.1 s
        from referencing import Registry  # noqa: PLC0415

        schema = _plain_schema(value)
        try:
            # a schema is a value that has to fit the meta-schema of its draft; formats are checked,
            # too: those of its patterns and references
            draft = validators.validator_for(schema, default=Draft202012Validator)
            meta_validator = draft(draft.META_SCHEMA, format_checker=draft.FORMAT_CHECKER)
            reason = _best_error(meta_validator.iter_errors(schema))
            if not reason:
                reason = _lost_reference(schema, draft)
            self._validator: Any = draft(schema, registry=Registry())
        except Exception as error:  # noqa: BLE001 - of the library
            reason = _error_text(error)
        if reason:
            raise InvalidSchemaError(reason)

    def misfit(self, value: object) -> str:
        """Return what is wrong with a value and where; "" if it fits. May never return.

        An error of the check itself is returned as what is wrong.
        """
        try:
            return _best_error(self._validator.iter_errors(value))
        except RecursionError:
            return "the schema refers to itself endlessly"
        except Exception as error:  # noqa: BLE001 - of the library
            return f"it cannot be checked: {_error_text(error)}"


async def misfit_of(schema: object, value: object) -> str:
    """Return what is wrong with a value and where; "" if it fits, or if there is no schema.

    Raises `RequestInvalid` for an invalid schema, and `UncheckedError` if the check has no result.
    """
    if not schema:
        return ""
    return str(await _check_in_child({"schema": schema, "value": value}))


# A check runs in a child process: Python cannot stop a search for a pattern. The child gets an
# order as JSON: a `schema` or null, the time limit `limit_s` in seconds, and what to check. That is
# a `value`; or the `text` of an answer and its `thought`, in which a value is to be found; or
# nothing but the schema. It prints an outcome as JSON, which has one of these keys:
# `result`: for a `value` its misfit (empty if it fits), for a `text` the value in it, else null;
# `misfit`: why the `text` has no value that fits; `invalid_schema`: why the schema cannot be used.


async def _check_in_child(order: dict[str, Any]) -> Any:
    """Send an order to a child process, and return the `result` of its outcome.

    Raises `InvalidSchemaError`, `UnfitError` for a text without a value that fits, and
    `UncheckedError` if no child could start or it ended without an outcome.
    """
    try:
        output = await run_abandonable(partial(_run_child, order | {"limit_s": CHECK_S}))
    except OSError as error:
        raise UncheckedError(f", no process started: {error.strerror or error}") from error
    except subprocess.SubprocessError as error:  # the child ended itself, or was ended
        raise UncheckedError(f" within {CHECK_S:g} s") from error
    outcome = json.loads(output)
    if "invalid_schema" in outcome:
        raise InvalidSchemaError(outcome["invalid_schema"])
    if "misfit" in outcome:
        raise UnfitError(outcome["misfit"])
    return outcome["result"]


def _run_child(order: dict[str, Any]) -> bytes:
    """Run a child process with an order, and return what it prints. Blocks.

    Raises `InvalidSchemaError`, `OSError` and `SubprocessError`.
    """
    # Only an order with a `value` has a schema as it came from outside (`misfit_of`), which may not
    # be plain JSON. Making it plain takes long if it is large, so this thread does it.
    if "value" in order:
        order |= {"schema": _plain_schema(order["schema"])}
    return run_blocking(
        own_program(__name__, check_from_stdin.__name__),
        environment=needed_environment(os.environ),
        timeout_s=order["limit_s"] + _START_S,
        data=json.dumps(order).encode(),
    )


def check_from_stdin() -> None:
    """Print the outcome of the order on stdin; exit without one if the check takes too long.

    This is the program of the child process.
    """
    import jsonschema  # noqa: F401, PLC0415 - imported here, it does not count for the time limit
    import referencing  # noqa: F401, PLC0415

    order = json.load(sys.stdin)
    # this timer ends the process also while the search for a pattern keeps Python from running
    faulthandler.dump_traceback_later(order["limit_s"], exit=True)
    sys.stdout.write(json.dumps(_outcome(order)))


def _outcome(order: dict[str, Any]) -> dict[str, Any]:
    """Do the check that an order asks for; return its outcome (see above `_check_in_child`)."""
    try:
        schema = None if order["schema"] is None else Schema(order["schema"])
    except InvalidSchemaError as error:
        return {"invalid_schema": error.reason}
    if schema is not None and "value" in order:  # `misfit_of` sends no value without a schema
        return {"result": schema.misfit(order["value"])}
    if "text" not in order:  # only the schema was to be checked
        return {"result": None}
    try:
        return {"result": _value_in_answer(schema, order["text"], order["thought"])}
    except UnfitError as error:
        return {"misfit": str(error)}


def _value_in_answer(schema: Schema | None, text: str, thought: str) -> Any:
    """Return the JSON value in the text of an answer, or in its thought if the text is blank.

    LM Studio and vLLM may report an answer that has to fit a schema as a thought, with no text.
    Raises `UnfitError` if no value fits.
    """
    if thought and not text.strip():
        with suppress(UnfitError):
            return _fitting_value(schema, thought)
    return _fitting_value(schema, text)


def _fitting_value(schema: Schema | None, text: str) -> Any:
    """Return the JSON value in a text.

    Raises `UnfitError` if none exists, if it does not fit, or if not exactly one of several fits.
    """
    value = find_value(text, lambda candidate: not _misfit(schema, candidate))
    # `find_value` returns a single value also if it does not fit
    reason = _misfit(schema, value)
    if reason:
        raise UnfitError(reason)
    return value


def _misfit(schema: Schema | None, value: object) -> str:
    """Return what is wrong with a value; "" if it fits. Without a schema, any object fits."""
    if schema is not None:
        return schema.misfit(value)
    return "" if isinstance(value, dict) else "it is not a JSON object"


def _schema_to_send(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for a request, without `$schema`: some servers refuse the name of a draft."""
    return {name: value for name, value in schema.items() if name != "$schema"}


def _plain_schema(value: object) -> dict[str, Any]:
    """Return a copy of a schema that holds plain JSON only.

    Raises `InvalidSchemaError` if it is no JSON object, not valid JSON, or too large.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidSchemaError("it is not valid JSON") from None
    if len(text) > MAX_SCHEMA_CHARS:
        reason = f"it has {len(text)} characters, at most {MAX_SCHEMA_CHARS} are allowed"
        raise InvalidSchemaError(reason)
    # read again, more strictly: the names 1 and "1" of a dict become the same name
    try:
        schema = strict_json(text)
    except UnfitError as error:
        raise InvalidSchemaError(str(error)) from None
    if not isinstance(schema, dict):
        raise InvalidSchemaError("it must be a JSON object")
    return schema


def _lost_reference(schema: dict[str, Any], draft: Any) -> str:
    """Return a message about a reference that leads nowhere; "" if none exists.

    A reference to another document leads nowhere too: nothing is fetched. All parts of the schema
    are visited, each with a resolver that knows the base address of its references.
    """
    from referencing import Registry, Resource  # noqa: PLC0415 - takes 0.1 s
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012, specification_with  # noqa: PLC0415

    # older drafts write their name with a `#` at its end, but the library knows it without one
    name = str(draft.META_SCHEMA.get("$schema", "")).rstrip("#")
    root: Resource[Any] = specification_with(name, default=DRAFT202012).create_resource(schema)
    unvisited = [(root, Registry[Any]().resolver_with_root(root))]
    while unvisited:
        resource, resolver = unvisited.pop()
        unvisited += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]
        # a schema may also be `true` or `false`
        contents = resource.contents if isinstance(resource.contents, dict) else {}
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = contents.get(keyword)
            if not isinstance(reference, str):
                continue
            try:
                resolver.lookup(reference)
            except Unresolvable:
                quoted = safe_line(repr(reference), limit=_MAX_REFERENCE_CHARS)
                return f"{keyword} {quoted} does not exist in it"
    return ""


def _best_error(errors: Iterator[Any]) -> str:
    """Return the message of the error that explains most, with its place in the value.

    Return "" if there are no errors. Of many errors, only the first `_MOST_ERRORS` are compared.
    """
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(islice(errors, _MOST_ERRORS))
    if error is None:
        return ""
    return f"at {safe_line(error.json_path, limit=_MAX_ERROR_CHARS)}: {_error_text(error)}"


def _error_text(error: Exception) -> str:
    """Return the message of an error of jsonschema; of any other error, the name of its class."""
    message = str(getattr(error, "message", "")) or type(error).__name__
    return safe_line(message, limit=_MAX_ERROR_CHARS)
