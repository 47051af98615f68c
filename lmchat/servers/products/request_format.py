"""Forms of a request that a server accepts, as they are learnt from its refusals (R-13).

A `RequestFormat` is one form. Two of its methods read a refusal and return the form to try next.
`after_refusal` changes single fields, `after_json_refusal` the way in which JSON is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.servers.request import AnyObject, FittingValue, OutputFormat

# "Unsupported parameter", "Unrecognized request argument", "Extra inputs are not permitted"
_FIELD_REFUSED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not (permitted|allowed)"
    r"|forbidden|additional prop|deprecated|instead|use \W?max_",
    re.IGNORECASE,
)
"""Found in a refusal of a field itself; other refusals are about its value."""
_WORDS_FOR_FIELDS = {
    "reasoning_effort": "reasoning|thinking|think|effort",
    "reasoning": "thinking|think",
    "tools": "tool choice|tool_choice|tool-call-parser|function calling|--jinja|grammar|samplers"
    "|tool calls?|tool use",
}
"""Patterns of other words by which refusals mean a field, by the name of the field."""
# Kinds of errors with which servers refuse the way in which JSON was asked for.
_JSON_KINDS = ("bad_request", "server_error", "unsupported", "model_not_loaded")
# "response_format type is unavailable", "Invalid schema for response_format", "grammar error"
_ABOUT_JSON = re.compile(
    r"response[_ ]?format|json_?schema|json_?object|json schema|json mode|structured output|guided"
    r"|grammar|invalid schema|json_validate|(invalid|required for) format",
    re.IGNORECASE,
)
_NAMES_SYSTEM_ROLE = re.compile(
    # "System role not supported", "Developer instruction is not enabled for models/gemma-3-4b-it"
    r"\b(system|developer)['\"`]?[ _](role|message|prompt|instruction)s?( is| are)?"
    r" (unsupported|invalid|not (supported|allowed|enabled|permitted|accepted))"
    # "System message must be at the beginning."
    r"|\bsystem (role|message|prompt)s? (must|should|can|may|is|are)( only)?"
    r"( be| come| appear| allowed| supported)?( only)?( at| in| as)?( the)?( very)?"
    r" (beginning|start|first)\b"
    # "Only user and assistant roles are supported!"; others name `system` among those
    r"|only user(, | and |/)(assistant|model)(,? and tool)? roles\b"
    r"|(should|must) be (one of )?'user'(,| or) 'assistant'"
    # o1-mini does "not support 'system' with this model"
    r"|(not|n't) support (the |a )?['\"`]?system['\"`]? (role|message|prompt|instruction|with)"
    r"|(unsupported|unexpected|invalid|unknown) ((message )?role:?|variant) ['\"`]?system\b"
    r"|\brole:? ['\"`]?system['\"`]? is (not |un|in)",
    re.IGNORECASE,
)
"""Found in a refusal of the system prompt as a message of its own."""
_NAMES_TURNS = re.compile(
    r"must alternate|(first message|conversations?) must (start|begin|use|be)\b.{0,20}\buser",
    re.IGNORECASE,
)
"""Found in a refusal by a template that takes the system prompt for a prompt or an answer."""
_NAMES_OPTIONAL_SYSTEM = re.compile(r"optional\W{1,3}(initial )?system message", re.IGNORECASE)
"""Found in a refusal by a template that takes a system prompt: it refuses something else."""
_TEMPLATE_KINDS = ("bad_request", "template", "server_error", "unsupported")
"""Kinds of errors by which servers pass on what a chat template refuses."""


class JsonMode(StrEnum):
    """A way to ask for JSON: a type of `response_format`, or words in the system prompt."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


