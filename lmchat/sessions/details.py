"""Text of `/details`: everything that is known of an answer, and why it was slow, if it was.

A figure that was not measured or reported is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage
from lmchat.sessions.stats import Slowness, TurnRecord, slow_speed, slow_wait

_NAME_CHARS = 200  # of a model or a server
_VALUE_CHARS = 2000  # of a sampling option, such as a grammar
_LABEL_WIDTH = 14
_NEARLY_FULL = 0.9  # share of the context window
_LEAST_SHARE = 0.2  # of the time beyond the median that a cause must have taken to be named
_TIME = "{time}"  # place of the time in the words of a cause

DetailRow = tuple[str, str]
"""A label and its value."""
Cause = tuple[str, float | None]
"""Words, in which `{time}` is replaced, and this time in milliseconds; None if it is not known."""


def details_text(answer: ChatMessage, records: Sequence[TurnRecord]) -> str:
    """Return the details of an answer, a line each; `records` has the turns before it."""
    rows = [*_server_rows(answer)]
    if answer.stats is not None:
        rows += [*_token_rows(answer.stats), *_time_rows(answer.stats)]
        rows += _sampling_rows(answer.stats)
    lines = [f"{label:<{_LABEL_WIDTH}}{value}" for label, value in rows]
    return "\n".join([*_why_slow(answer, records), *lines])


def _server_rows(answer: ChatMessage) -> Iterator[DetailRow]:
    """Yield the model, its server, the time, and how the answer came to its end."""
    stats = answer.stats or AnswerStats()
    if answer.model:
        yield "Model", safe_line(answer.model, limit=_NAME_CHARS)
    if stats.asked:  # the requested model, where another one has answered
        yield "Asked for", safe_line(stats.asked, limit=_NAME_CHARS)
    server = " at ".join(filter(None, (stats.product, answer.endpoint)))
    if server:
        yield "Server", safe_line(server, limit=_NAME_CHARS)
    # llama.cpp built without git calls its build `b0-unknown`
    if stats.build and "unknown" not in stats.build:
        yield "Build", safe_line(stats.build, limit=_NAME_CHARS)
    yield "Begun", f"{answer.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
    yield "End", _end_words(answer, stats)
    if stats.steps:
        yield "Steps", units.tokens(stats.steps)
    if stats.retries:
        yield "Retries", units.tokens(stats.retries)


def _end_words(answer: ChatMessage, stats: AnswerStats) -> str:
    """Return the state of an answer, the reason of the server or of a failure, and notes."""
    reason = stats.ending or stats.finish_reason
    if answer.state is not AnswerState.COMPLETE:
        reason = answer.failure.message if answer.failure else ""
    notes = ["edited"] if stats.is_edited else []
    notes += ["continued while you were away"] if stats.was_away else []
    words = (answer.state.value, safe_line(reason, limit=_NAME_CHARS), *notes)
    return ", ".join(filter(None, words))


def _token_rows(stats: AnswerStats) -> Iterator[DetailRow]:
    """Yield the tokens of prompt and answer, the speeds, and how many drafted tokens were accepted.

    Some servers let a small model draft the next tokens, of which the model accepts those that fit.
    """
    if stats.prompt_tokens is not None:
        yield "Prompt", _prompt_words(stats)
    if stats.prompt_tokens is not None and stats.context:
        window = units.tokens(stats.context)
        yield "Window", f"{window} tokens"
    if stats.prompt_tokens_per_second is not None:
        yield "Read at", units.rate(stats.prompt_tokens_per_second)
    if stats.completion_tokens is not None:
        yield "Answer", _answer_words(stats, stats.completion_tokens)
    if stats.tokens_per_second is not None:
        yield "Written at", units.rate(stats.tokens_per_second)
    if stats.draft_tokens is not None and stats.accepted_tokens is not None:
        accepted = units.tokens(stats.accepted_tokens)
        yield "Drafts", f"{accepted} of {units.tokens(stats.draft_tokens)} tokens accepted"


def _prompt_words(stats: AnswerStats) -> str:
    """Return the tokens of the prompt: all, those from the cache, and those that were read."""
    prompt_tokens = stats.prompt_tokens or 0
    words = f"{units.tokens(prompt_tokens)} tokens"
    if stats.cached_tokens is None:
        return words
    read_tokens = max(prompt_tokens - stats.cached_tokens, 0)
    cached = units.tokens(stats.cached_tokens)
    return f"{words}: {cached} cached, {units.tokens(read_tokens)} read"


def _answer_words(stats: AnswerStats, tokens: int) -> str:
    """Return the tokens of the answer; of one with a thought, also those of both parts."""
    words = f"{units.tokens(tokens, is_estimated=stats.is_estimated)} tokens"
    if not stats.thought_tokens:
        return words
    thought = units.tokens(min(stats.thought_tokens, tokens), is_estimated=True)
    answer = units.tokens(max(tokens - stats.thought_tokens, 0), is_estimated=True)
    return f"{words}: {thought} thought, {answer} answer"


def _time_rows(stats: AnswerStats) -> Iterator[DetailRow]:
    """Yield the times that were measured, roughly in the order in which they begin."""
    # 0 ms stands for a wait or a whole time that was not measured, None for the other times
    times = (
        ("Waited", stats.queue_ms or None),
        ("Loading", stats.load_ms),
        ("First token", stats.ttft_ms),
        ("Thought", stats.reasoning_ms),
        ("First word", stats.wait_ms),
        ("All", stats.elapsed_ms or None),
    )
    for label, time_ms in times:
        if time_ms is not None:
            yield label, units.exact_time(time_ms / 1e3)


def _sampling_rows(stats: AnswerStats) -> Iterator[DetailRow]:
    """Yield a row for each sampling option that was sent."""
    label = "Sampling"
    for name, value in sorted(stats.sampling.items()):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        words = safe_line(f"{name} {text}", limit=_VALUE_CHARS)
        is_drawn = name == "seed" and stats.has_drawn_seed
        yield label, f"{words} (drawn by lmchat)" if is_drawn else words
        label = ""


def _why_slow(answer: ChatMessage, records: Sequence[TurnRecord]) -> Iterator[str]:
    """Yield a line that says why an answer was slow, and one with the median it is compared with.

    Yield nothing for an answer of normal speed. If both the wait and the speed were slow, only the
    wait is explained.
    """
    stats = answer.stats
    wait = slow_wait(answer.message_id, records)
    speed = slow_speed(answer.message_id, records)
    if stats is None or (wait is None and speed is None):
        return
    causes: list[Cause] = []
    comparison = ""
    if wait is not None:
        excess_ms = wait.value - wait.median
        causes = [
            (words, time_ms)
            for words, time_ms in _wait_causes(stats)
            if time_ms is None or time_ms >= _LEAST_SHARE * excess_ms
        ]
        comparison = f"First word after {_time(wait.value)}; {_median(wait, _time(wait.median))}"
    elif speed is not None:
        rate = units.rate(speed.value)
        comparison = f"{rate}; {_median(speed, units.rate(speed.median))}"
    causes += _window_causes(stats)
    reasons = [words.replace(_TIME, _time(time_ms or 0.0)) for words, time_ms in causes]
    yield f"Slow because {'; '.join(reasons)}." if reasons else "Slow; no cause was measured."
    yield f"{comparison}.\n"


def _median(slowness: Slowness, words: str) -> str:
    return f"the median of {slowness.turns} earlier answers is {words}"


def _wait_causes(stats: AnswerStats) -> Iterator[Cause]:
    """Yield what has taken time before the first word, as far as it was measured or counted."""
    if stats.was_loaded:
        words = "the server was asleep" if stats.was_asleep else "the model was loaded first"
        yield (words if stats.load_ms is None else f"{words} ({_TIME})"), stats.load_ms
    if stats.queue_ms:
        yield f"it waited for another answer ({_TIME})", stats.queue_ms
    if stats.retries:
        yield f"it was sent {stats.retries + 1} times", None
    yield from _reading_causes(stats)
    if stats.reasoning_ms:
        yield f"it thought for {_TIME}", stats.reasoning_ms


def _reading_causes(stats: AnswerStats) -> Iterator[Cause]:
    """Yield the estimated time for prompt tokens that the server has read."""
    speed = stats.prompt_tokens_per_second
    if stats.prompt_tokens is None or stats.cached_tokens is None or speed is None:
        return
    tokens = stats.prompt_tokens - stats.cached_tokens
    if tokens > 0:
        yield f"{units.tokens(tokens)} prompt tokens were read ({_TIME})", tokens / speed * 1e3


def _window_causes(stats: AnswerStats) -> Iterator[Cause]:
    """Yield that the context window was nearly full, if it was.

    The more tokens are in the window, the longer a server takes for the next one. How much longer
    is not measured.
    """
    if not stats.context or stats.prompt_tokens is None:
        return
    used = stats.prompt_tokens + (stats.completion_tokens or 0)
    if used >= _NEARLY_FULL * stats.context:
        share = f"{units.tokens(used)} of {units.tokens(stats.context)} tokens"
        yield f"the window was nearly full ({share})", None


def _time(time_ms: float) -> str:
    return units.elapsed(time_ms / 1e3)
