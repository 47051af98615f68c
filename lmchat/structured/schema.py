"""A JSON schema: checked before anything is sent, and held against a value within limits of time and size.

The library for it is imported with the first schema: 0.1 s that nothing else needs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from lmchat.errors import RequestInvalid
from lmchat.structured.json_text import UnfitError, strict_json
from lmchat.structured.patterns import Patterns, UntriedPatternError
from lmchat.structured.schema_rules import rules_of_ours
from lmchat.text import safe_line

MAX_SCHEMA_CHARS = 256_000
"""More than the window of most models; a second or more to check."""
CHECK_S = 5.0
"""How long a value may be checked: a schema that refers to itself in several ways can take for ever."""
_MAX_ERRORS = 50
"""Misfits that are looked at for the one that says most."""
_SAID_CHARS = 200


class Schema:
    """A schema that is one; nothing that it refers to is ever fetched.

    Raises:
        RequestInvalid: it is none; the message has the path to what is wrong.
    """

    def __init__(self, value: object, *, limit_s: float = CHECK_S) -> None:
        self.value = _plain(value)
        self._limit_s = limit_s
        self._clock = _Clock()
        self._patterns = Patterns(limit_s)
        self._validator = self._made()

    def misfit(self, value: object) -> str:
        """Return what is wrong with a value, with the path to it; empty where it fits. May take seconds."""
        self._clock.until_s = time.monotonic() + self._limit_s
        try:
            with self._patterns:
                return _first(self._validator.iter_errors(value))
        except (UntriedPatternError, _TooSlowError) as error:
            return f"it could not be checked{f', {error}' if str(error) else f' within {self._limit_s:g} s'}"
        except RecursionError:
            return "the schema refers to itself without end"
        except Exception as error:  # noqa: BLE001 - of the library, on a value that nobody foresaw
            return f"it cannot be checked: {_said(error)}"

    def stop(self) -> None:
        """End a check that runs in another thread: nobody waits for it any more."""
        self._clock.until_s = 0.0
        self._patterns.stop()

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
        rules = dict(draft.VALIDATORS) | rules_of_ours(self._patterns.finds)
        watched = {name: self._clock.watched(rule) for name, rule in rules.items()}
        extend: Any = validators.extend
        return extend(draft, watched)(self.value, registry=Registry())


class _TooSlowError(Exception):
    """The time is over."""


class _Clock:
    """Ends a check that takes too long."""

    def __init__(self) -> None:
        self.until_s = 0.0

    def watched(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Return a rule of the library that looks at the clock before it is followed."""

        def check(*given: Any) -> Iterator[Any]:
            if time.monotonic() > self.until_s:
                raise _TooSlowError
            yield from rule(*given) or ()

        return check


def _plain(value: object) -> dict[str, Any]:
    """Return a schema as JSON has it, a copy of its own."""
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
        for keyword, reference in _references(resource.contents):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                return f"{keyword} {safe_line(repr(reference), limit=80)} leads to nothing in it"
        if isinstance(resource.contents, dict):
            resource.contents.pop("$schema", None)
    return ""


def _references(rule: object) -> list[tuple[str, str]]:
    if not isinstance(rule, dict):
        return []
    named = ((keyword, rule.get(keyword)) for keyword in ("$ref", "$dynamicRef", "$recursiveRef"))
    return [(keyword, reference) for keyword, reference in named if isinstance(reference, str)]


def _first(errors: Iterator[Any]) -> str:
    """Return in words the error that says most."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(islice(errors, _MAX_ERRORS))
    return "" if error is None else f"at {safe_line(error.json_path, limit=_SAID_CHARS)}: {_said(error)}"


def _said(error: Exception) -> str:
    return safe_line(str(getattr(error, "message", "")) or type(error).__name__, limit=_SAID_CHARS)


def _no_schema(why: str) -> RequestInvalid:
    return RequestInvalid(f"This is no JSON schema that can be used: {why}.", hint="Nothing was sent.")