class RequestFormat(Struct, frozen=True, kw_only=True):
    """Form of the requests to one model of a server; a refusal leads to another form."""

    streams: bool = True  # else the answer comes whole
    has_completion_tokens: bool = False  # whether the limit is called `max_completion_tokens`
    has_stream_options: bool = True
    has_system_role: bool = True  # else the system prompt is put in front of the first prompt
    dropped: frozenset[tuple[str, str]] = frozenset()
    """Fields that are not sent, because the server refused them: pairs of name and value as text.

    The refusal may be about the value, such as one effort. So the field is sent with other values.
    """
    json_modes: tuple[JsonMode, ...] = tuple(JsonMode)  # those that may be tried, strictest first

    @property
    def limit_field(self) -> str:
        return "max_completion_tokens" if self.has_completion_tokens else "max_tokens"

    def after_refusal(
        self, error: ServerRejected, extra_fields: Mapping[str, Any]
    ) -> RequestFormat | None:
        """Return the form to try after a refusal; None if no other form would help.

        Only a bad request or a template is about fields. Its text decides about the change:

        - if it names `stream_options`, that field is left out;
        - else, if it names the limit of the answer, the limit gets its other name;
        - else, the fields of `extra_fields` that it names are left out; the tools only if it names
          no other field;
        - else, if it names `stream`, the answer is asked for whole.

        `extra_fields` are the fields of the request that may be left out, with their values.
        """
        if error.kind not in ("bad_request", "template"):
            return None
        words = _words_of(error)
        if self.has_stream_options and re.search("stream_options|include_usage", words):
            return replace(self, has_stream_options=False)
        # A refusal of the limit's value, such as "max_tokens is too large", is no reason to rename.
        is_limit_refused = re.search(r"\bmax_tokens\b", words) and _FIELD_REFUSED.search(words)
        if is_limit_refused and not self.has_completion_tokens:
            return replace(self, has_completion_tokens=True)
        refused: set[tuple[str, str]] = set()
        for name, value in extra_fields.items():
            # escaped, because a name from the user's settings may hold anything
            pattern = re.escape(name)
            if name in _WORDS_FOR_FIELDS:  # other words by which refusals mean this field
                pattern += f"|{_WORDS_FOR_FIELDS[name]}"
            if re.search(rf"(?<!\w)({pattern})(?!\w)", words, re.IGNORECASE):
                refused.add((name, str(value)))
        # what was left out already was not sent, so it has not caused this refusal
        refused -= self.dropped
        if not refused:
            is_refused = re.search(r"\bstream(ing)?\b", words) and _FIELD_REFUSED.search(words)
            return replace(self, streams=False) if self.streams and is_refused else None
        # "logprobs is not supported with tools": the option is lost, rather than all tools
        other_fields = {field for field in refused if field[0] not in ("tools", "tool_choice")}
        return replace(self, dropped=self.dropped | (other_fields or refused))

    def after_json_refusal(
        self, error: ServerRejected, output: OutputFormat
    ) -> RequestFormat | None:
        """Return the form to try after a refusal of the way in which JSON was asked for.

        Returns None if the refusal is about anything else, or if JSON was asked for in words, which
        is the last way.
        """
        mode = self.json_mode(output)
        is_about_json = error.kind in _JSON_KINDS and _ABOUT_JSON.search(_words_of(error))
        if mode is JsonMode.WORDS or not is_about_json:
            return None
        return replace(
            self, json_modes=tuple(other for other in self.json_modes if other is not mode)
        )

    def json_mode(self, output: OutputFormat) -> JsonMode:
        """Return the first mode that can ask for this output and was not refused.

        The last one, `WORDS`, can ask for any output; for plain text, it adds nothing.
        """
        modes: tuple[JsonMode, ...] = ()
        if isinstance(output, AnyObject):
            # Both modes ask for the same; `json_object` is the simpler one.
            modes = (JsonMode.OBJECT, JsonMode.SCHEMA)
        elif isinstance(output, FittingValue):
            # `json_object` would forbid a value that is a list or a number.
            is_object = output.schema.get("type") == "object" or "properties" in output.schema
            modes = (JsonMode.SCHEMA, JsonMode.OBJECT) if is_object else (JsonMode.SCHEMA,)
        return next((mode for mode in modes if mode in self.json_modes), JsonMode.WORDS)


def refuses_system_role(error: ServerRejected, *, has_other_roles: bool) -> bool:
    """Return whether a server has refused the system prompt of a request.

    A template that does not know the role `system` may say that roles must alternate. As prompts
    and answers do (`MessageEncoder`), that is about the system prompt, too. With `has_other_roles`,
    it may be about these: results of tools, or an answer that is to be continued.
    """
    # llama.cpp quotes a piece of the template, which may name other errors, before the error
    words = _words_of(error).rpartition("Jinja Exception:")[2]
    if error.kind not in _TEMPLATE_KINDS or _NAMES_OPTIONAL_SYSTEM.search(words):
        return False
    is_about_turns = _NAMES_TURNS.search(words) and not has_other_roles
    return bool(is_about_turns or _NAMES_SYSTEM_ROLE.search(words))


def _words_of(error: ServerRejected) -> str:
    return f"{error.message} {error.details} {error.param}"
