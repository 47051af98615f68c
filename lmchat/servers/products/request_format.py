"""Forms of a request that a server accepts, as they are learnt from its refusals (R-13).

A `Dialect` is one form. Two methods of it read a refusal and return the form to try next:
`after_refusal` for single fields, `after_json_refusal` for the way in which JSON is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.servers.request import AnyObject, FittingValue, WantedOutput

_FIELD_STATUSES = (400, 422)
# "Unsupported parameter", "Unrecognized request argument", "Extra inputs are not permitted"
_UNWANTED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not (permitted|allowed)"
    r"|forbidden|additional prop|deprecated|instead|use \W?max_",
    re.IGNORECASE,
)
"""Found in a refusal of a field itself; other refusals are about its value."""
_OTHER_NAMES = {
    "reasoning_effort": "reasoning|thinking",
    "reasoning": "thinking",
    "tools": "tool choice|tool_choice|tool-call-parser|function calling",
}
"""How refusals speak of fields that they do not name: patterns, by field."""
# Kinds of errors with which servers refuse the way in which JSON was asked for.
_JSON_KINDS = ("bad_request", "server_error", "unsupported", "model_not_loaded")
# "response_format type is unavailable", "Invalid schema for response_format", "grammar error"
_ABOUT_JSON = re.compile(
    r"response[_ ]?format|json_?schema|json_?object|json schema|json mode|structured output|guided"
    r"|grammar|invalid schema|json_validate|(invalid|required for) format",
    re.IGNORECASE,
)
# "'response_format.type' must be 'json_schema' or 'text'", "json_object is not supported"
_UNKNOWN_FORMAT = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|must be"
    r"|not (permitted|allowed)|(not |un)available|forbidden|should be|only.* supported",
    re.IGNORECASE,
)
# "JSON schema error", "Invalid schema", "failed to parse grammar"
_ABOUT_THIS_SCHEMA = re.compile(
    r"schema error|invalid (json )?schema|grammar|\$ref|parser|json_validate", re.IGNORECASE
)
"""Found in a refusal of what this one schema holds: another schema may be accepted."""


class JsonMode(StrEnum):
    """A way to ask for JSON: a type of `response_format`, or words in the system prompt."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


class Dialect(Struct, frozen=True, kw_only=True):
    """Form of the requests to one model of a server; a refusal leads to another form."""

    has_completion_tokens: bool = False  # whether the limit is called `max_completion_tokens`
    has_stream_options: bool = True
    dropped: frozenset[tuple[str, str]] = frozenset()
    """Fields with the values that the server refused; they are not sent."""
    json_modes: tuple[JsonMode, ...] = tuple(JsonMode)  # strictest first
    unfit_modes: frozenset[JsonMode] = frozenset()
    """Modes that the server refused for the schema of this request only."""
    has_thoughts: bool = True  # whether thoughts may be sent back to the model

    @property
    def limit_field(self) -> str:
        """Field for the longest answer in tokens."""
        return "max_completion_tokens" if self.has_completion_tokens else "max_tokens"

    def after_refusal(
        self,
        error: ServerRejected,
        *,
        has_limit: bool = True,
        extra_fields: Mapping[str, Any] | None = None,
        thought_fields: Sequence[str] = (),
    ) -> Dialect | None:
        """Return the form to try after a refusal; None if no other form would help.

        Only a bad request (status 400 or 422) is about fields. The first of these that its text
        names is changed: `stream_options` is left out; the limit of the answer gets its other name;
        extra fields are left out; thoughts are left out of messages.

        `has_limit` is whether the request limited the length of the answer. `extra_fields` are the
        fields of the request that may be left out, with their values. `thought_fields` are the
        names of fields in which messages of the request may hold thoughts.
        """
        if error.status not in _FIELD_STATUSES or error.kind != "bad_request":
            return None
        refusal_text = _refusal_text(error)
        names_stream_options = "stream_options" in refusal_text or "include_usage" in refusal_text
        if self.has_stream_options and names_stream_options:
            return replace(self, has_stream_options=False)

        # A refusal of the limit's value, such as "max_tokens is too large", is no reason to rename.
        is_limit_named = has_limit and re.search(rf"\b{self.limit_field}\b", refusal_text)
        if is_limit_named and _UNWANTED.search(refusal_text):
            return replace(self, has_completion_tokens=not self.has_completion_tokens)
        refused = _refused_fields(extra_fields or {}, refusal_text)
        if refused - self.dropped:  # a field that was left out already did not cause this refusal
            return replace(self, dropped=self.dropped | refused)
        if self.has_thoughts and any(_is_named(name, refusal_text) for name in thought_fields):
            return replace(self, has_thoughts=False)
        return None

    def after_json_refusal(self, error: ServerRejected, output: WantedOutput) -> Dialect | None:
        """Return the form to try after a refusal of the way in which JSON was asked for.

        Returns None if the refusal is about anything else, or if JSON was asked for in words, which
        is the last way. If the server does not know the mode, it is left out of all later requests.
        After any other refusal, such as one of the schema, it is left out of this request alone.
        """
        mode = self.json_mode(output)
        refusal_text = _refusal_text(error)
        is_about_json = error.kind in _JSON_KINDS and _ABOUT_JSON.search(refusal_text)
        if mode is JsonMode.WORDS or not is_about_json:
            return None
        is_about_schema = _ABOUT_THIS_SCHEMA.search(refusal_text) is not None
        is_mode_unknown = not is_about_schema and _UNKNOWN_FORMAT.search(refusal_text)
        if is_mode_unknown:
            other_modes = tuple(other for other in self.json_modes if other is not mode)
            return replace(self, json_modes=other_modes)
        return replace(self, unfit_modes=self.unfit_modes | {mode})

    def json_mode(self, output: WantedOutput) -> JsonMode:
        """Return the first mode that can ask for this output and was not refused.

        Any output can be asked for in words; for plain text, this mode means that nothing is asked.
        """
        modes: tuple[JsonMode, ...] = ()
        if isinstance(output, AnyObject):
            # Both modes ask for the same; `json_object` is the simpler one.
            modes = (JsonMode.OBJECT, JsonMode.SCHEMA)
        elif isinstance(output, FittingValue):
            # `json_object` would forbid a value that is a list or a number.
            is_object = output.schema.get("type") == "object" or "properties" in output.schema
            modes = (JsonMode.SCHEMA, JsonMode.OBJECT) if is_object else (JsonMode.SCHEMA,)
        for mode in modes:
            if mode in self.json_modes and mode not in self.unfit_modes:
                return mode
        return JsonMode.WORDS


def _refusal_text(error: ServerRejected) -> str:
    """Return message, details and named field of a refusal as one text, to be searched."""
    return f"{error.message} {error.details} {error.param}"


def _refused_fields(fields: Mapping[str, Any], refusal_text: str) -> set[tuple[str, str]]:
    """Return those of `fields` that a refusal names, as pairs of name and value as text."""
    return {(name, str(value)) for name, value in fields.items() if _is_named(name, refusal_text)}


def _is_named(field: str, refusal_text: str) -> bool:
    """Whether a refusal names a field, or uses one of the words of `_OTHER_NAMES` for it."""
    names = re.escape(field)  # the user may have named it
    if field in _OTHER_NAMES:
        names += f"|{_OTHER_NAMES[field]}"
    return re.search(rf"(?<!\w)({names})(?!\w)", refusal_text, re.IGNORECASE) is not None
