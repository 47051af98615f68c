"""Reader of the chunks of one answer, the JSON objects of its stream.

Each server has its own fields for text, thought, refusal, tool calls, progress and counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence

from lmchat.base.errors import ServerRejected, StreamInterrupted
from lmchat.base.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    encode,
    positive_or_none,
    str_or_empty,
)
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import TimeoutSettings
from lmchat.core.servers.events import (
    LifeSign,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    StreamEvent,
    StreamFinished,
    TextDelta,
    TokensChosen,
    UsageReported,
)
from lmchat.core.servers.http.reply import choice_of
from lmchat.core.servers.http.sse import DONE, MalformedStreamError
from lmchat.core.servers.stream.chunk import MAX_NAME_CHARS, Fault, Piece, chunk_of
from lmchat.core.servers.stream.end import AnswerEnd
from lmchat.core.servers.stream.logprobs import LogprobReader
from lmchat.core.servers.stream.think_tags import ThoughtFilter
from lmchat.core.servers.stream.tool_calls import Calls
from lmchat.core.servers.wire.refusal_rules import STEPS

MAX_ANSWER_CHARS = 16 << 20
"""Sum of text, thought and tool calls of one answer: some days of a fast model."""
USAGE_EVERY_S = 1.0
_AROUND_USAGE = ("response", "message", "x_groq")
# of `/messages`; the first leaves out those of the cache
_PROMPT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_CALL_REASONS = ("tool_calls", "function_call")


class ChunkParser:
    """Reader of chunks; posts events and knows whether the answer is complete.

    Texts wait for `post_held`, or an event of another kind, and are posted as one.
    """

    def __init__(
        self,
        refusal_of: Callable[[object], ServerRejected],
        post: Callable[[StreamEvent], None],
        *,
        end: AnswerEnd | None = None,
        thought_filter: ThoughtFilter | None = None,
        tools: Collection[str] = (),
    ) -> None:
        """`refusal_of` makes the exception for an error in the stream.

        `thought_filter` separates thought from answer by marks such as `<think>`. `tools` are the
        names of those that the model may call.
        """
        self.end = end or AnswerEnd(TimeoutSettings())
        self.has_posted_token = False  # any text, thought or tool call
        self.has_token = False  # that the model has written, and not its template
        self._is_of_template = False  # the chunk that is read
        self._refusal_of = refusal_of
        self._post_event = post
        self._usage = ServerUsage()
        self._calls = Calls(tools)
        self._repeated_calls = Calls(tools)  # of a `message` behind deltas
        self._has_unread_call = False  # in another form
        self._logprobs = LogprobReader()
        self._has_model_name = False
        self._thought_filter = thought_filter or ThoughtFilter(())
        self._char_count = 0  # of text, thought and tool calls so far
        self._post_count = 0
        self._held: list[TextDelta | ReasoningDelta | RefusalDelta] = []
        self._has_unread = False  # JSON but for a fault, in place of a text, or another choice
        self._is_unknown = False  # a chunk; see `Chunk`
        self._stray = b""  # lines behind the last event that were noted
        self._delta_kinds: set[type] = set()  # of pieces, and what came of them

    def read(self, data: bytes, name: str = "") -> None:
        """Read one SSE event: a chunk as JSON, `[DONE]`, or no `data`.

        A `LifeSign` is posted if nothing else is. Raises `ServerRejected` for an error of the
        server, and `MalformedStreamError` for an answer that is too long.
        """
        if self.end.is_done:
            return
        is_error_event = name == "error"
        data = data.removeprefix(b"data:").lstrip()  # some servers write it twice
        if data.startswith(DONE):
            self.end.note_done()
            return
        posts_before = self._post_count
        if data or is_error_event:
            value = self._read_json(data)
            if is_error_event:
                self.end.fault = Fault.FAILURE
                raise self._refusal_of(value)
        if self._post_count == posts_before:
            self._post(LifeSign())

    def _read_json(self, data: bytes) -> object:
        """Read a chunk and return it decoded; else note the words, and return them."""
        try:
            value = decode(data)
        except NotJsonError:
            if data[:1] in (b"{", b"["):
                self._has_unread = True
            else:
                self.end.note_fault(Fault.WORDS, data)
            return data
        self.read_chunk(value, data)
        return value

    def read_chunk(self, value: object, data: bytes) -> None:
        """Read a decoded chunk, a whole answer, or an error, which may be none (R-26).

        In `data`, its JSON, the words show what need not be looked for.
        """
        chunk = chunk_of(value, data)
        fields = dict_or_empty(value)
        self._is_of_template = (
            b'"predicted_n":0' in data or b'"predicted_n": 0' in data
        ) and dict_or_empty(fields.get("timings")).get("predicted_n") == 0
        self._read_fields(fields, may_have_usage=b"usage" in data)
        self._has_unread_call |= chunk.has_unread_call
        self._has_unread |= chunk.has_other_choice
        self._is_unknown |= chunk.is_unknown
        pieces = chunk.pieces
        for piece in pieces:
            self._delta_kinds.add(type(piece))
            self._delta_kinds.update(map(type, self._read_piece(piece)))
        for piece in chunk.again:
            # each kind counts only if no delta had any; of calls, those that have not come
            if type(piece) not in self._delta_kinds:
                pieces.append(piece)
                self._read_piece(piece)
            elif isinstance(piece, dict):
                self._count(len(encode(piece)))
                self._repeated_calls.read(piece)
        if self._is_of_template:
            self.post_held(chunks=0)
        if tokens := self._logprobs.read(chunk.logprobs, pieces):
            self._post(TokensChosen(choices=tokens))
        self.end.note_chunk(chunk.reason, adds=bool(pieces), has_open_call=self._calls.has_open)
        if chunk.fault:
            self.end.note_fault(chunk.fault, value)

    def _read_fields(self, chunk: JsonObject, *, may_have_usage: bool) -> None:
        """Read what is not of a choice."""
        if not self._has_model_name and (model := str_or_empty(chunk.get("model"))):
            self._has_model_name = True
            self._post(
                ModelNamed(
                    model=model[:MAX_NAME_CHARS],
                    build=str_or_empty(chunk.get("system_fingerprint"))[:MAX_NAME_CHARS],
                    answer_id=str_or_empty(chunk.get("id"))[:MAX_NAME_CHARS],
                )
            )
        if progress := prompt_progress(chunk):
            self._post(progress)
        if may_have_usage:
            self._usage.keep(chunk)
        # due every `USAGE_EVERY_S`
        if report := self._usage.keep_timings(chunk):
            self._post(report)

    def _read_piece(self, piece: Piece) -> Sequence[StreamEvent]:
        """Post what a piece adds, and return it.

        While all of a text is held back, a `LifeSign` counts as the token (R-18).
        """
        events: Sequence[StreamEvent] = ()
        if isinstance(piece, dict):
            self._count(len(encode(piece)))
            events = self._calls.read(piece)
        elif piece is None:
            self._has_unread = True
        else:
            self._count(len(piece.text))
            if isinstance(piece, RefusalDelta):
                events = (piece,)
            else:
                events = self._thought_filter.feed(piece)
            if not (events or self.has_posted_token or self._is_of_template):
                self._post(LifeSign(is_token=True))
        self._post_tokens(events)
        return events

    @property
    def usage(self) -> UsageReported | None:
        return self._usage.report()

    def close(self) -> None:
        """Post what was held back, the usage, and whether a part of the answer was not read."""
        self._post_tokens(
            [*self._thought_filter.close(), *self._calls.close(self._repeated_calls.named)]
        )
        if report := self._usage.report():
            self._post(report)
        if self._has_unread and self.has_posted_token:
            self._post(
                RequestAdapted(note="A part of the answer may be missing.", is_part_missing=True)
            )
        self.post_held()

    def conclude(self, network_error: str, *, broken: str) -> StreamFinished:
        """Return the last event of a complete answer, or raise the error for any other.

        `broken` says for the message what the `network_error` means.

        Raises `StreamInterrupted` if the answer has started or the connection broke, and
        `ServerRejected` if the stream ended without a token, or an error or words came.
        """
        end = self.end
        calls = self._calls
        is_whole = end.is_whole(
            is_broken=bool(network_error),
            has_whole_calls=bool(calls.named_count) and not calls.has_open,
        )
        has_lost_call = is_whole and not calls.named_count
        has_lost_call &= self._has_unread_call or end.reason in _CALL_REASONS
        has_other_fault = end.failure is not None or has_lost_call or network_error
        is_unread = (self._has_unread or self._is_unknown) and not self.has_posted_token
        if is_unread and not has_other_fault:
            raise ServerRejected(
                "The server answers in a form that lmchat does not read.",
                kind="unsupported",
                next_step=STEPS["unsupported"],
            )
        is_answer = self.has_posted_token or (end.reason and end.failure is None)
        if is_whole and not has_lost_call and is_answer:
            return StreamFinished(reason=end.reason)
        if end.failure is not None and not has_lost_call:
            raise self._refusal_of(end.failure)
        if network_error or has_lost_call or self.has_posted_token or end.reason:
            cause = "the server closed the connection before the answer was complete"
            if network_error:
                cause = broken
            elif has_lost_call:
                cause = "the server sent a tool call in a form that lmchat does not read"
            elif end.reason:
                cause = f"the server ended the answer with the reason {safe_line(end.reason)}"
            elif end.is_done:
                cause = "the server ended the answer without a reason"
            raise StreamInterrupted(
                f"Streaming failed: {cause}.",
                next_step="Check the server's log, or ask again.",
                details=network_error,
            )
        raise ServerRejected(
            "Streaming failed: the server sent an empty answer.",
            kind="empty_answer",
            next_step="Ask again, or check the server's log.",
        )

    def _count(self, chars: int) -> None:
        self._char_count += chars
        if self._char_count > MAX_ANSWER_CHARS:
            raise MalformedStreamError("the answer is longer than 16 MB")

    def _post_tokens(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            self.has_posted_token = True
            self.has_token |= not self._is_of_template
            self._post(event)

    def note_stray(self, lines: bytes) -> None:
        """Note lines that were no events, but not the same ones twice.

        They are a whole answer, an error, a web page, or words.
        """
        if lines == self._stray:
            return
        self._stray = lines
        lines = lines.strip().removesuffix(b"data: [DONE]")
        if lines and isinstance(self._read_json(lines), bytes):
            self._has_unread |= b"{" in lines

    def tell(self, words: bytes) -> None:
        """Post words in place of chunks as a note."""
        self._post_event(RequestAdapted(note=self._refusal_of(words).message))

    def _post(self, event: StreamEvent) -> None:
        """Post any event, and count it for `read`."""
        self._post_count += 1
        if self._held and type(event) is not type(self._held[0]):
            self.post_held()
        if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            self._held.append(event)
        else:
            self._post_event(event)

    def post_held(self, *, chunks: int | None = None) -> None:
        held = self._held
        self._held = []
        if held:
            text = "".join(delta.text for delta in held)
            count = len(held) if chunks is None else chunks
            self._post_event(type(held[0])(text=text, chunks=count))


class ServerUsage:
    """Token counts and speeds that the server reports during an answer (R-19).

    `usage` is of OpenAI's or Anthropic's API, `timings` of llama.cpp, or the `stats` of LM Studio.
    """

    def __init__(self) -> None:
        self._usage: JsonObject = {}
        self._timings: JsonObject = {}
        self._last_report_s = time.monotonic()  # the first report is due later

    def keep(self, chunk: JsonObject) -> None:
        # Kimi has it in the choice
        for part in (chunk, choice_of(chunk), *(chunk.get(name) for name in _AROUND_USAGE)):
            if usage := dict_or_empty(dict_or_empty(part).get("usage")):
                self._keep_usage(usage)

    def keep_timings(self, chunk: JsonObject) -> UsageReported | None:
        """Return a report for the screen if one is due."""
        timings = dict_or_empty(chunk.get("timings") or chunk.get("stats"))
        if not timings:
            return None
        self._timings = timings
        now_s = time.monotonic()
        if now_s - self._last_report_s < USAGE_EVERY_S:
            return None
        self._last_report_s = now_s
        return self.report()

    def _keep_usage(self, usage: JsonObject) -> None:
        """Keep real counts: a gateway that does not count may send zeros last."""
        # Counts of `/responses` and `/messages`. New API sends both kinds, these as 0.
        if not usage.keys() & {"prompt_tokens", "completion_tokens"} and (
            usage.keys() & {"input_tokens", "output_tokens"}
        ):
            if "input_tokens" in usage:
                prompt_counts = (count_or_none(usage.get(name)) or 0 for name in _PROMPT_COUNTS)
                usage = {**usage, "prompt_tokens": sum(prompt_counts)}
            usage = {**self._usage, **usage, "completion_tokens": usage.get("output_tokens")}
        completion = count_or_none(usage.get("completion_tokens"))
        prompt = count_or_none(usage.get("prompt_tokens"))
        if not prompt and not (completion and usage.get("prompt_tokens") is None):
            return
        earlier = self._usage.get("completion_tokens")
        self._usage = (
            usage if completion or not earlier else {**usage, "completion_tokens": earlier}
        )

    def report(self) -> UsageReported | None:
        """Return the latest counts: of `usage` before `timings`, but for cached tokens."""
        usage = self._usage
        timings = self._timings
        if not usage and not timings:
            return None

        cached = count_or_none(timings.get("cache_n"))
        prompt = count_or_none(usage.get("prompt_tokens"))
        # llama.cpp counts what it has read so far, and no answer yet
        is_prompt_read = timings.get("predicted_n") != 0
        if prompt is None and "prompt_n" in timings and is_prompt_read:
            # `prompt_n` leaves out cached tokens
            prompt = (cached or 0) + (count_or_none(timings.get("prompt_n")) or 0) or None
        if cached is None:
            prompt_details = dict_or_empty(usage.get("prompt_tokens_details"))
            cached = count_or_none(prompt_details.get("cached_tokens"))
        completion = count_or_none(usage.get("completion_tokens"))
        if completion is None:
            completion = count_or_none(timings.get("predicted_n"))
        completion_details = dict_or_empty(usage.get("completion_tokens_details"))
        # llama.cpp's name of the speed, then that of LM Studio
        speed = positive_or_none(timings.get("predicted_per_second"))
        speed = speed or positive_or_none(timings.get("tokens_per_second"))
        return UsageReported(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            tokens_per_second=speed,
            prompt_tokens_per_second=positive_or_none(timings.get("prompt_per_second")),
            thought_tokens=count_or_none(completion_details.get("reasoning_tokens")),
            draft_tokens=count_or_none(timings.get("draft_n")),
            accepted_tokens=count_or_none(timings.get("draft_n_accepted")),
        )


def prompt_progress(chunk: JsonObject) -> PromptProgress | None:
    """Return how far the prompt is read; `fraction` leaves out cached tokens."""
    progress = chunk.get("prompt_progress")
    if not isinstance(progress, dict):
        return None
    total = count_or_none(progress.get("total")) or 0
    cached = count_or_none(progress.get("cache")) or 0
    processed = count_or_none(progress.get("processed")) or 0
    fraction = 1.0
    if total > cached:
        fraction = min(max((processed - cached) / (total - cached), 0.0), 1.0)
    return PromptProgress(fraction=fraction, processed_tokens=processed, total_tokens=total)
