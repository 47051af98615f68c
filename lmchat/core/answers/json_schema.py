"""JSON wanted of a model: read strictly, found in its answer, and checked by a schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lmchat.base.errors import AnswerUnfit, RequestInvalid, WrongUse
from lmchat.base.files.disk import read_plain, unreadable
from lmchat.base.json_values import JsonObject, dict_or_empty, utf8_safe
from lmchat.base.markdown.commonmark import code_blocks
from lmchat.base.safe_text import json_text, safe_line
from lmchat.core.servers.request import AnyObject, FittingValue, OutputFormat
from lmchat.core.sessions.message import is_cut_end

MAX_CHARS = 1_000_000  # more than any model writes in one answer
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_MAX_ERROR_CHARS = 200
_MAX_SCHEMA_BYTES = 1024 * 1024
_CHECKING = frozenset(
    (
        *("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if"),
        *("type", "enum", "const", "format", "pattern", "minLength", "maxLength"),
        *("properties", "patternProperties", "additionalProperties"),
        *("propertyNames", "unevaluatedProperties", "required"),
        *("dependencies", "dependentRequired", "dependentSchemas"),
        *("minProperties", "maxProperties", "minItems", "maxItems", "uniqueItems"),
        *("items", "prefixItems", "contains", "unevaluatedItems"),
        *("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"),
    )
)
"""Keywords that can refuse a value, of all drafts from 4 on."""
_OTHER_KEYWORDS = frozenset(
    (
        *("$schema", "$id", "id", "$vocabulary", "$comment", "$defs", "definitions"),
        *("$anchor", "$dynamicAnchor", "$recursiveAnchor"),
        *("then", "else", "additionalItems", "minContains", "maxContains"),
        *("title", "description", "default", "examples", "deprecated"),
        *("readOnly", "writeOnly"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    )
)
_RETRY_PROMPT = (
    "Your answer does not match: {}. Answer again with {}, "
    "and with nothing else: no explanation, no code fence."
)


class Schema:
    """A valid JSON schema; other documents that it refers to are never fetched.

    The objects around a schema in OpenAI's requests are taken off. Raises `RequestInvalid` for a
    value that is no schema, or checks nothing.
    """

    def __init__(self, value: object) -> None:
        import jsonschema_rs  # noqa: PLC0415 - 18 ms

        try:
            schema = json.loads(json.dumps(value, allow_nan=False))  # a copy, which is JSON only
        except (TypeError, ValueError, RecursionError):
            raise _invalid_schema_error("it is not valid JSON") from None
        if not isinstance(schema, dict):
            raise _invalid_schema_error("it must be a JSON object")
        schema = _unwrapped(schema)
        if not _CHECKING & schema.keys():
            raise RequestInvalid(
                "This JSON schema cannot be used: it has no keyword that checks anything.",
                next_step='Write a schema, such as {"type": "object"}, and no example of a value.',
            )
        self.unknown = tuple(schema.keys() - _CHECKING - _OTHER_KEYWORDS)
        # without `$schema`, the version of the standard, which some servers refuse
        self.sent = {name: part for name, part in schema.items() if name != "$schema"}
        try:
            # a relative reference becomes an address below `base_uri`, and is refused like others
            self._validator = jsonschema_rs.validator_for(
                schema, base_uri="file:///", retriever=_refuse_to_fetch
            )
        except ValueError as error:
            raise _invalid_schema_error(_error_text(error)) from error

    def misfit(self, value: object) -> str:
        """Return what is wrong and where; "" if the value fits."""
        try:
            self._validator.validate(value)
        except ValueError as error:
            return _error_text(error)
        return ""


class SchemaOutput:
    """JSON value that is wanted of a model: one that fits a schema, or any JSON object.

    Raises `RequestInvalid` if `schema` is no valid one; requests call it `name`.
    """

    def __init__(self, schema: object = None, *, name: str = "answer") -> None:
        self._schema = None if schema is None else Schema(schema)
        self.output: OutputFormat = AnyObject()
        self.note = ""  # about a schema that may check less than it seems to
        if self._schema is not None:
            if unknown := sorted(self._schema.unknown):
                names = ", ".join(unknown)
                self.note = safe_line(
                    f"The schema has names at its top level that check nothing: {names}",
                    limit=_MAX_ERROR_CHARS,
                )
            self.output = FittingValue(schema=self._schema.sent, name=name)

    def value_in(
        self, text: str, *, thought: str = "", finish_reason: str = "", is_refusal: bool = False
    ) -> Any:
        """Return the JSON value of an answer; `thought` is the reasoning before it.

        Raises `AnswerUnfit`, which names the cause. Only if the value is wrong, it has a
        `retry_prompt`, with which the caller may ask once more.
        """
        try:
            # LM Studio and vLLM may report an answer that has to fit a schema as a thought
            return find_value(text if text.strip() else thought, self._misfit)
        except UnfitError as error:
            next_step = "Simplify the prompt, or use another model; small models often fail."
            retry_prompt = ""
            if is_refusal:
                message = "The model refused, so there is no JSON value."
                next_step = "Change the prompt, or use another model."
            elif is_cut_end(finish_reason):
                message = f"The answer was cut short, so it does not match: {error}."
                next_step = "Raise max_tokens, or use a model with a larger context window."
            elif self._schema is None:
                message = f"The answer does not match the request: {error}."
                retry_prompt = _RETRY_PROMPT.format(error, "one JSON object")
            else:
                message = f"The answer does not match the schema: {error}."
                retry_prompt = _RETRY_PROMPT.format(
                    error, "one JSON value that matches the schema below"
                )
                retry_prompt += "\n\n" + json.dumps(self._schema.sent, ensure_ascii=False)
            raise AnswerUnfit(message, next_step=next_step, retry_prompt=retry_prompt) from error

    def _misfit(self, value: object) -> str:
        if self._schema is not None:
            return self._schema.misfit(value)
        return "" if isinstance(value, dict) else "it is not a JSON object"


def read_schema(path: Path) -> SchemaOutput:
    """The file may be a pipe.

    Raises `FileRefused`, `WrongUse`; `RequestInvalid` for JSON that is no schema.
    """
    try:
        value = strict_json(read_plain(path, max_bytes=_MAX_SCHEMA_BYTES, may_stream=True))
    except OSError as error:
        raise unreadable(path, error, max_bytes=_MAX_SCHEMA_BYTES) from error
    except ValueError as error:
        raise WrongUse(
            f"The schema {path} is not valid JSON: {error}.", next_step="Correct the file."
        ) from error
    # None would mean any object
    return SchemaOutput([] if value is None else value, name=path.stem)


def _unwrapped(value: JsonObject) -> JsonObject:
    """Return the schema in an object, as OpenAI's requests have."""
    if _CHECKING & value.keys() - {"type"} or value.get("type", "json_schema") != "json_schema":
        return value
    schema = (dict_or_empty(value.get("json_schema")) or value).get("schema")
    return schema if isinstance(schema, dict) else value


