"""Reader of the chunks of one answer, the JSON objects of its stream.

Each server has its own fields for text, thought, refusal, tool calls, progress and counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.safe_text import safe_line
from lmchat.servers.events import (
    LifeSign,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    StreamEvent,
    StreamFinished,
    TextDelta,
    TokensChosen,
    UsageReported,
)
from lmchat.servers.http.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    dicts_in,
    positive_or_none,
    str_or_empty,
)
from lmchat.servers.http.reply import is_error
from lmchat.servers.http.sse import DONE, MalformedStreamError
from lmchat.servers.stream.deltas import CALLS, TEXT, THOUGHT, Piece, pieces_of
from lmchat.servers.stream.end import AnswerEnd
from lmchat.servers.stream.logprobs import LogprobReader
from lmchat.servers.stream.think_tags import SplitPiece, ThoughtFilter
from lmchat.servers.stream.tool_calls import Calls

MAX_ANSWER_CHARS = 16 << 20
"""Sum of text, thought and tool calls of one answer: some days of a fast model."""
MAX_NAME_CHARS = 1024
"""Of model, build and finish reason, which rows show."""
USAGE_EVERY_S = 1.0
_AROUND_USAGE = ("response", "message", "x_groq")
# of `/messages`; the first leaves out those of the cache
_PROMPT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_PART_MISSING = "A part of the answer may be missing."
_CALL_REASONS = ("tool_calls", "function_call")
_NO_REASONS = ("null", "None")  # in a text
# for each fragment: a server might send empty ones forever
_CALL_CHARS = 64


class ChunkParser:
    """Reader of chunks; posts events and knows whether the answer is complete."""

    def __init__(
        self,
        refusal_of: Callable[[object], ServerRejected],
        post: Callable[[StreamEvent], None],
        *,
        end: AnswerEnd | None = None,
        thought_filter: ThoughtFilter | None = None,
        is_parallel: bool = False,
        tools: Collection[str] = (),
    ) -> None:
        """`refusal_of` makes the exception for an error in the stream.

        `thought_filter` separates thought from answer by marks such as `<think>`.
        With `is_parallel`, several answers were asked for, and only the first is read. `tools` are
        the names of those that the model may call.
        """
        self.end = end or AnswerEnd(TimeoutSettings())
        self.has_posted_token = False  # any text, thought or tool call
        self._refusal_of = refusal_of
        self._post_event = post
        self._usage = ServerUsage()
        self._calls = Calls(tools)
        self._has_unread_call = False  # in another form
        self._is_parallel = is_parallel
        self._index: object = None  # of the first choice
        self._logprobs = LogprobReader()
        self._has_model_name = False
        self._thought_filter = thought_filter or ThoughtFilter(())
        self._char_count = 0  # of text, thought and tool calls so far
        self._post_count = 0
        self._has_unread = False  # what was JSON, but for a fault
        self._delta_kinds: set[str] = set()  # that deltas had
        self._thought_field = ""  # where the first thought stood
        self._thoughts: list[str] = []  # that came in fields of their own
        self._thought_chars = 0
        self._repeating_fields: set[str] = set()  # those with the same thought once more

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
            value: object = data
            try:
                value = decode(data)
            except NotJsonError:
                if data[:1] not in (b"{", b"["):
                    self.end.note_failure(data, is_error=False)
                else:
                    self._has_unread = True
            else:
                self.read_chunk(value)
            if is_error_event:
                raise self._refusal_of(value)
        if self._post_count == posts_before:
            self._post(LifeSign())

    def read_chunk(self, value: object) -> None:
        """Read a decoded chunk, a whole answer, or an error, which may be none (R-26)."""
        chunk = dict_or_empty(value)
        choices = dicts_in(chunk.get("choices"))
        has_failed = is_error(value)
        if choices or not has_failed:
            self._read_object(chunk, choices)
        # they may also say what the server is doing
        has_words = isinstance(chunk.get("message") or chunk.get("msg"), str)
        has_words |= bool(chunk.get("detail") or chunk.get("errors"))
        if has_failed or (has_words and not choices):
            self.end.note_failure(value, is_error=has_failed)

    def _read_object(self, chunk: JsonObject, choices: list[JsonObject]) -> None:
        """Read a chunk, or a whole answer; of parallel answers, only the first."""
        model = str_or_empty(chunk.get("model"))[:MAX_NAME_CHARS]
        if model and not self._has_model_name:
            self._has_model_name = True
            build = str_or_empty(chunk.get("system_fingerprint"))[:MAX_NAME_CHARS]
            answer_id = str_or_empty(chunk.get("id"))[:MAX_NAME_CHARS]
            self._post(ModelNamed(model=model, build=build, answer_id=answer_id))
        if progress := prompt_progress(chunk.get("prompt_progress")):
            self._post(progress)
        if report := self._usage.keep(chunk):  # due every `USAGE_EVERY_S`
            self._post(report)

        if self._is_parallel and choices:
            self._index = choices[0].get("index") if self._index is None else self._index
            choices = [choice for choice in choices if choice.get("index") == self._index]
        # the index says nothing: some servers count chunks with it
        self._read_choice(choices[0] if choices else {})

    @property
    def usage(self) -> UsageReported | None:
        return self._usage.report()

    def _read_choice(self, choice: JsonObject) -> None:
        pieces = self._read_delta(dict_or_empty(choice.get("delta")))
        self._delta_kinds.update(kind for kind, _, _ in pieces)
        # some servers send a `message` in each chunk, or the whole answer at the end, also beside a
        # `delta`, or a `text` as for `/completions`: each kind counts only if no delta had any
        if message := choice.get("message"):
            pieces += self._read_delta(dict_or_empty(message), self._delta_kinds)
        if (text := choice.get("text")) and all(kind != TEXT for kind, _, _ in pieces):
            pieces += self._read_delta({"content": text}, self._delta_kinds)
        if tokens := self._logprobs.read(choice.get("logprobs"), pieces):
            self._post(TokensChosen(choices=tokens))
        reason = str_or_empty(choice.get("finish_reason"))[:MAX_NAME_CHARS]
        reason = "" if reason in _NO_REASONS else reason
        self.end.note_chunk(reason, adds=bool(pieces), has_open_call=self._calls.has_open)

    def close(self) -> None:
        """Post what was held back, the usage, and whether a part of the answer was not read."""
        self._post_split(self._thought_filter.close())
        for call in self._calls.close():
            self._post_token(call, 0)
        if report := self._usage.report():
            self._post(report)
        if self._has_unread and self.has_posted_token:
            self._post(RequestAdapted(note=_PART_MISSING, is_part_missing=True))

    def conclude(self, network_error: str, *, broken: str) -> StreamFinished:
        """Return the last event of a complete answer, or raise the error for any other.

        `broken` says for the message what the `network_error` means.

        Raises `StreamInterrupted` if the answer has begun or the connection broke, and
        `ServerRejected` if the stream ended without a token, or an error or words came.
        """
        end = self.end
        is_whole = end.is_whole(is_broken=bool(network_error))
        has_lost_call = is_whole and not self._calls.named_count
        has_lost_call &= self._has_unread_call or end.reason in _CALL_REASONS
        if is_whole and not has_lost_call and (end.reason or self.has_posted_token):
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
                hint="The text so far is kept; continue or retry it."
                if self.has_posted_token
                else "No text has arrived. Check the server's log, or retry.",
                details=network_error,
            )
        raise ServerRejected(
            "Streaming failed: the server sent an empty answer.",
            kind="empty_answer",
            hint="Ask again, or check the server's log.",
        )

    def _read_delta(
        self, delta: JsonObject, repeated: AbstractSet[str] = frozenset()
    ) -> list[Piece]:
        """Post what a chunk adds, and return it, with a piece for calls.

        `delta` may also be a `message`, of which the kinds in `repeated` are left out.
        """
        pieces = [piece for piece in pieces_of(delta) if piece[0] not in repeated]
        for kind, text, field in pieces:
            if kind == THOUGHT:
                self._add_thought(text, field)
            elif kind == TEXT:
                self._add_content(text)
            else:
                self._post_token(RefusalDelta(text=text), len(text))
        calls = delta.get("tool_calls")
        has_new = [self._read_call(one) for one in dicts_in(calls)]
        self._has_unread_call |= bool(delta.get("function_call") or (calls and not has_new))
        if any(has_new) or (has_new and CALLS not in repeated):
            pieces.append((CALLS, "", "tool_calls"))
        return pieces

    def _read_call(self, fragment: JsonObject) -> bool:
        """Return whether there is something new to show."""
        chars_before = self._calls.char_count
        events = self._calls.read(fragment)
        # endless empty ones must reach the limit, too
        self._count(self._calls.char_count - chars_before + _CALL_CHARS)
        for event in events:
            self._post_token(event, 0)
        return bool(events)

    def _add_thought(self, thought: str, field: str) -> None:
        """Post a thought that came in a field of its own.

        Tags in the text are words from then on, but for a closing one left over at its beginning. A
        field that repeats the whole thought is not read any more.
        """
        self._thought_field = self._thought_field or field
        may_repeat = field != self._thought_field and len(thought) == self._thought_chars
        if may_repeat and thought == "".join(self._thoughts):
            self._repeating_fields.add(field)
        if field in self._repeating_fields:
            return
        self._thoughts.append(thought)
        self._thought_chars += len(thought)
        self._post_split(self._thought_filter.note_thought())
        self._post_token(ReasoningDelta(text=thought), len(thought))

    def _add_content(self, content: str) -> None:
        """Post content, in which tags may enclose thought.

        While all of it is held back, each chunk posts a `LifeSign`, which counts as a token (R-18).
        """
        self._post_split(self._thought_filter.feed(content))
        if not self.has_posted_token:
            self._post(LifeSign(is_token=True))

    def _post_split(self, split: Iterable[SplitPiece | Rethought]) -> None:
        for part in split:
            if isinstance(part, Rethought):
                self._delta_kinds.add(THOUGHT)
                self._post(part)
                continue
            is_thought, text = part
            if is_thought:
                self._delta_kinds.add(THOUGHT)
            delta = ReasoningDelta(text=text) if is_thought else TextDelta(text=text)
            self._post_token(delta, len(text))

    def _count(self, chars: int) -> None:
        self._char_count += chars
        if self._char_count > MAX_ANSWER_CHARS:
            raise MalformedStreamError("the answer is longer than 16 MB")

    def _post_token(self, event: StreamEvent, char_count: int) -> None:
        self._count(char_count)
        self.has_posted_token = True
        self._post(event)

    def note_stray(self, lines: bytes) -> None:
        """Note lines that were no events: a whole answer, an error, a web page, or words."""
        lines = lines.strip().removesuffix(b"data: [DONE]")
        if lines[:1] not in (b"", b"{", b"["):
            self.end.note_failure(lines, is_error=False)
            self._has_unread |= b"{" in lines
            return
        try:
            value = decode(lines)
        except NotJsonError:
            self._has_unread |= bool(lines)
        else:
            self.read_chunk(value)

    def _post(self, event: StreamEvent) -> None:
        """Post any event, and count it for `read`."""
        self._post_count += 1
        self._post_event(event)


class ServerUsage:
    """Token counts and speeds that the server reports during an answer (R-19).

    `usage` is of OpenAI's or Anthropic's API, `timings` of llama.cpp, or the `stats` of LM Studio.
    """

    def __init__(self) -> None:
        self._usage: JsonObject = {}
        self._timings: JsonObject = {}
        self._last_report_s = time.monotonic()  # the first report is due later

    def keep(self, chunk: JsonObject) -> UsageReported | None:
        """Keep the counts of a chunk; return a report for the screen if one is due."""
        choices = dicts_in(chunk.get("choices"))[:1]  # Kimi has it there
        for part in (chunk, *choices, *(chunk.get(name) for name in _AROUND_USAGE)):
            if usage := dict_or_empty(dict_or_empty(part).get("usage")):
                self._keep_usage(usage)
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


def prompt_progress(progress: object) -> PromptProgress | None:
    """Return how far the prompt is read; `fraction` leaves out cached tokens."""
    if not isinstance(progress, dict):
        return None
    total = count_or_none(progress.get("total")) or 0
    cached = count_or_none(progress.get("cache")) or 0
    processed = count_or_none(progress.get("processed")) or 0
    fraction = 1.0
    if total > cached:
        fraction = min(max((processed - cached) / (total - cached), 0.0), 1.0)
    return PromptProgress(fraction=fraction, processed_tokens=processed, total_tokens=total)
