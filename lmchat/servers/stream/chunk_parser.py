"""Reader of the chunks of one answer, the JSON objects of its stream.

Each server has its own fields for text, thought, refusal, tool calls, progress and counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

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
from lmchat.servers.stream.logprobs import LogprobReader
from lmchat.servers.stream.think_tags import SplitPiece, ThinkSplitter
from lmchat.servers.stream.tool_calls import ToolCalls

MAX_ANSWER_CHARS = 16 << 20
"""Sum of text, thought and tool calls of one answer: some days of a fast model."""
MAX_NAME_CHARS = 1024
"""Of model, build and finish reason, which rows show."""
USAGE_EVERY_S = 1.0
_AROUND_USAGE = ("response", "message", "x_groq")
# of `/messages`; the first leaves out those of the cache
_PROMPT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_NO_REASONS = ("null", "None")  # in a text
# until it is known whether indices count chunks or answers
_MAX_HELD = 8
# for each fragment: a server might send empty ones forever
_CALL_CHARS = 64


class ChunkParser:
    """Reader of chunks; posts events and knows whether the answer is complete."""

    def __init__(
        self,
        refusal_of: Callable[[object], ServerRejected],
        post: Callable[[StreamEvent], None],
        *,
        splitter: ThinkSplitter | None = None,
    ) -> None:
        """`refusal_of` makes the exception for an error in the stream.

        `splitter` separates thought from answer where marks such as `<think>` do; None: marks stay.
        """
        self.has_done = False  # `[DONE]` came, or a whole reply was read
        self.has_posted_token = False  # any text, thought or tool call
        self.finish_reason = ""
        self._refusal_of = refusal_of
        self._post_event = post
        self.is_ended = False  # no token came behind it
        self.end_count = 0  # some servers end in the middle
        self._usage = ServerUsage()
        self._calls = ToolCalls()
        self._choices = ChoiceReader()
        self._logprobs = LogprobReader()
        self._has_model_name = False
        self._splitter = splitter
        self._char_count = 0  # of text, thought and tool calls so far
        self._post_count = 0
        self._malformed_count = 0
        self._delta_kinds: set[str] = set()  # that deltas had
        self._thought_field = ""  # where the first thought stood
        self._thoughts: list[str] = []  # that came in fields of their own
        self._thought_chars = 0
        self._repeating_fields: set[str] = set()  # those with the same thought once more
        self._failure: object = None  # the last chunk, if it is no sure error

    def read(self, data: bytes, name: str = "") -> None:
        """Read one SSE event: a chunk as JSON, `[DONE]`, or no `data`.

        A `LifeSign` is posted if nothing else is. Raises `ServerRejected` for an error of the
        server, and `MalformedStreamError` for an answer that is too long.
        """
        if self.has_done:
            return
        is_error_event = name == "error"
        data = data.removeprefix(b"data:").lstrip()  # some servers write it twice
        if data.startswith(DONE):
            self.has_done = True
            return
        posts_before = self._post_count
        if data or is_error_event:
            try:
                value = decode(data)
            except NotJsonError:
                if is_error_event:
                    raise self._refusal_of(data.decode("utf-8", "replace")) from None
                if data[:1] in (b"{", b"["):
                    self._malformed_count += 1
                else:  # the server's words, if nothing follows
                    self._skip_failure()
                    self._failure = data
            else:
                self._read_chunk(value, is_error_event=is_error_event)
        if self._post_count == posts_before:
            self._post(LifeSign())

    def _read_chunk(self, value: object, *, is_error_event: bool) -> None:
        """Read a decoded chunk, or raise the error that it is (R-26).

        An error may stand beside the last text. A message without choices is an error only if
        nothing follows (`conclude`): it may also say what the server is doing.
        """
        chunk = dict_or_empty(value)
        choices = dicts_in(chunk.get("choices"))
        has_failed = is_error_event or is_error(value) or bool(chunk.get("detail") and not choices)
        if choices or not has_failed:
            self._read_object(chunk, choices)
        if has_failed:
            raise self._refusal_of(value)
        if not choices:
            has_words = isinstance(chunk.get("message") or chunk.get("msg"), str)
            if has_words or chunk.get("errors"):
                self._failure = value

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

        if len(choices) == 1 and self._choices.is_of_answer(choices[0]):
            self._read_choice(choices[0])
            return
        held_count = len(self._choices.held)
        has_ended = bool(self.finish_reason)
        for choice in self._choices.own(
            choices, has_begun=self.has_posted_token, has_ended=has_ended
        ):
            self._read_choice(choice)
        if len(self._choices.held) > held_count:
            self.is_ended = False
            if self._choices.held[-1].get("finish_reason"):
                self._note_end()

    @property
    def has_parallel_answers(self) -> bool:
        return self._choices.has_others

    @property
    def usage(self) -> UsageReported | None:
        return self._usage.report()

    def read_whole(self, reply: object) -> None:
        """Read the reply of a server that does not stream."""
        value = dict_or_empty(reply)
        self._read_object(value, dicts_in(value.get("choices")))
        self.has_done = True

    def _read_choice(self, choice: JsonObject) -> None:
        pieces = self._read_delta(dict_or_empty(choice.get("delta")))
        has_delta = bool(pieces)
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
        if reason and reason not in _NO_REASONS:
            self.finish_reason = reason
            # Some servers send one with each text: then only one without text is an end.
            # Behind one with a thought, or before anything, the answer may take its time.
            is_thought = has_delta and all(kind == THOUGHT for kind, _, _ in pieces)
            has_begun = bool(pieces or self._delta_kinds or self.has_posted_token)
            if has_begun and not is_thought and not (has_delta and self.end_count):
                self._note_end()

    def _note_end(self) -> None:
        if not self.is_ended:
            self.is_ended = True
            self.end_count += 1

    def close(self) -> None:
        """Post what was held back, the usage, and how many chunks were skipped."""
        is_ended, failure = self.is_ended, self._failure  # what was held back came before them
        with suppress(MalformedStreamError):  # the answer is too long: the rest is dropped
            for choice in self._choices.close():
                self._read_choice(choice)
        if self._splitter is not None:
            self._post_split(self._splitter.close())
        for call in self._calls.close():
            self._post_token(call, 0)
        self.is_ended, self._failure = is_ended, failure
        if report := self._usage.report():
            self._post(report)
        if self._malformed_count:
            skipped = units.counted(self._malformed_count, "malformed event")
            self._post(RequestAdapted(note=f"Skipped {skipped} of the server."))

    def conclude(self, network_error: str, *, broken: str, names_reason: bool) -> StreamFinished:
        """Return the last event of a complete answer, or raise the error for any other.

        `broken` says for the message what the `network_error` means.

        Complete is an answer with a finish reason, or with `[DONE]` behind a token unless
        `names_reason`, even if the connection breaks then. Raises `StreamInterrupted` if the answer
        has begun or the connection broke, and `ServerRejected` if the stream ended without a token,
        or with words that tell of an error.
        """
        if self._failure is not None and not self.finish_reason:
            raise self._refusal_of(self._failure)
        has_end = bool(self.finish_reason) or (
            self.has_done and self.has_posted_token and not names_reason
        )
        if has_end and (self.is_ended or not network_error):
            return StreamFinished(reason=self.finish_reason)
        if network_error or self.has_posted_token:
            cause = "the server closed the connection before the answer was complete"
            if network_error:
                cause = broken
            elif self.has_done:
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
        """Post what a chunk adds, and return it, with a piece for each call.

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
        for fragment in dicts_in(delta.get("tool_calls")):
            if CALLS not in repeated or not self._calls.has(fragment):
                self._read_call(fragment)
                pieces.append((CALLS, "", "tool_calls"))
        return pieces

    def _read_call(self, fragment: JsonObject) -> None:
        self.is_ended = False
        chars_before = self._calls.char_count
        events = self._calls.read(fragment)
        # endless empty ones must reach the limit, too
        self._count(self._calls.char_count - chars_before + _CALL_CHARS)
        for event in events:
            self._post_token(event, 0)

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
        if self._splitter is not None:
            self._post_split(self._splitter.note_thought())
        self._post_token(ReasoningDelta(text=thought), len(thought))

    def _add_content(self, content: str) -> None:
        """Post content, in which tags may enclose thought.

        While all of it is held back, each chunk posts a `LifeSign`, which counts as a token (R-18).
        """
        if self._splitter is None:
            self._post_token(TextDelta(text=content), len(content))
            return
        self.is_ended = False  # also if the splitter holds all of it back
        self._post_split(self._splitter.feed(content))
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
        self.is_ended = False
        self._skip_failure()
        self._post(event)

    def _skip_failure(self) -> None:
        """Forget words that were no error, since more came."""
        if isinstance(self._failure, bytes):
            self._malformed_count += 1
        self._failure = None

    def note_stray(self, lines: bytes) -> None:
        """Note lines that were no events: a whole answer, an error, a web page, or words."""
        lines = lines.strip()
        for text in (lines.removesuffix(b"data: [DONE]"), lines.rpartition(b"\n")[2]):
            with suppress(NotJsonError):
                value = decode(text)
                fields = dict_or_empty(value)
                has_failed = is_error(value)
                if fields.get("choices") and not (has_failed or self.has_posted_token):
                    self.read_whole(fields)
                elif has_failed or fields.keys() & {"detail", "message", "errors"}:
                    self._failure = value
                return
        if lines[:1] not in (b"{", b"["):
            self._failure = lines

    def _post(self, event: StreamEvent) -> None:
        """Post any event, and count it for `read`."""
        self._post_count += 1
        self._post_event(event)


