"""Messages: roles, parts, states, failures, tool calls."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from itertools import takewhile
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.safe_text import safe_line
from lmchat.base.units import breakable, size_text


class Role(StrEnum):
    """Author of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


NOT_SENT = "not sent"
"""Words shown with a message that the user has taken out of requests."""
NO_RESULT = "This call was not run, or not to its end: it has no result."
"""What the model gets as the result of a call that was stopped."""


class AnswerState(StrEnum):
    """State of an answer."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    """Connection, server or crash ended it; some text had arrived."""
    FAILED = "failed"


_NORMAL_ENDS = ("stop", "tool_calls")  # finish reasons of a complete answer
_WHOLE_ENDS = ("stop", "eos_token", "eos", "end_turn", "stop_sequence", "")
"""Finish reasons of a text that is whole, in small letters.

"eos_token" is that of text-generation-inference. Servers that send only `[DONE]` at the end give
none.
"""
_CUT_ENDS = (
    *("length", "model_length", "max_tokens", "max_output_tokens"),
    "model_context_window_exceeded",
)
"""The second is that of Mistral, the last of z.ai; gateways pass on those of Anthropic and Gemini.
"""
_CALL_ENDS = ("tool_calls", "function_call", "tool_use")
_FILTERED_ENDS = ("content_filter", "safety", "sensitive")  # the others are of Gemini and z.ai
_COMPLETE_ENDS = frozenset((*_WHOLE_ENDS, *_CUT_ENDS, *_CALL_ENDS, *_FILTERED_ENDS))
_MAX_NAME_CHARS = 200  # of a file's name on the screen
_MAX_TOOL_NAME_CHARS = 80  # in a note
_NO_REASON = "no finish reason"  # shown: the end of the answer may be missing


class Limit(StrEnum):
    """Limit that cut an answer short."""

    CONTEXT = "context is full"
    MAX_TOKENS = "max tokens reached"


class TextPart(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag="text"):
    """Text of a message."""

    text: str


class ReasoningPart(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag="reasoning"):
    """Reasoning of a model before its answer."""

    text: str


class RefusalPart(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag="refusal"):
    """Text in which a model refuses to answer."""

    text: str


class ToolCallPart(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag="tool_call"):
    """A tool call: in an answer as the model made it, in a tool message as lmchat ran it."""

    call_id: str
    name: str
    """In an answer, the name as in requests (`files__read`); in a tool message, `files/read`."""
    arguments: str
    """JSON as received; may be broken."""
    others: str = ""
    """Further fields that the server gave the call: lines with a JSON object each."""


class ToolResultPart(
    Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag="tool_result"
):
    """Result of the call of a tool message; in the state `failed`, its error."""

    text: str


class FilePart(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag="file"):
    """A file that goes with a prompt; the store has its content."""

    name: str
    """Without its folder."""
    media_type: str
    """Type of the original file; of a PDF, only the text is stored."""
    digest: str
    """SHA-256 of the stored bytes in hexadecimal digits; "" for a file that cannot be read."""
    size: int
    """Number of stored bytes."""
    width: int = 0
    """Pixels of an image; 0 where they are not known."""
    height: int = 0
    tokens: int = 0
    """Estimate, without the correction for a model."""
    place: int | None = None
    """Characters of the prompt before a text file; None: it is sent before the prompt."""
    language: str = ""
    """Language of its code fence, if the file has a `place`; else it is not sent."""
    left_out: str = ""
    """What of the file is not sent or not right, such as `2 of 4 pages have no text: 2, 4`."""

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")

    @property
    def label(self) -> str:
        """Name, size and any pixels, `cat.png (1.2 MB, 800×600)`, and what is left out.

        Only the text of a PDF has a size here, as in `plan.pdf (3 kB of text)`.

        The blanks are ordinary ones, as in exports and in the line of the prompt.
        """
        pixels = f", {self.width}×{self.height}" if self.width else ""
        size = breakable(size_text(self.size, is_exact=True))
        size += " of text" if self.media_type == "application/pdf" else ""
        left_out = f"; {safe_line(self.left_out, limit=_MAX_NAME_CHARS)}" if self.left_out else ""
        name = safe_line(self.name, limit=_MAX_NAME_CHARS)
        return f"{name} ({size}{pixels}{left_out})" if self.digest else f"{name}: cannot be read"


Part = TextPart | ReasoningPart | RefusalPart | ToolCallPart | ToolResultPart | FilePart
TEXT_PARTS: dict[str, type[TextPart | ReasoningPart | RefusalPart | ToolResultPart]] = {
    "text": TextPart,
    "reasoning": ReasoningPart,
    "refusal": RefusalPart,
    "tool_result": ToolResultPart,
}
"""Parts that hold only a text, by their tag."""


class Failure(Struct, frozen=True, kw_only=True):
    """Why an answer is not complete."""

    kind: str
    message: str
    hint: str = ""
    details: str = ""
    failure_id: str = ""
    """Short id of the entry in the log file."""


class AnswerStats(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens and times of an answer, together with the answer that it continues, if any.

    What is None is not known, or there is nothing to measure.
    """

    ttft_ms: float | None = None
    """Time from sending to the first token."""
    tokens_per_second: float | None = None
    """As the server reports it, otherwise as lmchat measures it."""
    prompt_tokens: int | None = None
    """As the server counted them."""
    completion_tokens: int | None = None  # tokens of the answer with its thoughts
    is_estimated: bool = True
    """Whether `completion_tokens` is an estimate, not the server's count."""
    elapsed_ms: float = 0.0  # from the beginning of the answer, once tools are ready, to its end
    reasoning_ms: float | None = None  # from the first word of a thought to the end of the last one
    finish_reason: str = ""  # as the server gave it; empty if it gave none
    retries: int = 0
    asked: str = ""
    """The model you asked for, if another one answered."""
    served: str = ""
    """The server's own name of the model, if it is another one, such as a file."""
    limit: Limit | None = None
    """Limit that cut the answer short, if known."""
    steps: int = 0
    """Rounds of tool calls before this answer."""
    is_prompt_cut: bool = False
    """Whether the server has left out a part of the prompt, as its count shows."""
    call_as_text: str = ""
    """Tool that the model tried to call, if the server passed its call on as text."""
    is_edited: bool = False
    """Whether the user has rewritten the answer, or the one that it continues."""
    sampling: Mapping[str, object] = field(default_factory=dict)
    """Names and values of the sampling options that were sent."""
    product: str = ""  # of the server
    build: str = ""  # of the server, as it said it
    context: int | None = None
    """Tokens of the context window."""
    wait_ms: float | None = None
    """Time from the beginning of the answer to its first word, behind any thought."""
    queue_ms: float = 0.0
    """Part of `wait_ms` in which the request waited for another answer."""
    was_loaded: bool = False
    """Whether the server loaded the model for this answer, or woke it."""
    was_asleep: bool = False
    """Whether the server had put the model to sleep before."""
    load_ms: float | None = None
    """Time in which the model was loaded or woken; None if the end of that was not reported."""
    prompt_tokens_per_second: float | None = None
    """Speed at which the server has read the prompt."""
    cached_tokens: int | None = None
    """Tokens of the prompt that came from the server's cache."""
    thought_tokens: int | None = None
    """Tokens of the thought: counted by the server, or else its chunks."""
    draft_tokens: int | None = None  # proposed by the server's drafts
    accepted_tokens: int | None = None  # of the `draft_tokens`

    def after(self, earlier: AnswerStats | None) -> AnswerStats:
        """Return the stats of an answer in two parts, of which this is the second."""
        if earlier is None:
            return self
        tokens = (earlier.completion_tokens or 0) + (self.completion_tokens or 0)
        thought_tokens = (earlier.thought_tokens or 0) + (self.thought_tokens or 0)
        reasoning_ms = (earlier.reasoning_ms or 0.0) + (self.reasoning_ms or 0.0)
        return replace(
            self,
            ttft_ms=self.ttft_ms if earlier.ttft_ms is None else earlier.ttft_ms,
            completion_tokens=tokens or self.completion_tokens,  # not 0 if both are unknown
            thought_tokens=thought_tokens or None,
            # the server rarely counts a first part, as it broke off
            is_estimated=self.is_estimated or bool(earlier.completion_tokens),
            elapsed_ms=earlier.elapsed_ms + self.elapsed_ms,
            reasoning_ms=reasoning_ms or None,
            is_edited=self.is_edited or earlier.is_edited,
            is_prompt_cut=self.is_prompt_cut or earlier.is_prompt_cut,
        )

    @property
    def is_cut(self) -> bool:
        """Whether a limit, known or not, cut the answer short."""
        return self.limit is not None or is_cut_end(self.finish_reason)

    @property
    def ends_with_edit(self) -> bool:
        """Whether the user has written the end of the answer: no model has continued it since.

        The tokens of a rewritten answer are not counted (`EDITED`), those that a model adds later
        are.
        """
        return self.is_edited and self.completion_tokens is None

    @property
    def is_unfinished(self) -> bool:
        """Whether a complete answer may lack its end, so that it can be continued."""
        return self.is_cut or self.ends_with_edit

    @property
    def ending(self) -> str:
        """Why the answer ended, if not normally."""
        if self.limit is not None:
            return self.limit.value
        if self.finish_reason in _NORMAL_ENDS:
            return ""
        return self.finish_reason or _NO_REASON


