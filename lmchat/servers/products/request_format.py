"""Forms of a request that a server accepts, as they are learnt from its refusals (R-13)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.servers.request import AnyObject, FittingValue, OutputFormat

# "Unsupported parameter", "Unrecognized request argument", "Extra inputs are not permitted"
_FIELD_REFUSED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not (permitted|allowed)"
    r"|forbidden|additional prop|deprecated|instead|use \W?max_|not implemented|must be false",
    re.IGNORECASE,
)
"""A refusal of a field itself; others are about its value."""
_WORDS_FOR_FIELDS = {
    "reasoning_effort": "reasoning|thinking|think|effort",
    "reasoning": "thinking|think",
    "chat_template_kwargs": "enable_thinking",
    "tools": "tool choice|tool_choice|tool-call-parser|function calling|--jinja|grammar|samplers"
    "|tool[ -]calls?|tool use|tool (role|message|result|response)s?|function calls?"
    "|role:? ['\"`]?tool",
}
"""Other words by which refusals mean a field."""
_JSON_KINDS = ("bad_request", "template", "server_error", "unsupported", "model_not_loaded")
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
    r"|(should|must) be (one of:? )?['\"`\[]*user['\"`]*(,| or|,? and) ['\"`]*assistant"
    # o1-mini does "not support 'system' with this model"
    r"|(not|n't) support (the |a )?['\"`]?system['\"`]? (role|message|prompt|instruction|with)"
    r"|(unsupported|unexpected|invalid|unknown) ((message )?role:?|variant) ['\"`]?system\b"
    r"|\brole:? ['\"`]?system['\"`]? (is|are) (not |un|in)",
    re.IGNORECASE,
)
"""A refusal of the system prompt as a message of its own."""
_NAMES_TURNS = re.compile(
    r"must alternate|(first message|conversations?) must (start|begin|use|be)\b.{0,20}\buser"
    r"|expected first message.{0,20}\buser",
    re.IGNORECASE,
)
"""A refusal by a template that takes the system prompt for a prompt or an answer."""
_NAMES_OPTIONAL_SYSTEM = re.compile(r"optional\W{1,3}(initial )?system message", re.IGNORECASE)
"""A refusal by a template that takes a system prompt: it refuses something else."""
_NAMES_CALL_IDS = re.compile(
    # "Tool call IDs should be alphanumeric strings with length 9!", from templates of Mistral;
    # OpenAI names the field, and says that the "string" is "too long"
    r"tool.?calls?\W{0,3}(\d+\W{1,3})?ids?\b.{0,80}(length|alphanumeric|a-z|too long)"
    # Anthropic names its own field
    r"|tool_use\.id",
    re.IGNORECASE,
)
_NAMES_THOUGHTS = re.compile(
    # "Cannot pass both content and thinking in an assistant message with tool calls!", of gpt-oss
    r"content and thinking|\b(?P<field>reasoning_content)\b"
    r"|\bmessages?\b.{0,100}\b(?P<path>reasoning)\b",
    re.IGNORECASE,
)
_NAMES_EMPTY_TEXT = re.compile(r"\b(content|blank|(non-?)?empty)\b", re.IGNORECASE)
THOUGHT_FIELDS = frozenset({"reasoning", "reasoning_content"})
TOOL_FIELDS = ("tools", "tool_choice")
_TEMPLATE_KINDS = ("bad_request", "template", "server_error", "unsupported")
"""Kinds with which servers pass on what a chat template refuses."""


class JsonMode(StrEnum):
    """Way to ask for JSON: a type of `response_format`, or words in the system prompt."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"


