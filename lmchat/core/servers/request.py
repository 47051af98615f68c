"""Requests for an answer, tools in them, and requests of other programs.

`Tool` is here, as `servers` does not import the package `tools`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import ChatMessage, Role


class Tool(Struct, frozen=True, kw_only=True):
    """Tool that a request offers to the model."""

    server: str  # name of its MCP server in the configuration
    name: str
    wire_name: str = ""  # unique, at most 64 characters of `A-Za-z0-9_-`
    description: str = ""
    schema: dict[str, Any] = field(default_factory=dict)  # of its arguments
    is_read_only: bool = False  # as its server says; nothing relies on it

    @property
    def full_name(self) -> str:
        return f"{self.server}/{self.name}"


def tool_in_request(tool: Tool) -> Mapping[str, Any]:
    # LM Studio and OpenAI refuse all tools if one lacks its `properties`
    schema = {"type": "object", "properties": {}, **tool.schema}
    function = {"name": tool.wire_name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def given_options(options: object, names: Iterable[str]) -> dict[str, object]:
    """Of a `Sampling` or a table of settings; None, "" and () are not given."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, "", ())}


class Sampling(Struct, frozen=True, kw_only=True):
    """Sampling options of a request."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str = ""  # `none` to `max`, or a number of tokens as text
    more: Mapping[str, object] = field(default_factory=dict)
    """Options without a field here, by name."""

    @property
    def options(self) -> dict[str, object]:
        """Options that are set, by the names of `servers/sampling_options.py`."""
        return given_options(self, SAMPLING_FIELDS) | dict(self.more)

    def with_options(self, options: Mapping[str, object]) -> Sampling:
        """Replace values, which `checked_option` has checked."""
        fields: dict[str, Any] = {}
        more = dict(self.more)
        for name, value in options.items():
            if name in SAMPLING_FIELDS:
                fields[name] = value
            else:
                more[name] = value
        return replace(self, more=more, **fields)

    def without_limits(self) -> Sampling:
        """Leave out what could spoil a text that lmchat itself needs, such as a summary."""
        return replace(
            self,
            max_tokens=None,
            stop=(),
            more={name: value for name, value in self.more.items() if name not in _FOR_ANSWERS},
        )


SAMPLING_FIELDS = ("temperature", "top_p", "max_tokens", "stop", "seed", "reasoning_effort")
_FOR_ANSWERS = (
    "grammar",
    "json_schema",
    "ignore_eos",
    "t_max_predict_ms",
    "extra.n_predict",
    "extra.max_completion_tokens",
    "extra.response_format",
)
"""They limit or shape an answer."""


class AnyText(Struct, frozen=True, kw_only=True):
    """Output in words, of any form."""


class AnyObject(Struct, frozen=True, kw_only=True):
    """Output that is one JSON object, of any form."""


class FittingValue(Struct, frozen=True, kw_only=True):
    """Output that is one JSON value, and fits a schema."""

    schema: dict[str, Any]
    name: str = "answer"


OutputFormat = AnyText | AnyObject | FittingValue
"""The server may ignore it."""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """Request for one answer, before it has the form of its product."""

    target: Target
    messages: tuple[ChatMessage, ...]
    """Oldest first; `Product.sent_thoughts` says which keep their reasoning."""
    sampling: Sampling = field(default_factory=Sampling)
    output: OutputFormat = field(default_factory=AnyText)
    tools: tuple[Tool, ...] = ()
    has_drawn_seed: bool = False  # the user has set none
    files: Mapping[str, bytes] = field(default_factory=dict)
    """By digest; b"" is an image of which only the name is sent, a file without an item is missing.
    """
    is_batch: bool = False
    """One of many: at a server of this machine, the limit of requests per minute does not count it.
    """
    must_call: bool = False  # `tool_choice: "required"`
    message_id: str = ""  # of the answer, in a session

    @property
    def prompt_index(self) -> int:
        """Return the place of the newest prompt, or 0."""
        indexes = (index for index, one in enumerate(self.messages) if one.role is Role.USER)
        return max(indexes, default=0)


CHAT_PATH = "/chat/completions"  # behind the address of the API
STREAM_HEADERS = {
    "Accept": "text/event-stream, application/json",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
}
"""For an uncompressed stream (R-34); a key and configured headers come to them."""


class ForwardedRequest(Struct, frozen=True, kw_only=True):
    """Request of another program, sent as it came."""

    model: ModelInfo
    path: str  # behind the address of the API, such as `CHAT_PATH`
    body: bytes  # JSON
    is_parallel: bool = False  # it asks for several answers (`n`)


class ForwardedReply(Struct, frozen=True, kw_only=True):
    """Reply of a server as it comes, with whatever status."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    chunks: AsyncIterator[bytes]
    """Each as soon as it has come; raises `LMChatError` if the rest is missing."""