class ChoiceReader:
    """Choices of one answer, of which a server may send several (`n` above 1).

    The index of a choice says little: some servers count chunks with it. Answers are parallel if a
    chunk has several choices, or if more text of the first index comes behind another one; then
    only the first is read.
    """

    def __init__(self) -> None:
        self._index: int | None = None  # of the answer that is read
        self.has_others = False
        self._is_parallel = False
        self._is_counted = False  # the index counts chunks
        self.held: list[JsonObject] = []  # choices of which this is not known yet

    def is_of_answer(self, choice: JsonObject) -> bool:
        """Return whether a choice, alone in its chunk, is of the answer that is read."""
        return not self.held and choice.get("index") == self._index

    def own(
        self, choices: list[JsonObject], *, has_begun: bool, has_ended: bool
    ) -> Sequence[JsonObject]:
        """Return the choices that are known to be of this answer."""
        if not choices:
            return ()
        index = count_or_none(choices[0].get("index"))
        if len(choices) > 1:
            self.has_others = True
            self._is_parallel = True
            self.held.clear()
            if self._index is None:
                self._index = index
            own = [one for one in choices if count_or_none(one.get("index")) == self._index]
            return own[:1]
        if self._is_counted or index is None:
            return choices
        if index == self._index:
            if self.held and _has_content(choices[0]):  # the index comes again
                self._is_parallel = True
                self.held.clear()
            return choices
        self.has_others = self.has_others or self._index is not None
        if self._is_parallel or has_ended:
            return ()
        if not has_begun:
            self._index = index
            return choices
        self.held += choices
        if len(self.held) < _MAX_HELD:
            return ()
        self._is_counted = True
        return self.close()

    def close(self) -> Sequence[JsonObject]:
        """Return what was held back: no other came, so it is of one answer."""
        held, self.held = self.held, []
        return held


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


def _has_content(choice: JsonObject) -> bool:
    fields = dict_or_empty(choice.get("delta") or choice.get("message"))
    return any(value for name, value in fields.items() if name != "role")


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
