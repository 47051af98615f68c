"""Requests for an answer, tools in them, and requests of other programs.

`Tool` is here, not in the package `tools`, because requests name the tools that a model may call,
and `servers` does not import `tools`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.servers.model import ModelInfo
from lmchat.servers.target import Target
from lmchat.sessions.message import ChatMessage


class Tool(Struct, frozen=True, kw_only=True):
    """A tool that a request offers to the model."""

    server: str  # MCP server that has it, by its name in the configuration
    name: str
    wire_name: str = ""  # unique name in requests, at most 64 characters of `A-Za-z0-9_-`
    description: str = ""
    schema: dict[str, Any] = field(default_factory=dict)  # JSON schema of its arguments
    is_read_only: bool = False  # whether it only reads, as its server says; nothing relies on it

    @property
    def full_name(self) -> str:
        return f"{self.server}/{self.name}"


def tool_in_request(tool: Tool) -> Mapping[str, Any]:
    """Return a tool in the form of OpenAI's requests."""
    # servers expect a schema also for a tool without arguments
    schema = tool.schema or {"type": "object", "properties": {}}
    function = {"name": tool.wire_name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def given_options(options: object, names: Iterable[str]) -> dict[str, object]:
    """Return the options of a `Sampling`, or of a table of the settings, that are given, by name.

    `names` are attributes of `options`. One that is None, "" or () is not given.
    """
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, "", ())}


class Sampling(Struct, frozen=True, kw_only=True):
    """Sampling options of a request; one that is None, "" or () is not set, and not sent."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str = ""  # `none` to `max`, or a number of tokens as text
    more: Mapping[str, object] = field(default_factory=dict)
    """The options of `servers/sampling_options.py` that have no field here, by name."""

    @property
    def options(self) -> dict[str, object]:
        """The options that are set, by the names of `servers/sampling_options.py`."""
        return given_options(self, SAMPLING_FIELDS) | dict(self.more)

    def with_options(self, options: Mapping[str, object]) -> Sampling:
        """Return a copy in which the values of `options` replace those of the same names.

        `checked_option` has checked the values before.
        """
        fields: dict[str, Any] = {}
        more = dict(self.more)
        for name, value in options.items():
            if name in SAMPLING_FIELDS:
                fields[name] = value
            else:
                more[name] = value
        return replace(self, more=more, **fields)

    def without_limits(self) -> Sampling:
        """Return a copy for a text that lmchat itself needs, such as a summary.

        It lacks the options with which the user limits or shapes the answers of a chat: they would
        cut or spoil such a text.
        """
        more = {name: value for name, value in self.more.items() if name not in _FOR_ANSWERS}
        return replace(self, max_tokens=None, stop=(), more=more)


SAMPLING_FIELDS = ("temperature", "top_p", "max_tokens", "stop", "seed", "reasoning_effort")
"""Options with a field of their own in `Sampling`."""
_FOR_ANSWERS = (
    "grammar",
    "json_schema",
    "ignore_eos",
    "t_max_predict_ms",
    "extra.n_predict",
    "extra.max_completion_tokens",
    "extra.response_format",
)
"""Further options that limit or shape an answer."""


class AnyText(Struct, frozen=True, kw_only=True):
    """An answer in words, of any form."""


class AnyObject(Struct, frozen=True, kw_only=True):
    """An answer that is one JSON object, of any form."""


class FittingValue(Struct, frozen=True, kw_only=True):
    """An answer that is one JSON value, and fits a schema."""

    schema: dict[str, Any]
    name: str = "answer"  # name in the request


OutputFormat = AnyText | AnyObject | FittingValue
"""Wanted form of an answer; the server may ignore it."""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A request for one answer, before it is put into the form of its product."""

    target: Target
    messages: tuple[ChatMessage, ...]
    """Oldest first; `Product.sent_thoughts` says which of them are sent with their reasoning."""
    sampling: Sampling = field(default_factory=Sampling)
    output: OutputFormat = field(default_factory=AnyText)
    tools: tuple[Tool, ...] = ()  # tools offered to the model
    has_drawn_seed: bool = False
    """Whether the seed in `sampling` was drawn at random, because the user has set none."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of attached files, by digest.

    b"" is an image of which only the name is sent. A file without an item here is missing.
    """
    is_batch: bool = False
    """Whether a command sends many such requests.

    The limit of requests per minute does not count them if their server is on this machine.
    """
    must_call: bool = False  # whether the model must call a tool (`tool_choice: "required"`)


class TemplateText(Struct, frozen=True, kw_only=True):
    """Text that the chat template of a model makes of a request."""

    text: str
    tokens: int  # number of tokens that the server counts in it


CHAT_PATH = "/chat/completions"  # behind the address of the API


class ForwardedRequest(Struct, frozen=True, kw_only=True):
    """A request of another program, which is sent to the server of its model as it came."""

    model: ModelInfo
    path: str  # behind the address of the API, such as `CHAT_PATH`
    body: bytes  # JSON


class ForwardedReply(Struct, frozen=True, kw_only=True):
    """The reply of a server as it comes, with whatever status."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    chunks: AsyncIterator[bytes]
    """The body, each part as soon as it has come; raises `LMChatError` if the rest is missing."""
