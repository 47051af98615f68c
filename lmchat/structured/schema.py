"""JSON that is wanted of a model: the schema, whether an answer fits it, and how to ask again.

The library for schemas is imported with the first one: 0.1 s that nothing else needs.
"""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from lmchat.domain.request import AnyObject, FittingValue, Output
from lmchat.errors import AnswerUnfit, RequestInvalid
from lmchat.structured.json_text import UnfitError, find_value, strict_json
from lmchat.text import safe_line

MAX_SCHEMA_CHARS = 256_000
"""More than the window of most models; a second or more to check."""
CHECK_S = 5.0
"""How long a value may be checked: a schema that refers to itself in several ways can take for ever."""
CUT = "length"
"""The server's word for an answer that was cut at its limit."""
_MAX_ERRORS = 50
"""Misfits that are looked at for the one that says most."""
_SAID_CHARS = 200
_CHILD = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (%d, %d))
for line in sys.stdin:
    pattern, text = json.loads(line)
    sys.stdout.write("1" if re.search(pattern, text) else "0")
    sys.stdout.flush()
"""


class MisfitError(AnswerUnfit):
    """An answer holds no value that fits; asked again, the model may give one."""

    def __init__(self, why: str, *, is_second: bool = False) -> None:
        tries = ", also at the second try" if is_second else ""
        super().__init__(
            f"The answer does not fit{tries}: {why}.",
            hint="Ask more plainly, or another model; small ones often cannot.",
        )
        self.why = why


class WantedValue:
    """A value that fits a schema, or any JSON object; raises `RequestInvalid` for an invalid schema."""

    def __init__(self, schema: object = None, *, name: str = "answer") -> None:
        self._schema = None if schema is None else Schema(schema)
        self._name = name

    @property
    def output(self) -> Output:
        if self._schema is None:
            return AnyObject()
        return FittingValue(schema=self._schema.value, name=self._name)

    async def value_in(
        self, text: str, *, thought: str = "", finish_reason: str = "", is_refusal: bool = False
    ) -> Any:
        """Return the JSON value of an answer; raise `MisfitError` where none fits.

        Raises `AnswerUnfit` where a second answer would not help: a refusal, or an answer cut short.
        """
        try:
            # in a thread: it takes time, and may wait for another process
            return await asyncio.to_thread(self._value, text, thought)
        except asyncio.CancelledError:
            if self._schema is not None:
                self._schema.stop()
            raise
        except UnfitError as error:
            if is_refusal:
                raise AnswerUnfit("The model refused, so there is no JSON value.") from error
            if finish_reason == CUT:
                raise AnswerUnfit(
                    f"The answer is cut short, so it does not fit: {error}.",
                    hint="Raise max_tokens, or ask a model with a larger context.",
                ) from error
            raise MisfitError(str(error)) from error

    def repair(self, error: AnswerUnfit) -> str:
        """Return the prompt for a second answer; empty where that would end in the same way."""
        if not isinstance(error, MisfitError):
            return ""
        form = "one JSON object" if self._schema is None else "one JSON value that fits the schema below"
        schema = "" if self._schema is None else "\n\n" + json.dumps(self._schema.value, ensure_ascii=False)
        return (
            f"Your answer does not fit: {error.why}. Answer again with {form}, and with nothing else: "
            f"no explanation, no code fence.{schema}"
        )

    def _value(self, text: str, thought: str) -> Any:
        if thought and not text.strip():
            # a model that is held to a schema cannot think: LM Studio and vLLM take its answer for thought
            with suppress(UnfitError):
                return self._fitting(thought)
        return self._fitting(text)

    def _fitting(self, text: str) -> Any:
        until_s = time.monotonic() + CHECK_S  # for all of them: an answer may hold several that take long
        value = find_value(text, lambda one: time.monotonic() < until_s and not self._misfit(one))
        if why := self._misfit(value):
            raise UnfitError(why)
        return value

    def _misfit(self, value: object) -> str:
        if self._schema is not None:
            return self._schema.misfit(value)
        return "" if isinstance(value, dict) else "it is no JSON object"


def second(error: AnswerUnfit) -> AnswerUnfit:
    """Return the error of an answer that was asked for twice."""
    return MisfitError(error.why, is_second=True) if isinstance(error, MisfitError) else error


class Schema:
    """A valid JSON schema; its references are never fetched. Raises `RequestInvalid`, with a path."""

    def __init__(self, value: object, *, limit_s: float = CHECK_S) -> None:
        self.value = _plain(value)
        self._limit_s = limit_s
        self._until_s = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._validator = self._made()

    def misfit(self, value: object) -> str:
        """Return what is wrong with a value, with the path to it; empty where it fits. May take seconds."""
        self._until_s = time.monotonic() + self._limit_s
        try:
            return _first(self._validator.iter_errors(value))
        except _NotCheckedError as error:
            return f"it could not be checked{f', {error}' if str(error) else f' within {self._limit_s:g} s'}"
        except RecursionError:
            return "the schema refers to itself without end"
        except Exception as error:  # noqa: BLE001 - of the library, on a value that nobody foresaw
            return f"it cannot be checked: {_said(error)}"
        finally:
            child, self._child = self._child, None
            if child is not None:
                child.kill()
                child.communicate()

    def stop(self) -> None:
        """End a check that runs in another thread: its result is not wanted any more."""
        self._until_s = 0.0
        child = self._child
        if child is not None:
            child.kill()

    def _made(self) -> Any:
        from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - see above
        from referencing import Registry  # noqa: PLC0415

        try:
            draft = validators.validator_for(self.value, default=Draft202012Validator)
            meta = draft(draft.META_SCHEMA, format_checker=draft.FORMAT_CHECKER)
            error = _first(meta.iter_errors(self.value)) or _lost_reference(self.value, draft)
        except Exception as failure:
            raise _no_schema(_said(failure)) from failure
        if error:
            raise _no_schema(error)
        rules = dict(draft.VALIDATORS) | {
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "uniqueItems": _unique_items,
        }
        extend: Any = validators.extend
        watched = {name: self._watched(rule) for name, rule in rules.items()}
        return extend(draft, watched)(self.value, registry=Registry())

    def _watched(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        def check(*given: Any) -> Iterator[Any]:
            if time.monotonic() > self._until_s:
                raise _NotCheckedError
            yield from rule(*given) or ()

        return check

    def _pattern(self, validator: Any, wanted: str, value: Any, _: Any) -> Iterator[Any]:
        from jsonschema import ValidationError  # noqa: PLC0415 - see above

        if validator.is_type(value, "string") and not self._finds(wanted, value):
            short, pattern = (safe_line(repr(text), limit=80) for text in (value, wanted))
            yield ValidationError(f"{short} does not match {pattern}")

    def _pattern_properties(self, validator: Any, rules: dict[str, Any], value: Any, _: Any) -> Iterator[Any]:
        for wanted, inner in rules.items():
            for name in value if validator.is_type(value, "object") else ():
                if self._finds(wanted, name):
                    yield from validator.descend(value[name], inner, path=name, schema_path=wanted)

    def _finds(self, pattern: str, text: str) -> bool:
        """Try a pattern in a process: Python cannot stop a search. Raises `_NotCheckedError`."""
        try:
            child: Any = self._child or self._started()
            self._child = child
            child.stdin.write(json.dumps([pattern, text]).encode() + b"\n")
            child.stdin.flush()
            left_s = max(0.0, self._until_s - time.monotonic())
            found = child.stdout.read(1) if select.select([child.stdout], [], [], left_s)[0] else b""
        except (OSError, ValueError) as error:
            raise _NotCheckedError from error
        if not found:
            raise _NotCheckedError
        return found == b"1"

    def _started(self) -> subprocess.Popen[bytes]:
        limit_s = int(self._limit_s) + 1
        try:
            return subprocess.Popen(  # noqa: S603 - the interpreter that runs us, and words of ours
                (sys.executable, "-I", "-S", "-c", _CHILD % (limit_s, limit_s)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise _NotCheckedError(f"no process for its patterns: {error.strerror or error}") from error


class _NotCheckedError(Exception):
    """A value was not checked; the message, where there is one, says why that is no matter of time."""


def _unique_items(validator: Any, is_wanted: Any, value: Any, _: Any) -> Iterator[Any]:
    """Compare by hash: the library compares each item with each other one."""
    from jsonschema import ValidationError  # noqa: PLC0415 - see above

    if (
        is_wanted
        and validator.is_type(value, "array")
        and len({_hashable(one) for one in value}) < len(value)
    ):
        yield ValidationError("two of its items are the same")


def _hashable(value: object) -> object:
    """Return a value that equals another one where JSON schema says so: 1 and 1.0 do, 1 and true do not."""
    match value:
        case bool():
            return ("bool", value)
        case dict():
            return frozenset((name, _hashable(inner)) for name, inner in value.items())
        case list():
            return tuple(_hashable(inner) for inner in value)
        case _:
            return value


def _plain(value: object) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False)
        schema = strict_json(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_schema(str(error) if isinstance(error, UnfitError) else "it is no JSON") from None
    if not isinstance(schema, dict):
        raise _no_schema("it has to be a JSON object")
    if len(text) > MAX_SCHEMA_CHARS:
        raise _no_schema(f"it has {len(text)} characters, {MAX_SCHEMA_CHARS} are allowed")
    return schema


def _lost_reference(schema: dict[str, Any], draft: Any) -> str:
    """Return what refers to nothing, or to another place, from which nothing is fetched.

    The names of drafts are taken out on the way: the library would go on with its own rules from there.
    """
    from referencing import Registry, Resource  # noqa: PLC0415 - see above
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012, specification_with  # noqa: PLC0415

    name = str(draft.META_SCHEMA.get("$schema", ""))
    specification = specification_with(name.rstrip("#"), default=DRAFT202012)
    root: Resource[Any] = specification.create_resource(schema)
    registry: Registry[Any] = Registry()
    waiting = [(root, registry.resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]
        if not isinstance(resource.contents, dict):
            continue
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = resource.contents.get(keyword)
            try:
                if isinstance(reference, str):
                    resolver.lookup(reference)
            except Unresolvable:
                return f"{keyword} {safe_line(repr(reference), limit=80)} leads to nothing in it"
        resource.contents.pop("$schema", None)
    return ""


def _first(errors: Iterator[Any]) -> str:
    """Return in words the error that says most."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(islice(errors, _MAX_ERRORS))
    return "" if error is None else f"at {safe_line(error.json_path, limit=_SAID_CHARS)}: {_said(error)}"


def _said(error: Exception) -> str:
    return safe_line(str(getattr(error, "message", "")) or type(error).__name__, limit=_SAID_CHARS)


def _no_schema(why: str) -> RequestInvalid:
    return RequestInvalid(f"This is no JSON schema that can be used: {why}.", hint="Nothing was sent.")