class RequestFormat(Struct, frozen=True, kw_only=True):
    """Form of the requests to one model; a refusal leads to another one."""

    streams: bool = True  # else the answer comes whole
    has_completion_tokens: bool = False  # `max_completion_tokens`
    has_stream_options: bool = True
    has_system_role: bool = True  # else it begins the first prompt
    thought_fields: tuple[str, ...] | None = None  # of all answers; None: as the product takes them
    has_null_texts: bool = False  # beside calls, in place of empty ones
    has_short_call_ids: bool = False  # of 9 letters and digits, in place of those of the server
    tool_refusals: int = 0  # in a row
    dropped: frozenset[tuple[str, str]] = frozenset()
    """Refused fields: pairs of name and value as text.

    The refusal may be about the value, such as one effort, so other values are sent.
    """
    json_modes: tuple[JsonMode, ...] = tuple(JsonMode)  # strictest first

    @property
    def limit_field(self) -> str:
        return "max_completion_tokens" if self.has_completion_tokens else "max_tokens"

    def after_refusal(
        self,
        error: ServerRejected,
        extra_fields: Mapping[str, Any],
        messages: Sequence[Mapping[str, Any]],
    ) -> RequestFormat | None:
        """Return the form to try next; None if no other form would help.

        By the text of the refusal, this order of changes is tried: fields of `extra_fields` that it
        names are left out; ids of calls are made shorter; earlier thoughts are left out, or given
        back if the `messages` had none; empty texts become null; `stream_options` are left out; the
        limit of the answer gets its other name; fields that other words mean are left out, the
        tools only if no other field is meant; the answer is asked for whole.
        """
        words = error.words
        # a name that Python or a service does not take may be a failure of the server, too
        is_failure = error.kind in ("server_error", "unsupported")
        if error.kind not in ("bad_request", "template") and not (
            is_failure and _FIELD_REFUSED.search(words)
        ):
            return None
        named = {
            (name, str(value))
            for name, value in extra_fields.items()
            if name not in TOOL_FIELDS and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)
        } - self.dropped
        thoughts = _NAMES_THOUGHTS.search(words)
        if named and not thoughts:
            return replace(self, dropped=self.dropped | named)
        if not self.has_short_call_ids and _NAMES_CALL_IDS.search(words):
            return replace(self, has_short_call_ids=True)
        if self.thought_fields is None and thoughts:
            field = thoughts["field"] or thoughts["path"]
            was_sent = any(THOUGHT_FIELDS & message.keys() for message in messages)
            if was_sent or field:
                return replace(self, thought_fields=() if was_sent else (field,))
        has_empty_text = any(
            message["content"] == "" and "tool_calls" in message for message in messages
        )
        if has_empty_text and not self.has_null_texts and _NAMES_EMPTY_TEXT.search(words):
            return replace(self, has_null_texts=True)
        if self.has_stream_options and re.search("stream_options|include_usage", words):
            return replace(self, has_stream_options=False)
        # not for a value, as in "max_tokens is too large"
        is_limit_refused = re.search(r"\bmax_tokens\b", words) and _FIELD_REFUSED.search(words)
        if is_limit_refused and not self.has_completion_tokens:
            return replace(self, has_completion_tokens=True)
        refused: set[tuple[str, str]] = set()
        for name, value in extra_fields.items():
            # a name from the settings may hold anything
            pattern = re.escape(name)
            # a failure may be about a call that the model has written
            if name in _WORDS_FOR_FIELDS and error.kind != "server_error":
                pattern += f"|{_WORDS_FOR_FIELDS[name]}"
            if re.search(rf"(?<!\w)({pattern})(?!\w)", words, re.IGNORECASE):
                refused.add((name, str(value)))
        # what was not sent has not caused this refusal
        refused -= self.dropped
        if not refused:
            names_stream = re.search(r"\bstream(ing)?\b", words, re.IGNORECASE)
            is_about_stream = names_stream and error.kind != "server_error"
            is_refused = is_about_stream and _FIELD_REFUSED.search(words)
            return replace(self, streams=False) if self.streams and is_refused else None
        # "logprobs is not supported with tools": the option is lost, rather than all tools
        other_fields = {pair for pair in refused if pair[0] not in TOOL_FIELDS}
        return replace(self, dropped=self.dropped | (other_fields or refused))

    def after_json_refusal(
        self, error: ServerRejected, output: OutputFormat
    ) -> RequestFormat | None:
        """Return the form to try next; None if the refusal is about anything else.

        None also if JSON was asked for in words, the last way.
        """
        mode = self.json_mode(output)
        is_about_json = error.kind in _JSON_KINDS and _ABOUT_JSON.search(error.words)
        if mode is JsonMode.WORDS or not is_about_json:
            return None
        return replace(
            self, json_modes=tuple(other for other in self.json_modes if other is not mode)
        )

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


def refuses_system_role(error: ServerRejected, *, has_other_roles: bool) -> bool:
    """Return whether a refusal is about the system prompt.

    A template without the role `system` may say that roles must alternate. Prompts and answers do
    (`MessageEncoder`), so that is about it, too, unless the request `has_other_roles`: results of
    tools, or an answer to be continued.
    """
    # llama.cpp quotes a piece of the template, which may name other errors, before the error
    words = error.words.rpartition("Jinja Exception:")[2]
    if error.kind not in _TEMPLATE_KINDS or _NAMES_OPTIONAL_SYSTEM.search(words):
        return False
    is_about_turns = _NAMES_TURNS.search(words) and not has_other_roles
    return bool(is_about_turns or _NAMES_SYSTEM_ROLE.search(words))
