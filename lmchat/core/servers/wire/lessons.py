"""Lessons of refusals: other forms in which a server may take a request (R-13).

A text in `tests/core/servers/lessons.jsonl` needs each alternative.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import ServerRejected
from lmchat.base.json_values import JsonObject, dict_or_empty
from lmchat.core.servers.wire.request_format import RequestFormat

TOOL_FIELDS = ("tools", "tool_choice")
_THOUGHT_FIELDS = ("reasoning_content", "reasoning")
_STATUSES = (None, 200, 400, 404, 422, 500, 501)  # no key, no limit, no gateway; None: in a stream


class Refused(Struct, frozen=True, kw_only=True):
    """Request that was refused."""

    error: ServerRejected
    body: JsonObject
    fields: Mapping[str, Any]  # of the body, which can do without

    @property
    def text(self) -> str:
        """Without the piece of a template that llama.cpp quotes before the error."""
        return self.error.said.rpartition("Jinja Exception:")[2]

    @property
    def is_behind_result(self) -> bool:
        """Whether the model is about to go on after a call of a tool."""
        return "tools" in self.body and self.body["messages"][-1]["role"] == "tool"


_Change = Callable[[RequestFormat, Refused], RequestFormat]


class Lesson(Struct, frozen=True):
    """Row of the table: words of a server, and what to change."""

    alternatives: tuple[str, ...]  # patterns, for words without quotes of the request
    change: _Change  # the same form if it can change nothing
    note: str = ""  # for the user; it may have the `{lost}` fields and the next way for `{json}`


def _without_named_fields(form: RequestFormat, refused: Refused) -> RequestFormat:
    # a name from the settings may hold anything
    named = [
        name
        for name in refused.fields
        if name not in TOOL_FIELDS and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", refused.text)
    ]
    return _without(*named)(form, refused)


def _without(*names: str) -> _Change:
    def change(form: RequestFormat, refused: Refused) -> RequestFormat:
        pairs = {(name, str(refused.fields[name])) for name in names if name in refused.fields}
        return replace(form, dropped=form.dropped | pairs)

    return change


def _without_tools(form: RequestFormat, refused: Refused) -> RequestFormat:
    if refused.is_behind_result:
        return form
    return replace(_without("tools")(form, refused), tool_refusals=form.tool_refusals + 1)


def _with_other_thoughts(form: RequestFormat, refused: Refused) -> RequestFormat:
    """Leave earlier thoughts out; give them back if none was sent."""
    sent = {name for message in refused.body["messages"] for name in message}
    if form.thought_fields is not None:
        return form
    if not sent.isdisjoint(_THOUGHT_FIELDS):
        return replace(form, thought_fields=())
    missed = next((name for name in _THOUGHT_FIELDS if name in refused.text), None)
    return replace(form, thought_fields=(missed,)) if missed else form


def _in_next_json_mode(form: RequestFormat, refused: Refused) -> RequestFormat:
    sent = dict_or_empty(refused.body.get("response_format")).get("type")
    return replace(form, json_modes=tuple(mode for mode in form.json_modes if mode != sent))


_WITHOUT = "Sending the request again without {lost}."
MOVE_SYSTEM_PROMPT = Lesson(
    (
        "only user and assistant roles",
        "system role not supported",
        # not of a template that takes "the optional system message"
        "(?<!message, conversation )roles must alternate",
        "system message must be at the beginning",
        "unknown variant `system`",
        "developer instruction is not enabled",
        "does not support 'system'",
        "should be 'user' or 'assistant'",
    ),
    lambda form, _: replace(form, has_system_role=False),
    "Sending the system prompt in front of the first prompt.",
)
SEND_AGAIN = Lesson(
    ("tool_use_failed", "parsing tool call", "parse input at pos"),
    lambda form, _: form,
    "Sending the same request again.",
)
"""The server does not understand the call that its model has written."""
LESSONS: tuple[Lesson, ...] = (
    SEND_AGAIN,  # first: it quotes the call, which may have any words
    Lesson(
        ("content and thinking", "reasoning_content", r"\bmessages\b.{0,40}\breasoning\b"),
        _with_other_thoughts,
    ),
    Lesson(
        (
            "response.format",
            "json mode",
            "json.schema",
            "structured output",
            "grammar error",
            "json_validate_failed",
            "initialize samplers",
            "parse grammar",
            "required for format",
        ),
        _in_next_json_mode,
        "lmchat now asks for JSON {json}.",
    ),
    MOVE_SYSTEM_PROMPT,
    Lesson(("",), _without_named_fields, _WITHOUT),
    Lesson(
        (r"tool call ids? (was|should)", r"tool_use\.id", r"tool_calls\[\d+\]\.id"),
        lambda form, _: replace(form, has_short_call_ids=True),
    ),
    Lesson(
        ("non-empty", r"\bblank\b"),
        lambda form, _: replace(form, has_null_texts=True),
    ),
    Lesson(
        ("stream_options",),
        lambda form, _: replace(form, has_stream_options=False),
    ),
    Lesson(
        ("unsupported parameter: 'max_tokens'",),
        lambda form, _: replace(form, has_completion_tokens=True),
    ),
    Lesson(
        (r"\bthink(ing)?\b", r"\breasoning\b"),
        _without("reasoning_effort", "reasoning"),
        _WITHOUT,
    ),
    Lesson(("enable_thinking",), _without("chat_template_kwargs"), _WITHOUT),
    Lesson(
        ("['`]stream['`]",),
        lambda form, _: replace(form, streams=False),
    ),
    Lesson(
        # <tool> is a name
        (
            r"(?<![\w<])tools?\b",
            "function call",
            "parse grammar",
            "json schema",
        ),
        _without_tools,
        _WITHOUT,
    ),
)
"""In the order in which they are tried."""


def lessons_of(refused: Refused, lessons: Sequence[Lesson] = LESSONS) -> Iterator[Lesson]:
    """Yield the lessons that the words of a server teach."""
    for lesson in lessons if refused.error.status in _STATUSES else ():
        if any(re.search(one, refused.text, re.IGNORECASE) for one in lesson.alternatives):
            yield lesson
