"""Reading of the chunks of one answer, which are the JSON objects of its stream.

`ChunkReader` posts an event for all that a chunk contains: text, thought, refusal, tool calls, the
name of the model, progress, token counts. Each server has its own fields for these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from lmchat import units
from lmchat.errors import ServerRejected, StreamInterrupted
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
from lmchat.servers.http.error_body import is_error
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
from lmchat.servers.http.sse import DONE, MalformedStreamError
from lmchat.servers.stream.think_tags import SplitPiece, ThinkSplitter
from lmchat.servers.stream.token_choices import ProbabilityReader
from lmchat.servers.stream.tool_calls import ToolCalls

MAX_ANSWER_CHARS = 16 << 20
"""Limit for text, thought and tool calls of one answer: some days of a fast model."""
MAX_NAME_CHARS = 1024
"""Limit for the names of model and build and for the finish reason, which rows show."""
USAGE_EVERY_S = 1.0
# Added to the length of each fragment of a tool call: a server might send empty ones forever.
_CALL_CHARS = 64


class ChunkReader:
    """Reader of the chunks of one answer; posts events and knows whether the answer is complete."""

    def __init__(
        self,
        refusal_of: Callable[[object], ServerRejected],
        post: Callable[[StreamEvent], None],
        *,
        splitter: ThinkSplitter | None = None,
    ) -> None:
        """Create a reader.

        `refusal_of` returns the exception for an error that the server sent in the stream. `post`
        takes the events. `splitter` separates thought from answer where `<think>` tags mark it in
        the text; None: tags are left in the text of the answer.
        """
        self.has_done = False  # whether `[DONE]` came, or a whole reply was read
        self.has_posted_token = False  # whether any text, thought or tool call was posted
        self.finish_reason = ""  # the server's word, empty if none came
        self.answer_id = ""  # the server's name of this answer, empty if none came
        self._refusal_of = refusal_of
        self._post_event = post
        self._usage = ServerUsage()
        self._calls = ToolCalls()
        self._probabilities: ProbabilityReader | None = None  # None before the first ones
        self._has_model_name = False  # whether a `ModelNamed` was posted
        self._splitter = splitter  # None once thought comes in fields of its own
        self._char_count = 0  # characters of text, thought and tool calls so far
        self._post_count = 0  # events that were posted
        self._malformed_count = 0  # chunks that are not JSON

    def read(self, data: bytes, name: str = "") -> None:
        """Read one SSE event; after `[DONE]`, return without reading it.

        `data` is a chunk as JSON, `[DONE]`, or empty, as of a comment; `name` is the name of the
        event, such as `error`. If reading a chunk posts no event, a `LifeSign` is posted.

        Raises:
            ServerRejected: the server sent an error.
            MalformedStreamError: the answer is too long.
        """
        if self.has_done:
            return
        if data.startswith(DONE):
            self.has_done = True
            return
        posts_before = self._post_count
        if data:
            try:
                value = decode(data)
            except NotJsonError:  # such a chunk is skipped, and counted
                if name == "error":
                    raise self._refusal_of(data.decode("utf-8", "replace")) from None
                self._malformed_count += 1
            else:
                if name == "error" or is_error(value):
                    raise self._refusal_of(value)
                self._read_object(value)
        if self._post_count == posts_before:
            self._post(LifeSign())

    def _read_object(self, value: object) -> None:
        """Read a decoded chunk of a stream, or a whole answer (`read_whole`).

        Post events for what it contains, and keep its finish reason and its usage for the end of
        the answer. If it has parallel answers (`choices`), only the first is read.
        """
        chunk = dict_or_empty(value)
        self.answer_id = self.answer_id or str_or_empty(chunk.get("id"))
        model = str_or_empty(chunk.get("model"))[:MAX_NAME_CHARS]
        if model and not self._has_model_name:
            self._has_model_name = True
            build = str_or_empty(chunk.get("system_fingerprint"))[:MAX_NAME_CHARS]
            self._post(ModelNamed(model=model, build=build))
        if progress := prompt_progress(chunk.get("prompt_progress")):
            self._post(progress)
        if report := self._usage.keep(chunk):  # one is due every `USAGE_EVERY_S`
            self._post(report)

        choices = dicts_in(chunk.get("choices"))
        if choices and not choices[0].get("index"):  # others are parallel answers (`n` above 1)
            self._read_choice(choices[0])

    def read_whole(self, reply: object) -> None:
        """Read the decoded reply of a server that does not stream; no `[DONE]` follows it."""
        self._read_object(reply)
        self.has_done = True

    def _read_choice(self, choice: JsonObject) -> None:
        """Read what a chunk or a whole reply adds to the answer, and the probabilities with it.

        `choice` is its entry for one of several parallel answers; lmchat asks for one answer.
        `_read_delta` gives the text to the reader of probabilities, which needs it before it can
        tell which text came with each token.
        """
        logprobs = choice.get("logprobs")
        if logprobs and self._probabilities is None:
            self._probabilities = ProbabilityReader()
        # A chunk has a `delta`, a whole reply a `message`.
        self._read_delta(dict_or_empty(choice.get("delta") or choice.get("message")))
        if logprobs and self._probabilities is not None:
            token_choices = self._probabilities.read(logprobs)
            if token_choices:
                self._post(TokensChosen(choices=token_choices))
        reason = str_or_empty(choice.get("finish_reason"))[:MAX_NAME_CHARS]
        self.finish_reason = reason or self.finish_reason

    def close(self) -> None:
        """End the answer: post the text and thought that were held back, and the last usage.

        If chunks were skipped, post a note that says how many.
        """
        if self._splitter is not None:
            self._post_split(self._splitter.close())
        for call in self._calls.close():
            self._post_token(call, 0)
        if report := self._usage.report():
            self._post(report)
        if self._malformed_count:
            skipped = units.counted(self._malformed_count, "malformed event")
            self._post(RequestAdapted(note=f"Skipped {skipped} of the server."))

    def conclude(self, network_error: str) -> StreamFinished:
        """Return the last event of a complete answer, or raise the error for any other.

        An answer is complete if the server sent a finish reason, or `[DONE]` behind a token.
        `network_error` says how the connection broke, and is empty if it did not.

        Raises:
            StreamInterrupted: the connection broke, or the answer has begun and is not complete.
            ServerRejected: the stream ended without a token.
        """
        has_end = bool(self.finish_reason) or (self.has_done and self.has_posted_token)
        if has_end and not network_error:
            return StreamFinished(reason=self.finish_reason)
        if network_error or self.has_posted_token:
            cause = "the connection broke" if network_error else "the server closed the connection"
            raise StreamInterrupted(
                f"Streaming failed: {cause} before the answer was complete.",
                hint="The text so far is kept; continue or regenerate it."
                if self.has_posted_token
                else "No text has arrived. Check the server's log, or regenerate it.",
                details=network_error,
            )
        raise ServerRejected(
            "Streaming failed: the server sent an empty answer.",
            kind="empty_answer",
            hint="The session may exceed the model's context window; "
            "load the model with a larger one, or check the server's log.",
        )

    def _read_delta(self, delta: JsonObject) -> None:
        """Post what a chunk adds to the answer: thought, text, refusal, fragments of tool calls.

        `delta` may also be the message of a whole reply.
        """
        # only one field is read, because some servers send the same thought in several
        thought = str_or_empty(delta.get("reasoning_content"))
        self._add_thought(thought or str_or_empty(delta.get("reasoning")))
        content = delta.get("content")
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            fields = dict_or_empty(part)  # a part is a text, or an object with a text or thought
            thinking = fields.get("thinking")  # Mistral's field for a thought
            if isinstance(thinking, list):
                texts = (str_or_empty(piece.get("text")) for piece in dicts_in(thinking))
                thinking = "".join(texts)
            self._add_thought(str_or_empty(thinking))
            self._add_content(str_or_empty(part) or str_or_empty(fields.get("text")))
        if refusal := str_or_empty(delta.get("refusal")):
            self._post_token(RefusalDelta(text=refusal), len(refusal))
        for fragment in dicts_in(delta.get("tool_calls")):
            chars_before = self._calls.char_count
            events = self._calls.read(fragment)
            # each counts `_CALL_CHARS` more: endless empty ones must reach the limit, too
            self._count(self._calls.char_count - chars_before + _CALL_CHARS)
            for event in events:
                self._post_token(event, 0)

    def _add_thought(self, thought: str) -> None:
        """Post a thought that came in a field of its own; ignore an empty one.

        A server that sends such fields does not mark thought by tags in the text. Tags that come
        from then on are words of the answer, so the splitter ends.
        """
        if not thought:
            return
        if self._probabilities is not None:  # it tells which text came with each token
            self._probabilities.add_text(thought, is_thought=True)
        if self._splitter is not None:
            self._post_split(self._splitter.close())
            self._splitter = None
        self._post_token(ReasoningDelta(text=thought), len(thought))

    def _add_content(self, content: str) -> None:
        """Post content, in which tags may enclose thought; ignore empty content.

        While the splitter still holds back all content, no token can be posted. Then each chunk
        posts a `LifeSign`, which counts as a token (R-18).
        """
        if not content:
            return
        if self._probabilities is not None:  # it tells which text came with each token
            self._probabilities.add_text(content, is_thought=False)
        if self._splitter is None:
            self._post_token(TextDelta(text=content), len(content))
            return
        self._post_split(self._splitter.feed(content))
        if not self.has_posted_token:
            self._post(LifeSign(is_token=True))

    def _post_split(self, split: Iterable[SplitPiece | Rethought]) -> None:
        """Post what the splitter has returned."""
        for part in split:
            if isinstance(part, Rethought):
                self._post(part)
                continue
            is_thought, text = part
            delta = ReasoningDelta(text=text) if is_thought else TextDelta(text=text)
            self._post_token(delta, len(text))

    def _count(self, chars: int) -> None:
        """Count characters of the answer; raise `MalformedStreamError` beyond its limit."""
        self._char_count += chars
        if self._char_count > MAX_ANSWER_CHARS:
            raise MalformedStreamError("the answer is longer than 16 MiB")

    def _post_token(self, event: StreamEvent, char_count: int) -> None:
        """Post a part of the answer and count its characters."""
        self._count(char_count)
        self.has_posted_token = True
        self._post(event)

    def _post(self, event: StreamEvent) -> None:
        """Post any event, and count it: `read` has to know whether a chunk posted one."""
        self._post_count += 1
        self._post_event(event)


class ServerUsage:
    """Token counts and speeds that the server reports during an answer (R-19).

    `usage` is the object of the OpenAI API. `timings` are those of llama.cpp, or the `stats` of LM
    Studio.
    """

    def __init__(self) -> None:
        self._usage: JsonObject = {}
        self._timings: JsonObject = {}
        self._last_report_s = time.monotonic()  # as if of now: the first report is due later

    def keep(self, chunk: JsonObject) -> UsageReported | None:
        """Keep the usage and the timings of a chunk in place of the last ones, if it has them.

        Returns a report, for the screen, if the chunk has timings and `USAGE_EVERY_S` have passed
        since the last report; else None. The report of the whole answer is that of `report`.
        """
        self._usage = dict_or_empty(chunk.get("usage")) or self._usage
        timings = dict_or_empty(chunk.get("timings") or chunk.get("stats"))
        if not timings:
            return None
        self._timings = timings
        now_s = time.monotonic()
        if now_s - self._last_report_s < USAGE_EVERY_S:
            return None
        self._last_report_s = now_s
        return self.report()

    def report(self) -> UsageReported | None:
        """Return the latest counts and speeds; None if the server has reported none.

        If `usage` and `timings` both count the tokens of the prompt or the answer, the count of
        `usage` is taken. Cached tokens are taken from `timings` first.
        """
        usage = self._usage
        timings = self._timings
        if not usage and not timings:
            return None

        cached = count_or_none(timings.get("cache_n"))
        prompt = count_or_none(usage.get("prompt_tokens"))
        # While llama.cpp reads the prompt, it counts what it has read so far, and no answer yet.
        is_prompt_read = timings.get("predicted_n") != 0
        if prompt is None and "prompt_n" in timings and is_prompt_read:
            # `prompt_n` leaves out cached tokens
            prompt = (cached or 0) + (count_or_none(timings.get("prompt_n")) or 0)
        if cached is None:
            prompt_details = dict_or_empty(usage.get("prompt_tokens_details"))
            cached = count_or_none(prompt_details.get("cached_tokens"))
        completion = count_or_none(usage.get("completion_tokens"))
        if completion is None:
            completion = count_or_none(timings.get("predicted_n"))
        completion_details = dict_or_empty(usage.get("completion_tokens_details"))
        # first by llama.cpp's name of the speed, then by that of LM Studio
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
    """Return how far the server has read the prompt; None if `progress` is not an object.

    `progress` is the field `prompt_progress` of a chunk. `fraction`, 0 to 1, leaves out the tokens
    that come from the server's cache; it is 1 if all of them do.
    """
    if not isinstance(progress, dict):
        return None
    total = count_or_none(progress.get("total")) or 0
    cached = count_or_none(progress.get("cache")) or 0
    processed = count_or_none(progress.get("processed")) or 0
    fraction = 1.0
    if total > cached:
        fraction = min(max((processed - cached) / (total - cached), 0.0), 1.0)
    return PromptProgress(fraction=fraction, processed_tokens=processed, total_tokens=total)
