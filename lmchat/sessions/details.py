"""Text of `/details`: everything that is known of an answer, and why it was slow, if it was.

A figure that was not measured or reported is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage

_NAME_CHARS = 200  # of a model or a server
_VALUE_CHARS = 2000  # of a sampling option, such as a grammar
_LABEL_WIDTH = 14
_SLOW_MS = 3000.0  # wait for the first word from which on its causes are named
_LEAST_SHARE = 0.2  # of the wait that a cause must have taken to be named

DetailRow = tuple[str, str]
"""A label and its value."""


def details_text(answer: ChatMessage) -> str:
    """Return the details of an answer, a line each; the first says why it was slow, if it was."""
    stats = answer.stats or AnswerStats()
    rows = [*_server_rows(answer, stats), *_token_rows(stats), *_time_rows(stats)]
    label = "Sampling"
    for name, value in sorted(stats.sampling.items()):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        words = safe_line(f"{name} {text}", limit=_VALUE_CHARS)
        is_drawn = name == "seed" and stats.has_drawn_seed
        rows.append((label, f"{words} (drawn by lmchat)" if is_drawn else words))
        label = ""
    lines = [f"{label:<{_LABEL_WIDTH}}{value}" for label, value in rows]
    causes = list(_causes(stats))
    if causes:
        lines.insert(0, f"Slow because {'; '.join(causes)}.\n")
    return "\n".join(lines)


def _causes(stats: AnswerStats) -> Iterator[str]:
    """Yield what has taken long before the first word, as far as it was measured or counted."""
    wait_ms = stats.wait_ms or 0.0
    if wait_ms < _SLOW_MS:
        return
    causes: list[tuple[str, float | None]] = []
    if stats.was_loaded:
        words = "the server was asleep" if stats.was_asleep else "the model was loaded first"
        causes.append((words, stats.load_ms))
    if stats.queue_ms:
        causes.append(("it waited for another answer", stats.queue_ms))
    if stats.retries:
        causes.append((f"it was sent {stats.retries + 1} times", None))
    speed = stats.prompt_tokens_per_second
    if speed and stats.prompt_tokens is not None and stats.cached_tokens is not None:
        tokens = stats.prompt_tokens - stats.cached_tokens
        causes.append((f"{units.tokens(tokens)} prompt tokens were read", tokens / speed * 1e3))
    if stats.reasoning_ms:
        causes.append(("it was thinking", stats.reasoning_ms))
    for words, time_ms in causes:
        if time_ms is None:
            yield words
        elif time_ms >= _LEAST_SHARE * wait_ms:
            yield f"{words} ({units.elapsed(time_ms / 1e3)})"


def _server_rows(answer: ChatMessage, stats: AnswerStats) -> Iterator[DetailRow]:
    """Yield the model, its server, the time, and how the answer came to its end."""
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

    reason = stats.ending or stats.finish_reason
    if answer.state is not AnswerState.COMPLETE:
        reason = answer.failure.message if answer.failure else ""
    end = [answer.state.value, safe_line(reason, limit=_NAME_CHARS)]
    if stats.is_edited:
        end.append("edited")
    if stats.was_away:
        end.append("continued while you were away")
    yield "End", ", ".join(filter(None, end))
    if stats.steps:
        yield "Steps", units.tokens(stats.steps)
    if stats.retries:
        yield "Retries", units.tokens(stats.retries)


def _token_rows(stats: AnswerStats) -> Iterator[DetailRow]:
    """Yield the tokens of prompt and answer, the speeds, and how many drafted tokens were accepted.

    Some servers let a small model draft the next tokens, of which the model accepts those that fit.
    """
    if stats.prompt_tokens is not None:
        words = f"{units.tokens(stats.prompt_tokens)} tokens"
        if stats.cached_tokens is not None:
            read_tokens = units.tokens(max(stats.prompt_tokens - stats.cached_tokens, 0))
            words += f": {units.tokens(stats.cached_tokens)} cached, {read_tokens} read"
        yield "Prompt", words
        if stats.context:
            yield "Window", f"{units.tokens(stats.context)} tokens"
    if stats.prompt_tokens_per_second is not None:
        yield "Read at", units.rate(stats.prompt_tokens_per_second)
    tokens = stats.completion_tokens
    if tokens is not None:
        words = f"{units.tokens(tokens, is_estimated=stats.is_estimated)} tokens"
        if stats.thought_tokens:
            thought = units.tokens(min(stats.thought_tokens, tokens), is_estimated=True)
            rest = units.tokens(max(tokens - stats.thought_tokens, 0), is_estimated=True)
            words += f": {thought} thought, {rest} answer"
        yield "Answer", words
    if stats.tokens_per_second is not None:
        yield "Written at", units.rate(stats.tokens_per_second)
    if stats.draft_tokens is not None and stats.accepted_tokens is not None:
        accepted = units.tokens(stats.accepted_tokens)
        yield "Drafts", f"{accepted} of {units.tokens(stats.draft_tokens)} tokens accepted"


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
