"""Fields that one server takes, as they are learnt from its refusals (R-13)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.request import AnyObject, FittingValue, WantedOutput
from lmchat.errors import ServerRejected

_FIELD_STATUSES = (400, 422)
_UNWANTED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not (permitted|allowed)"
    r"|forbidden|additional prop|deprecated|instead|use \W?max_",
    re.IGNORECASE,
)
"""A refusal of a field itself; others are about its value."""
_OTHER_NAMES = {
    "reasoning_effort": "reasoning|thinking",
    "reasoning": "thinking",
    "tools": "tool choice|tool_choice|tool-call-parser|function calling",
}
"""Words of refusals for fields that they do not name."""
_JSON_KINDS = ("bad_request", "server_error", "unsupported", "model_not_loaded")
_ABOUT_JSON = re.compile(
    r"response[_ ]?format|json_?schema|json_?object|json schema|json mode|structured output|guided"
    r"|grammar|invalid schema|json_validate|(invalid|required for) format",
    re.IGNORECASE,
)
_UNKNOWN_FORMAT = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|must be"
    r"|not (permitted|allowed)|(not |un)available|forbidden|should be|only.* supported",
    re.IGNORECASE,
)
_ABOUT_THIS_SCHEMA = re.compile(
    r"schema error|invalid (json )?schema|grammar|\$ref|parser|json_validate", re.IGNORECASE
)
"""A refusal of what this one schema holds: another one may be accepted."""


class JsonMode(StrEnum):
    """A way to ask for JSON, in the word of servers."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


class Dialect(Struct, frozen=True, kw_only=True):
    """Ways of one server that are learnt from its refusals."""

    has_completion_tokens: bool = False  # whether the limit is called `max_completion_tokens`
    has_stream_options: bool = True
    dropped: frozenset[tuple[str, str]] = frozenset()
    """Fields of the product with the values that it refused."""
    json_modes: tuple[JsonMode, ...] = tuple(JsonMode)  # strictest first
    unfit_modes: frozenset[JsonMode] = frozenset()
    """Modes that this server does not take for the schema of one request."""
    starts_in_thought: bool = False  # whether the template opens a thought
    has_thoughts: bool = True  # whether thoughts may be sent back; no longer after a refusal

    @property
    def limit(self) -> str:
        return "max_completion_tokens" if self.has_completion_tokens else "max_tokens"

    def after(
        self,
        error: ServerRejected,
        *,
        has_limit: bool = True,
        fields: Mapping[str, Any] | None = None,
        thought_fields: Sequence[str] = (),
    ) -> Dialect | None:
        """Return the way to try after a refusal; None if no field can be changed.

        `thought_fields` are the fields of messages that may have held thoughts.
        """
        if error.status not in _FIELD_STATUSES or error.kind != "bad_request":
            return None
        words = _words_of(error)
        if self.has_stream_options and ("stream_options" in words or "include_usage" in words):
            return replace(self, has_stream_options=False)

        is_limit_named = has_limit and re.search(rf"\b{self.limit}\b", words)
        if is_limit_named and _UNWANTED.search(words):
            return replace(self, has_completion_tokens=not self.has_completion_tokens)
        refused = _refused_fields(fields or {}, words)
        if refused - self.dropped:
            return replace(self, dropped=self.dropped | refused)
        if self.has_thoughts and any(_is_named(name, words) for name in thought_fields):
            return replace(self, has_thoughts=False)
        return None

    def after_json(self, error: ServerRejected, output: WantedOutput) -> Dialect | None:
        """Return the way to try after a refusal of how JSON was asked for, if it is one."""
        mode = self.json_mode(output)
        words = _words_of(error)
        is_about_json = error.kind in _JSON_KINDS and _ABOUT_JSON.search(words)
        if mode is JsonMode.WORDS or not is_about_json:
            return None
        if _UNKNOWN_FORMAT.search(words) and not _ABOUT_THIS_SCHEMA.search(words):
            others = tuple(other for other in self.json_modes if other is not mode)
            return replace(self, json_modes=others)
        return replace(self, unfit_modes=self.unfit_modes | {mode})

    def json_mode(self, output: WantedOutput) -> JsonMode:
        """Return the first way left that can say what is wanted; words always can."""
        modes: tuple[JsonMode, ...] = ()
        if isinstance(output, AnyObject):
            modes = (JsonMode.OBJECT, JsonMode.SCHEMA)
        elif isinstance(output, FittingValue):
            is_object = output.schema.get("type") == "object" or "properties" in output.schema
            modes = (JsonMode.SCHEMA, JsonMode.OBJECT) if is_object else (JsonMode.SCHEMA,)
        for mode in modes:
            if mode in self.json_modes and mode not in self.unfit_modes:
                return mode
        return JsonMode.WORDS


def _words_of(error: ServerRejected) -> str:
    return f"{error.message} {error.details} {error.param}"


def _refused_fields(fields: Mapping[str, Any], words: str) -> set[tuple[str, str]]:
    return {(name, str(value)) for name, value in fields.items() if _is_named(name, words)}


def _is_named(field: str, words: str) -> bool:
    names = field
    if field in _OTHER_NAMES:
        names = f"{field}|{_OTHER_NAMES[field]}"
    return re.search(rf"\b({names})\b", words, re.IGNORECASE) is not None