def _invalid_schema_error(reason: str) -> RequestInvalid:
    """`reason` follows a colon."""
    return RequestInvalid(
        f"This JSON schema cannot be used: {reason}.", next_step="Correct the schema."
    )


def _refuse_to_fetch(uri: str, /) -> NoReturn:
    """Replaces the library's function that would fetch a document."""
    raise ValueError(f"{uri} is another document")


def _error_text(error: ValueError) -> str:
    """The place is in the checked value, or in a schema that is not valid."""
    import jsonschema_rs  # noqa: PLC0415 - 18 ms

    if not isinstance(error, jsonschema_rs.ValidationError):
        return safe_line(f"it cannot be checked: {error}", limit=_MAX_ERROR_CHARS)
    keys = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.instance_path)
    # a reference may lead nowhere, or be refused: then the error has neither path
    place = f"at ${''.join(keys)}: " if error.schema_path else ""
    message = error.message.rpartition("failed: ValueError: ")[2]  # the words of `_refuse_to_fetch`
    return safe_line(place + message, limit=_MAX_ERROR_CHARS)


class UnfitError(ValueError):
    """There is no usable JSON value; the message is part of a sentence."""


def strict_json(data: str | bytes) -> Any:
    """Raises `ValueError`, also for `NaN`, `Infinity`, too large numbers and too many levels.

    Half of a surrogate pair becomes U+FFFD. Bytes may have a byte order mark.
    """
    try:
        text = data if isinstance(data, str) else json_text(data)
        value = _strict_decoder.decode(text)
        return utf8_safe(value) if _SURROGATE.search(text) else value
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def find_value(text: str, misfit: Callable[[Any], str]) -> Any:
    """Return the JSON value in an answer; `misfit` returns what is wrong with a value, or "".

    Tried in turn: the whole answer, its part behind `</think>`, and what `_json_texts` finds there.
    Raises `UnfitError`.
    """
    if len(text) > MAX_CHARS:
        raise UnfitError(f"it has {len(text)} characters, {MAX_CHARS} are allowed")

    answer = text.rpartition("</think>")[2]
    candidates = [text.strip().removeprefix("\ufeff"), answer, *_json_texts(answer)]
    if answer != text:  # the tag may be within a string of the JSON
        candidates += [found for found in _json_texts(text) if "</think>" in found]
    reason = ""
    for candidate in candidates:
        try:
            value = strict_json(candidate)
        except ValueError as error:
            if re.match(r"\s*[\[{]", candidate):
                reason = reason or f"what looks like JSON in it cannot be read: {error}"
            continue
        reason = misfit(value)
        if not reason:
            return value
    raise UnfitError(reason or "it has no JSON value")


def _json_texts(answer: str) -> list[str]:
    """Return the code blocks, the last first, and the text from the first to the last bracket."""
    blocks = [block.content for block in code_blocks(answer)]
    first = re.search(r"[\[{]", answer)
    last = max(answer.rfind("]"), answer.rfind("}"))
    between = [answer[first.start() : last + 1]] if first else []
    return [*reversed(blocks), *between]


def _refuse_constant(name: str) -> NoReturn:
    """Python's decoder would read `NaN` and `Infinity`."""
    raise ValueError(f"{name} in it is not JSON")


def _finite_float(digits: str) -> float:
    """Python reads `1e999` as infinity."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number in it is too large")
    return value


_strict_decoder = json.JSONDecoder(
    parse_constant=_refuse_constant,
    parse_float=_finite_float,
)