EDITED = AnswerStats(is_edited=True, finish_reason="stop")
"""Stats of a rewritten answer: those of its old text are not true of the new one."""


class ChatMessage(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Message of a session: a node of its tree.

    A tool message holds one call and follows the answer that made it, or another tool message of
    that answer. It is `complete` with a result, and `failed` if that is an error or a refusal.
    """

    message_id: str
    role: Role
    """Author; a system message applies from here on along the path."""
    parts: tuple[Part, ...]
    created_at: datetime
    parent_id: str | None = None
    """None for a root."""
    state: AnswerState = AnswerState.COMPLETE
    model: str = ""  # of an answer; that of the turn in a tool message, else empty
    endpoint: str = ""  # address of the server of `model`
    stats: AnswerStats | None = field(default=None, name="receipt")  # its name in files
    failure: Failure | None = None
    version: int = 1
    """Number among the versions of this message (same parent and role), counted from 1."""
    versions: int = 1
    is_excluded: bool = False
    """Whether the user has taken it out of all requests."""

    @property
    def text(self) -> str:
        """The text with a refusal, without reasoning."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart | RefusalPart))

    @property
    def refusal(self) -> str:
        """The part of `text` in which the model refuses to answer."""
        return "".join(part.text for part in self.parts if isinstance(part, RefusalPart))

    @property
    def reasoning(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def files(self) -> tuple[FilePart, ...]:
        return tuple(part for part in self.parts if isinstance(part, FilePart))

    @property
    def tool_result(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, ToolResultPart))

    @property
    def sent_text(self) -> str:
        """The text in a request, without files and thoughts, from which tokens are estimated."""
        if self.role is Role.TOOL:
            return self.tool_result or NO_RESULT
        return self.text + "".join(call.name + call.arguments for call in self.tool_calls)


class SentThoughts(Enum):
    """Answers that are sent to the model together with their thoughts (R-45)."""

    NONE = auto()
    SINCE_PROMPT = auto()  # answers behind the last prompt: their thoughts led to tool calls
    ALL = auto()


def thoughts_to_send(messages: Sequence[ChatMessage], sent_thoughts: SentThoughts) -> list[str]:
    """Return the thought that is sent with each message, or ""."""
    thoughts = [""] * len(messages)
    if sent_thoughts is SentThoughts.NONE:
        return thoughts
    for index in reversed(range(len(messages))):
        message = messages[index]
        if message.role is Role.USER and sent_thoughts is SentThoughts.SINCE_PROMPT:
            break
        if message.role is Role.ASSISTANT:
            thoughts[index] = message.reasoning
    return thoughts


def is_whole_end(finish_reason: str) -> bool:
    """Whether the text is neither cut nor filtered."""
    return finish_reason.lower() in _WHOLE_ENDS


def is_complete_end(finish_reason: str) -> bool:
    """Whether the model or a limit has ended the answer, and not a failure of the server."""
    return finish_reason.lower() in _COMPLETE_ENDS


def is_cut_end(finish_reason: str) -> bool:
    """Whether the text has reached a limit."""
    return finish_reason.lower() in _CUT_ENDS


def answered_calls(messages: Sequence[ChatMessage], index: int) -> list[ToolCallPart]:
    """Return the calls of the answer at `index` that have a tool message right behind it.

    Only these are sent: servers refuse a call without a result. A call without a name does not
    count.
    """
    calls = messages[index].tool_calls
    if not calls:
        return []
    behind = (messages[number] for number in range(index + 1, len(messages)))
    results = takewhile(lambda message: message.role is Role.TOOL, behind)
    answered_ids = Counter(call.call_id for result in results for call in result.tool_calls)
    answered: list[ToolCallPart] = []
    for call in calls:
        if call.name and answered_ids[call.call_id] > 0:
            answered_ids[call.call_id] -= 1  # two calls may have the same id
            answered.append(call)
    return answered


def interrupted(message: ChatMessage, cause: str) -> ChatMessage:
    """`cause` starts a sentence, such as "lmchat ended".

    An answer of which nothing has arrived has failed: there is nothing to continue.
    """
    state = AnswerState.INTERRUPTED
    reason = f"{cause} while this answer was streaming."
    next_step = "Continue it, or ask again."
    if message.role is Role.TOOL:
        reason = f"{cause} before this tool call had a result."
        next_step = "Run it again, or ask again."
    elif not (message.text or message.reasoning or message.tool_calls):
        state = AnswerState.FAILED
        next_step = "Ask again."
    failure = Failure(kind="interrupted", message=reason, hint=next_step)
    return replace(message, state=state, failure=failure)


def new_id() -> str:
    return os.urandom(8).hex()


def now() -> datetime:
    return datetime.now(UTC)


def text_message(role: Role, text: str, *, parent_id: str | None = None) -> ChatMessage:
    return ChatMessage(
        message_id=new_id(),
        role=role,
        parts=(TextPart(text=text),),
        created_at=now(),
        parent_id=parent_id,
    )


def prompt_message(
    text: str, files: Sequence[FilePart], parent_id: str | None = None
) -> ChatMessage:
    """Leave out an empty text beside files."""
    message = text_message(Role.USER, text, parent_id=parent_id)
    parts = message.parts if text or not files else ()
    return replace(message, parts=(*files, *parts))


def parse_arguments(text: str) -> dict[str, Any] | None:
    """None if the JSON is no object; an empty text is one, which some models send."""
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def value_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def call_text(name: str, arguments: str) -> str:
    """Return a call as people read it: `files/read_text("notes.md")`; not safe for a terminal.

    Several arguments have their names: `files/move(source="a", target="b")`.
    """
    values = parse_arguments(arguments)
    if values is not None:
        texts = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
        named = [f"{key}={text}" for key, text in texts.items()]
        arguments = ", ".join(named if len(named) > 1 else texts.values())
    return f"{name}({arguments})"


def tool_calls_text(message: ChatMessage) -> str:
    """Not safe for a terminal."""
    return ", ".join(call_text(call.name, call.arguments) for call in message.tool_calls)


def is_imported_call(message: ChatMessage) -> bool:
    """Whether the call is of an imported chat: it names no server, and is not run again."""
    return message.role is Role.TOOL and not message.endpoint


def is_continuable(message: ChatMessage) -> bool:
    """Whether it can be continued or retried."""
    if message.role is not Role.ASSISTANT:
        return False
    if message.state is AnswerState.COMPLETE:
        return bool(message.text) and message.stats is not None and message.stats.is_unfinished
    return message.state is not AnswerState.STREAMING


def was_prompt_too_long(message: ChatMessage) -> bool:
    """Whether the same prompt would be refused again, so that it has to be changed."""
    failure = message.failure
    is_too_long = failure is not None and failure.kind == "context_overflow"
    return is_too_long and message.state is AnswerState.FAILED


def has_text_to_continue(message: ChatMessage) -> bool:
    """Whether the model can continue it; a failed answer is regenerated."""
    stats = message.stats
    failure = message.failure
    if failure is not None and failure.kind == "context_overflow":
        return False
    if stats is not None and stats.limit is Limit.CONTEXT:
        # it may not fill the window alone: only older messages can be left out
        return (stats.prompt_tokens or 0) > (stats.completion_tokens or 0)
    return bool(message.text or message.reasoning) and message.state is not AnswerState.FAILED


def answer_note(message: ChatMessage) -> str:
    """Return a sentence about a complete answer, and what helps; "" if there is nothing to say.

    It starts with a small letter, and has no full stop.
    """
    stats = message.stats or AnswerStats()
    if stats.call_as_text:
        name = safe_line(stats.call_as_text, limit=_MAX_TOOL_NAME_CHARS)
        return (
            f"the model tried to call {name}, and the server did not understand it: nothing was "
            "run; start the server with a tool parser for this model, or use another build of it"
        )
    if message.text.strip() or message.tool_calls or message.refusal or not message.reasoning:
        return ""
    if stats.limit is Limit.CONTEXT:
        cause, step = f": {stats.limit}", "load it with a larger context window, or set the effort"
    elif stats.is_cut:
        cause = f": {stats.limit or 'the token limit of the server'}"
        step = "set a larger max_tokens, or the effort"
    else:
        cause, step = "", "ask again with the effort"
    return f"the model thought and wrote no answer{cause}; {step} none"


def readable_text(message: ChatMessage) -> str:
    """Return what is copied of a message."""
    words = message.text or message.tool_result or message.reasoning
    return words or "\n".join(call.arguments for call in message.tool_calls)
