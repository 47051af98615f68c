"""Forms of a request that a server accepts (R-13)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from lmchat.core.servers.request import AnyObject, FittingValue, OutputFormat


class JsonMode(StrEnum):
    """Way to ask for JSON: a type of `response_format`, or words in the system prompt."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


class RequestFormat(Struct, frozen=True, kw_only=True):
    """Form of the requests to one model; lessons of its server lead to another one."""

    streams: bool = True  # else the answer comes whole
    has_completion_tokens: bool = False  # `max_completion_tokens`
    has_stream_options: bool = True
    has_system_role: bool = True  # else it is put in front of the first prompt
    thought_fields: tuple[str, ...] | None = None  # of all answers; None: as the product takes them
    has_null_texts: bool = False  # beside calls, in place of empty ones
    has_short_call_ids: bool = False  # of 9 letters and digits, in place of those of the server
    tool_refusals: int = 0  # in a row
    dropped: frozenset[tuple[str, str]] = frozenset()
    """Refused fields: pairs of name and value as text.

    The refusal may be about the value, such as one effort, so other values are sent.
    """
    json_modes: tuple[JsonMode, ...] = tuple(JsonMode)  # strictest first

    def json_mode(self, output: OutputFormat) -> JsonMode:
        """Return the first mode for this output that was not refused; `WORDS` is for any."""
        modes: tuple[JsonMode, ...] = ()
        if isinstance(output, AnyObject):
            # the simpler one of two that ask for the same
            modes = (JsonMode.OBJECT, JsonMode.SCHEMA)
        elif isinstance(output, FittingValue):
            # `json_object` would forbid a list or a number
            is_object = output.schema.get("type") == "object" or "properties" in output.schema
            modes = (JsonMode.SCHEMA, JsonMode.OBJECT) if is_object else (JsonMode.SCHEMA,)
        return next((mode for mode in modes if mode in self.json_modes), JsonMode.WORDS)
